// Calls and their derivatives level with one another: where one part is lower than the other, space is made
// in it, below what has to rise. Heights are counted from the ground line, on which both parts stand.

// The first of a backward's nodes for each of the forward's, from the ground up.
function pairsOf(tree, nodes) {
  const found = new Map();
  for (const node of nodes) {
    const { box } = node.isFrame ? node.boxes.find((each) => each.box.of != null) ?? {} : node;
    if (box?.of == null || (node.isFrame && node.open)) continue;
    const call = seen(tree.boxes[box.of]);
    if (partOf(call) === partOf(node)) continue;
    if (!found.has(call) || middle(node) > middle(found.get(call))) found.set(call, node);
  }
  return [...found].sort(([a], [b]) => middle(b) - middle(a));
}

const middle = (node) => node.top + node.height / 2;

// Where a part can be parted just below a node: through none of its boxes.
function gapBelow(node, standing) {
  let y = node.top + node.height;
  for (;;) {
    const across = standing(y).find((each) => each.top < y && y < each.top + each.height && partOf(each) === partOf(node));
    if (!across) return y;
    y = across.top + across.height;
  }
}

// How far what stands at y rises, by part: the sum of the spaces made below it.
function rises(pairs, standing, ground) {
  const spaces = new Map(), risen = new Map();
  let passed = -Infinity; // the height of the last derivative: a line that would cross is left as it is
  for (const pair of pairs) {
    const heights = pair.map((node) => ground - middle(node));
    if (heights[1] <= passed) continue;
    passed = heights[1];
    const now = pair.map((node, i) => heights[i] + (risen.get(partOf(node)) ?? 0));
    const node = pair[now[0] < now[1] ? 0 : 1], space = Math.abs(now[0] - now[1]), part = partOf(node);
    if (!spaces.has(part)) spaces.set(part, []);
    spaces.get(part).push([gapBelow(node, standing), space]);
    risen.set(part, (risen.get(part) ?? 0) + space);
  }
  return { risen, rise: (part, y) => (spaces.get(part) ?? []).reduce((sum, [at, space]) => sum + (y <= at + 0.01 ? space : 0), 0) };
}

function level(tree, nodes, wires, standing) {
  const parts = tree.root.children, bottom = (part) => part.top + part.height;
  const { risen, rise } = rises(pairsOf(tree, nodes), standing, Math.max(...parts.map(bottom)));
  const tallest = Math.max(...parts.map((part) => part.height));
  const higher = Math.max(...parts.map((part) => part.height + (risen.get(part) ?? 0))) - tallest;
  const moved = (part, y) => y + higher - rise(part, y);
  for (const wire of wires) {
    const [from, to] = [partOf(wire.source), partOf(wire.target)], half = wire.points.length / 2;
    wire.points = wire.points.map(([x, y], i) => [x, moved(wire.across && i >= half ? to : from, y)]);
    if (!wire.across) continue;
    for (const [end, part] of [[wire.from, from], [wire.to, to]]) {
      if (end.edge !== undefined) end.edge = moved(part, end.edge);
      end.y = moved(part, end.y);
    }
  }
  for (const node of nodes) {
    const part = node.parent.parent ? partOf(node) : node, low = moved(part, node.top + node.height);
    if (node.isFrame && node.open) node.height = low - moved(part, node.top);
    node.top = low - node.height;
  }
  tree.root.height += higher;
}
