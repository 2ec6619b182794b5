// The modules as a tree of frames, and what is seen of it while some of them are closed.
// What stands between two parts of a list of modules parts its frame, so that lines never run in circles.

const pathKey = (path) => JSON.stringify(path);

function makeFrame(path, parent, about, call) {
  return { isFrame: true, key: `frame ${call} ${pathKey(path)}`, path, call, parent, children: [], boxes: [],
    open: true, first: Infinity, level: parent ? parent.level + 1 : 0,
    kind: about?.kind ?? "", times: about?.times ?? 1, names: about?.names ?? path, notes: about?.notes ?? [] };
}

// The tree of `data`: {root, boxes, frames, split}; split: forward and backward side by side.
function makeTree(data) {
  const about = new Map(data.scopes.map((scope) => [pathKey(scope.path), scope]));
  const root = makeFrame([], null, null, 0);
  const split = data.boxes.some((box) => box.scope[0] === "backward");
  const frames = [], calls = new Map();
  const open = (path, parent) => {
    const call = (calls.get(pathKey(path)) ?? 0) + 1;
    calls.set(pathKey(path), call);
    const frame = makeFrame(path, parent, about.get(pathKey(path)), call);
    parent.children.push(frame);
    frames.push(frame);
    return frame;
  };
  const forward = split ? open([], root) : root;
  const backward = split ? open(["backward"], root) : null;
  const last = new Map([[forward, forward], [backward, backward]]);
  const boxes = [];
  const put = (box, index, parent, first) => {
    const node = { isFrame: false, key: "box " + box.id, box, index, first, parent, inputs: [], uses: [] };
    parent.children.push(node);
    for (let frame = parent; frame; frame = frame.parent) frame.boxes.push(node);
    boxes[index] = node;
  };
  const frameOf = (scope) => {
    const part = scope[0] === "backward" ? backward : forward;
    let parent = last.get(part);
    while (parent !== part && parent.path.some((name, i) => name !== scope[i])) parent = parent.parent;
    while (parent.path.length < scope.length) parent = open(scope.slice(0, parent.path.length + 1), parent);
    last.set(part, parent);
    return parent;
  };
  data.boxes.forEach((box, index) => {
    if (LEAVES.has(box.kind)) return;
    const parent = frameOf(box.scope);
    for (let frame = parent; frame; frame = frame.parent) frame.first = Math.min(frame.first, index);
    put(box, index, parent, index);
  });
  putLeaves(data, boxes, put, frameOf, split ? root : null);
  for (const edge of data.edges) {
    boxes[edge.target].inputs.push(edge);
    boxes[edge.source].uses.push(boxes[edge.target]);
  }
  for (const frame of [root, ...frames]) frame.children.sort((a, b) => a.first - b.first);
  return { root, boxes, frames, split };
}

// A leaf stands beside its first use and parts no frame; nothing stands in `empty`, around both parts.
function putLeaves(data, boxes, put, frameOf, empty) {
  const uses = new Map();
  for (const { source, target } of data.edges) uses.set(source, Math.min(target, uses.get(source) ?? Infinity));
  data.boxes.forEach((box, index) => {
    if (boxes[index]) return;
    let beside = boxes[uses.get(index)];
    while (beside?.parent && pathKey(beside.parent.path) !== pathKey(box.scope)) beside = beside.parent;
    const found = beside?.parent && beside.parent !== empty, own = found ? beside.parent : frameOf(box.scope);
    put(box, index, own, found ? beside.first - 0.5 : index);
    for (let frame = own; frame?.first === Infinity; frame = frame.parent) frame.first = index;
  });
}

// A frame's name without the part it stands in: "features.conv1", also inside the backward.
function frameName(frame, split) {
  if (!frame.path.length) return "forward";
  return (split && frame.path[0] === "backward" && frame.path.length > 1
    ? frame.names.slice(1) : frame.names).join(".") + (frame.call > 1 ? ` (part ${frame.call})` : "");
}

// The call whose result a frame gives: the last one used outside, in the same part if there is one.
function lastOf(frame) {
  const calls = frame.boxes.filter(({ box }) => box.kind === "op" || box.kind === "module");
  const inside = new Set(frame.boxes);
  const backward = ({ box }) => box.scope[0] === "backward";
  return calls.findLast((node) => node.uses.some((use) => !inside.has(use) && backward(use) === backward(node)))
    ?? calls.at(-1);
}

// What stands for a node in the drawing: itself, or the outermost closed frame around it.
function seen(node) {
  let found = node;
  for (let frame = node.parent; frame; frame = frame.parent) if (!frame.open) found = frame;
  return found;
}

const isSeen = (node) => seen(node) === node;

// Frames up to `level` open, deeper ones closed.
function openTo(tree, level) {
  for (const frame of tree.frames) frame.open = frame.level <= level;
}

// How many boxes and closed frames are seen with frames open to `level`.
function countAt(tree, level) {
  const count = (frame) => frame.children.reduce((sum, child) =>
    sum + (child.isFrame && child.level <= level ? count(child) : 1), 0);
  return count(tree.root);
}

const deepest = (tree) => tree.frames.reduce((most, frame) => Math.max(most, frame.level), 0);

// The deepest level at which a reader is not buried.
function firstLevel(tree, most) {
  let level = deepest(tree);
  while (level > (tree.split ? 1 : 0) && countAt(tree, level) > most) level -= 1;
  return level;
}
