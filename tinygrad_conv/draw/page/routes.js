// From the tree to lines: which tensors are seen, which borders they cross, and their curves.

const PARTS_GAP = 90, TURN = 9;

// Forward or backward, where they are side by side.
const partOf = (node) => (node.parent.parent ? partOf(node.parent) : node);

// One wire an edge between boxes; edges from one tensor into a closed frame are one wire. A loop leads back to
// what is run again; of a closed frame it is drawn unless it is a smaller part of that which repeats.
function makeWires(tree, edges) {
  const wires = new Map();
  for (const edge of edges) {
    const source = seen(tree.boxes[edge.source]), target = seen(tree.boxes[edge.target]);
    const loop = Boolean(edge.back);
    if (source === target && !(loop && [source, ...ancestors(source)].includes(loopOf(tree, edge)))) continue;
    const key = `${source.key}|${target.key}|${target.isFrame ? "" : edge.slot}|${loop}`;
    if (!wires.has(key)) {
      const across = tree.split && partOf(source) !== partOf(target);
      wires.set(key, { source, target, across, loop, edges: [], links: [], place: 0 });
    }
    wires.get(key).edges.push(edge);
  }
  const arrivals = new Map();
  for (const wire of wires.values()) {
    if (wire.across) continue;
    if (!arrivals.has(wire.target)) arrivals.set(wire.target, []);
    arrivals.get(wire.target).push(wire);
  }
  for (const [target, list] of arrivals) {
    list.sort((a, b) => a.edges[0].slot - b.edges[0].slot);
    list.forEach((wire, i) => { wire.place = i; });
    target.places = list.length;
  }
  return [...wires.values()];
}

function ancestors(node) {
  const found = [];
  for (let frame = node.parent; frame; frame = frame.parent) found.push(frame);
  return found;
}

// The innermost frame that repeats around both ends of a way back.
function loopOf(tree, edge) {
  const around = new Set(ancestors(tree.boxes[edge.source]));
  return ancestors(tree.boxes[edge.target]).find((frame) => frame.times > 1 && around.has(frame));
}

// The links of a wire by frame: up to the frame that holds both ends, across, down again.
function linkWires(tree, wires) {
  const links = new Map();
  const link = (frame, from, to, wire) => {
    if (!links.has(frame)) links.set(frame, []);
    const made = { frame, from, to, wire, net: wire.source };
    links.get(frame).push(made);
    return made;
  };
  for (const wire of wires) {
    if (wire.across) continue;
    const above = new Set(ancestors(wire.source));
    const common = ancestors(wire.target).find((frame) => above.has(frame));
    let from = wire.source, to = wire.target;
    for (; from.parent !== common; from = from.parent) wire.links.push(link(from.parent, from, null, wire));
    const down = [];
    for (; to.parent !== common; to = to.parent) down.unshift(link(to.parent, null, to, wire));
    wire.links.push(link(common, from, to, wire), ...down);
  }
  return links;
}

// Everything's absolute place: {width, height, nodes, wires}; nodes get `left` and `top`, wires `points`
// and the rectangle around them. `nodes` are what is seen, frames before what is in them.
function layout(tree, edges) {
  for (const box of tree.boxes) delete box.places;
  for (const frame of tree.frames) delete frame.places;
  const wires = makeWires(tree, edges);
  const links = linkWires(tree, wires);
  if (tree.split) sideBySide(tree.root, links);
  else layoutFrame(tree.root, links, false);
  const nodes = [];
  settle(tree.root, 0, 0, nodes);
  const standing = byHeight(nodes.filter((node) => !(node.isFrame && node.open)));
  for (const wire of wires) {
    if (wire.across) crossOver(wire, standing);
    else wire.points = wirePoints(wire);
  }
  if (tree.split) level(tree, nodes, wires, standing);
  wires.forEach(bound);
  return { width: tree.root.width, height: tree.root.height, nodes, wires };
}

function bound(wire) {
  let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
  for (const [x, y] of wire.points) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  Object.assign(wire, { left, top, width: right - left, height: bottom - top });
}

// Things by the stripes of the drawing they stand in, to find those at some height.
const STRIPE = 100;
function byHeight(nodes) {
  const stripes = new Map();
  for (const node of nodes) {
    for (let i = Math.floor(node.top / STRIPE); i <= (node.top + node.height) / STRIPE; i++) {
      if (!stripes.has(i)) stripes.set(i, []);
      stripes.get(i).push(node);
    }
  }
  return (y) => stripes.get(Math.floor(y / STRIPE)) ?? [];
}

// The forward runs down on the left, the backward up on the right, both from one ground line.
function sideBySide(root, links) {
  let x = PAD;
  for (const [i, part] of root.children.entries()) {
    if (part.open) layoutFrame(part, links, i > 0);
    part.x = x;
    x += part.width + PARTS_GAP;
  }
  root.width = x - PARTS_GAP + PAD;
  root.height = HEAD + Math.max(...root.children.map((part) => part.height)) + PAD;
  for (const part of root.children) part.y = root.height - PAD - part.height;
}

function settle(frame, left, top, nodes) {
  frame.left = left;
  frame.top = top;
  for (const child of frame.children) {
    nodes.push(child);
    if (child.isFrame && child.open) settle(child, left + child.x, top + child.y, nodes);
    else { child.left = left + child.x; child.top = top + child.y; }
  }
}

function wirePoints(wire) {
  return wire.links.flatMap(({ frame, points }) => points.map(([x, y]) => [x + frame.left, y + frame.top]));
}

// Straight where x stays, else a curve that leaves and arrives upright.
function curve(points) {
  let [x, y] = points[0];
  let d = `M${x.toFixed(1)},${y.toFixed(1)}`;
  for (const [toX, toY] of points.slice(1)) {
    if (Math.abs(toX - x) + Math.abs(toY - y) < 0.1) continue;
    const middle = (y + toY) / 2;
    d += Math.abs(toX - x) < 0.5 ? `L${toX.toFixed(1)},${toY.toFixed(1)}`
      : `C${x.toFixed(1)},${middle.toFixed(1)} ${toX.toFixed(1)},${middle.toFixed(1)} ${toX.toFixed(1)},${toY.toFixed(1)}`;
    [x, y] = [toX, toY];
  }
  return d;
}

const wireCurve = (wire) => (wire.across ? acrossCurve(wire) : wire.loop ? rounded(wire.points) : curve(wire.points));

// Straight lines with round corners.
function rounded(all) {
  const points = all.filter(([x, y], i) => !i || Math.hypot(x - all[i - 1][0], y - all[i - 1][1]) > 0.1);
  const part = (from, to) => {
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) || 1, by = Math.min(TURN, far / 2) / far;
    return [from[0] + (to[0] - from[0]) * by, from[1] + (to[1] - from[1]) * by];
  };
  const turns = points.slice(1, -1).map((corner, i) => `L${part(corner, points[i])}Q${corner} ${part(corner, points[i + 2])}`);
  return `M${points[0]}${turns.join("")}L${points.at(-1)}`;
}

// From one part to the other: sideways out of one box into the other, around what stands beside them.
function crossOver(wire, standing) {
  const { source, target } = wire, way = partOf(source).left < partOf(target).left ? 1 : -1;
  const from = wayOut(source, way, way, standing), to = wayOut(target, -way, way, standing);
  const turn = (end) => (end.turn === undefined ? [] : [[end.turn, end.edge]]);
  Object.assign(wire, { from, to, way,
    points: [...turn(from), [from.x, from.y], [to.x, to.y], ...turn(to)] });
}

function acrossCurve({ from, to, way }) {
  const reach = Math.max(40, Math.abs(to.x - from.x) / 3) * way;
  const start = from.turn === undefined ? `M${from.x},${from.y}`
    : `M${from.turn},${from.edge}Q${from.turn},${from.y} ${from.turn + TURN * way},${from.y}H${from.x}`;
  const stop = to.turn === undefined ? ""
    : `H${to.turn - TURN * way}Q${to.turn},${to.y} ${to.turn},${to.edge}`;
  return `${start}C${from.x + reach},${from.y} ${to.x - reach},${to.y} ${to.x},${to.y}${stop}`;
}

// Where a line to the other part is free to go: the node's own side; or, if something stands there,
// the part's border at the height of the gap between two rows, with a turn under (or over) the node.
function wayOut(node, side, down, standing) {
  const part = partOf(node), middle = node.top + node.height / 2;
  const blocked = standing(middle).some((other) => other !== node && (other.left - node.left) * side > 0
    && other.top <= middle && middle <= other.top + other.height && partOf(other) === part);
  if (!blocked) return { x: node.left + (side > 0 ? node.width : 0), y: middle };
  const { slot, parent } = node, band = parent.bands[slot.row], origin = parent.top + HEAD;
  const flip = part.path.length > 0;
  const bounds = flip ? [parent.inside - band.bottom, parent.inside - band.top] : [band.top, band.bottom];
  return { x: part.left + (side > 0 ? part.width : 0), y: origin + bounds[down > 0 ? 1 : 0] + TURN * down,
    turn: node.left + (side > 0 ? node.width - 16 : 16), edge: node.top + (down > 0 ? node.height : 0) };
}
