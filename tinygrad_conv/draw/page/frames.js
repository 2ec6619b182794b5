// The layout of nested frames: each frame is a layered drawing of its boxes and of the frames in it,
// laid out from the inside out. A tensor that leaves a frame gets a lane down to its border (and one
// that enters from its top border), so that lines run between boxes and never over them.

const PAD = 14, HEAD = 26, ROW_GAP = 30, PORT_GAP = 6, LANE = 6, LONGEST_LANE = 150, LOOP_GAP = 12;
const FIRST = 4; // how much straighter the first argument comes than the others
const LEAVES = new Set(["parameter", "input", "constant", "seed"]);

// Lay out an open frame and all in it. `links` holds, by frame, {from, to, net, wire}: from null is
// the top border, to null the bottom one. `flip` draws upwards.
function layoutFrame(frame, links, flip) {
  for (const child of frame.children) if (child.isFrame && child.open) layoutFrame(child, links, flip);
  const own = links.get(frame) ?? [];
  const rows = rowsOf(frame, own);
  stretch(frame, rows, own);
  const ordered = orderRows(rows.map(parted));
  dock(own);
  placeRows(ordered);
  measure(frame, ordered, flip, besides(own) * LOOP_GAP);
  for (const link of own) link.points = route(frame, link, flip);
}

const leaving = (node, net) => (node.isFrame && node.open ? node.ports.down.get(net) - node.width / 2 : 0);

// Where on a node's width a line arrives: a frame's port, or the argument's place on a box.
function arriving(node, link) {
  if (node.isFrame && node.open) return node.ports.up.get(link.net) - node.width / 2;
  const places = node.places ?? 1;
  if (node.isFrame || places < 2) return 0;
  const step = Math.min(26, (node.width - 24) / (places - 1));
  return (link.wire.place - (places - 1) / 2) * step;
}

// Items in rows: {item, width, up, down}; an item's row by the longest path, below the ports' row.
function rowsOf(frame, own) {
  const items = frame.children;
  const index = new Map(items.map((item, i) => [item, i]));
  const pairs = [], fixed = [];
  let ports = 0;
  for (const link of own) {
    const from = index.get(link.from), to = index.get(link.to);
    if (link.from === null) { ports = 1; fixed[to] = true; }
    link.back = link.from !== null && link.to !== null && (from >= to || link.wire.loop);
    if (link.from !== null && link.to !== null && !link.back) pairs.push([from, to]);
  }
  const levels = longestPath(items.length, pairs, fixed).map((row) => row + ports);
  const exit = own.some((link) => link.to === null) ? 1 : 0;
  const rows = Array.from({ length: Math.max(0, ...levels) + 1 + exit }, () => []);
  items.forEach((item, i) => {
    item.slot = { item, width: item.width, row: levels[i], up: [], down: [],
      lane: false, light: LEAVES.has(item.box?.kind) };
    rows[levels[i]].push(item.slot);
  });
  return rows;
}

// Lanes: for each tensor one thin node in every row between its source and its farthest use.
function stretch(frame, rows, own) {
  frame.ports = { up: new Map(), down: new Map() };
  const nets = new Map();
  for (const link of own.filter((each) => !each.back)) {
    if (!nets.has(link.net)) nets.set(link.net, []);
    nets.get(link.net).push(link);
  }
  for (const [net, links] of nets) {
    const lanes = new Map();
    const laneAt = (row) => {
      if (!lanes.has(row)) {
        lanes.set(row, { net, width: LANE, row, up: [], down: [], lane: true });
        rows[row].push(lanes.get(row));
      }
      return lanes.get(row);
    };
    const joined = new Set();
    for (const link of links) {
      const start = link.from ? link.from.slot : laneAt(0);
      const end = link.to ? link.to.slot : laneAt(rows.length - 1);
      link.back = end.row - start.row > LONGEST_LANE;
      link.path = [start];
      for (let row = start.row + 1; row < end.row && !link.back; row++) link.path.push(laneAt(row));
      if (link.path.at(-1) !== end) link.path.push(end);
      for (let i = 1; i < link.path.length && !link.back; i++) {
        const [a, b] = [link.path[i - 1], link.path[i]];
        if (b.lane && joined.has(b)) continue;
        joined.add(b);
        const here = a === start && link.from?.isFrame ? leaving(link.from, net) : 0;
        const there = b === end && link.to?.isFrame ? arriving(link.to, link) : 0;
        const weight = LEAVES.has(net.box?.kind) ? 0.01 : link.wire.edges[0].slot ? 1 : FIRST;
        link.last = [{ node: b, here, there, weight }, { node: a, here: there, there: here, weight }];
        a.down.push(link.last[0]);
        b.up.push(link.last[1]);
      }
    }
    for (const lane of lanes.values()) {
      if (lane.row === 0 && links.some((link) => link.from === null)) frame.ports.up.set(net, lane);
      if (lane.row === rows.length - 1 && links.some((link) => link.to === null)) frame.ports.down.set(net, lane);
    }
  }
}

// The tracks beside all boxes on which loops go up, as few as will do; how many there are.
function besides(own) {
  const tracks = [];
  for (const link of own.filter((each) => each.from && each.to && each.wire.loop)) {
    const [first, last] = [link.to.slot.row, link.from.slot.row];
    let track = tracks.findIndex((taken) => taken.every(([from, to]) => last < from || to < first));
    if (track < 0) track = tracks.push([]) - 1;
    tracks[track].push([first, last]);
    link.track = track;
  }
  return tracks.length;
}

// Which argument arrives where on a box: in the order in which the lines come from above.
function dock(own) {
  const arrivals = new Map();
  for (const link of own) {
    if (!link.to || link.to.isFrame) continue;
    if (!arrivals.has(link.to)) arrivals.set(link.to, []);
    arrivals.get(link.to).push(link);
  }
  const from = (link) => link.path?.at(-2).place ?? Infinity;
  for (const links of arrivals.values()) {
    links.sort((a, b) => from(a) - from(b) || a.wire.place - b.wire.place);
    links.forEach((link, i) => {
      link.wire.place = i;
      if (link.last) link.last[0].there = link.last[1].here = arriving(link.to, link);
    });
  }
}

// Sizes and places inside the frame, its own size, and the x of its ports; `loops` is room for loops.
function measure(frame, rows, flip, loops) {
  let left = Infinity, right = -Infinity;
  for (const row of rows) {
    for (const slot of row) {
      left = Math.min(left, slot.x - slot.width / 2);
      right = Math.max(right, slot.x + slot.width / 2);
    }
  }
  const inner = Number.isFinite(left) ? right - left : 0;
  frame.width = Math.max(inner + 2 * PAD + 2 * loops, frame.headWidth ?? 0);
  const shift = (frame.width - inner) / 2 - (Number.isFinite(left) ? left : 0);
  frame.edge = (frame.width + inner) / 2;
  let y = loops;
  frame.bands = rows.map((row, r) => {
    const height = Math.max(0, ...row.map((slot) => slot.item?.height ?? 0));
    const band = { top: y, bottom: y + height };
    const aside = Math.max(0, ...row.flatMap((slot) => slot.down.map((line) =>
      Math.abs(line.node.x + line.there - slot.x - line.here))));
    const ports = height === 0 || rows[r + 1]?.every((slot) => slot.lane);
    y += height + (ports ? PORT_GAP : ROW_GAP) + Math.min(28, aside / 8);
    return band;
  });
  const inside = frame.bands.length ? frame.bands.at(-1).bottom + loops : 0;
  frame.inside = inside;
  frame.height = HEAD + inside + PAD;
  rows.forEach((row, r) => {
    const band = frame.bands[r];
    for (const slot of row) {
      slot.x += shift;
      if (!slot.item) continue;
      const top = band.top + (band.bottom - band.top - slot.item.height) / 2;
      slot.item.x = slot.x - slot.width / 2;
      slot.item.y = HEAD + (flip ? inside - top - slot.item.height : top);
      slot.top = top;
      slot.bottom = top + slot.item.height;
    }
  });
  for (const side of ["up", "down"]) for (const [net, lane] of frame.ports[side]) frame.ports[side].set(net, lane.x);
}

// The points of a link in the frame's own coordinates, from source to target.
function route(frame, link, flip) {
  const points = [];
  const [start, end] = link.path ? [link.path[0], link.path.at(-1)] : [link.from.slot, link.to.slot];
  const add = (x, y) => points.push([x, y]);
  const [above, below] = flip ? [PAD, HEAD] : [HEAD, PAD];
  if (link.track !== undefined) {  // under its source, up beside everything, and in from above
    const beside = (node) => (node.isFrame && !node.open ? node.width / 4 : 0);
    const from = start.x + leaving(link.from, link.net) + beside(link.from);
    const to = end.x + arriving(link.to, link) + beside(link.to);
    const by = Math.min(8 + 5 * link.track, ROW_GAP - 4), x = frame.edge + (link.track + 1) * LOOP_GAP;
    const low = frame.bands[start.row].bottom + by, high = frame.bands[end.row].top - by;
    points.push([from, start.bottom], [from, low], [x, low], [x, high], [to, high], [to, end.top]);
    return points.map(([x, y]) => [x, HEAD + (flip ? frame.inside - y : y)]);
  }
  if (link.from) {
    const x = start.x + leaving(link.from, link.net);
    add(x, start.bottom);
    if (!link.back) add(x, frame.bands[start.row].bottom);
  } else {
    add(start.x, -above);
    add(start.x, frame.bands[0].bottom);
  }
  for (const lane of link.back ? [] : link.path.slice(1, -1)) {
    add(lane.x, frame.bands[lane.row].top);
    add(lane.x, frame.bands[lane.row].bottom);
  }
  if (link.to) {
    const x = end.x + arriving(link.to, link);
    if (!link.back) add(x, frame.bands[end.row].top);
    add(x, end.top);
  } else {
    add(end.x, frame.bands[end.row].top);
    add(end.x, frame.inside + below);
  }
  return points.map(([x, y]) => [x, HEAD + (flip ? frame.inside - y : y)]);
}
