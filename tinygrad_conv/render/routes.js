// From the tree to lines: which tensors are seen, which borders they cross, and their curves.

const PARTS_GAP = 90;

// One wire an edge between boxes; edges from one tensor into a closed frame are one wire.
function makeWires(tree, edges) {
  const wires = new Map();
  for (const edge of edges) {
    const source = seen(tree.boxes[edge.source]), target = seen(tree.boxes[edge.target]);
    if (source === target) continue;
    const key = target.isFrame ? `${source.key}|${target.key}` : `${source.key}|${target.key}|${edge.slot}`;
    if (!wires.has(key)) wires.set(key, { source, target, edges: [], links: [], place: 0 });
    wires.get(key).edges.push(edge);
  }
  const arrivals = new Map();
  for (const wire of wires.values()) {
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
    const above = new Set(ancestors(wire.source));
    const common = ancestors(wire.target).find((frame) => above.has(frame));
    wire.across = tree.split && common === tree.root;
    if (wire.across) continue;
    let from = wire.source, to = wire.target;
    for (; from.parent !== common; from = from.parent) wire.links.push(link(from.parent, from, null, wire));
    const down = [];
    for (; to.parent !== common; to = to.parent) down.unshift(link(to.parent, null, to, wire));
    wire.links.push(link(common, from, to, wire), ...down);
  }
  return links;
}

// Everything's absolute place: {width, height, wires}; nodes get `left` and `top`.
function layout(tree, edges) {
  for (const box of tree.boxes) delete box.places;
  for (const frame of tree.frames) delete frame.places;
  const wires = makeWires(tree, edges);
  const links = linkWires(tree, wires);
  if (tree.split) sideBySide(tree.root, links);
  else layoutFrame(tree.root, links, false);
  settle(tree.root, 0, 0);
  for (const wire of wires) wire.d = wire.across ? acrossCurve(wire) : curve(wirePoints(wire));
  return { width: tree.root.width, height: tree.root.height, wires };
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

function settle(frame, left, top) {
  frame.left = left;
  frame.top = top;
  for (const child of frame.children) {
    if (child.isFrame && child.open) settle(child, left + child.x, top + child.y);
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

// From one part to the other: sideways out of one box into the other.
function acrossCurve({ source, target }) {
  const right = source.left < target.left;
  const x = source.left + (right ? source.width : 0), y = source.top + source.height / 2;
  const toX = target.left + (right ? 0 : target.width), toY = target.top + target.height / 2;
  const reach = Math.max(40, Math.abs(toX - x) / 3) * (right ? 1 : -1);
  return `M${x},${y}C${x + reach},${y} ${toX - reach},${toY} ${toX},${toY}`;
}
