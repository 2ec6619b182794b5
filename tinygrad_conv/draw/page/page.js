// Everything put together: the data of the page, what is chosen, and what the reader does.

const FEW = 70; // so many boxes are drawn at first, if closing modules can do it
const byId = (id) => document.getElementById(id);
const data = inView(unpack(JSON.parse(byId("data").textContent)), byId("unroll"));
const tree = makeTree(data);
const svg = byId("drawing");
const panel = makePanel(byId("panel"), data);
panel.sections.push(({ box }, { microscopes }) => box && microscopes[box.id] && microscope(microscopes[box.id]));
panel.sections.push(({ box, uses }, { microscopes }) => { // a weight's gradient is seen where it is used
  const calls = box && !microscopes[box.id] ? new Set(uses.filter((use) => microscopes[use.box.id])) : new Set();
  const made = element("p");
  for (const call of calls) {
    const button = element("button", `Microscope: ${call.box.label}`);
    button.addEventListener("click", () => jump(call));
    made.append(button, " ");
  }
  return calls.size && made;
});
let size = { width: 1, height: 1 }, chosen = null;

const states = {
  colours: makeColours(),
  chosen: () => chosen,
  kept: () => new Set([chosen, replay.at()].filter(Boolean)),
  node: (node) => replay.node(node) + search.node(node) + (node === chosen ? " chosen" : ""),
  wire: (wire) => replay.wire(wire)
    + (chosen && (wire.source === chosen || wire.target === chosen) ? " near" : "") };
const view = makeView(svg, byId("far"), states);
const heat = makeHeat(data, byId("heat"));
const camera = makeCamera(svg, byId("camera"), () => size, () => panel.over(svg), (at) => {
  view.look(at);
  minimap.look();
});
const minimap = makeMinimap(byId("minimap"), camera, view, () => size, states);
const search = makeSearch(tree, repaint, jump);
const replay = makeReplay(data, tree, (node) => {
  if (node) {
    chosen = seen(node);
    panel.show(node);
  }
  repaint();
  if (node) camera.show(chosen);
});

// What is chosen, found or done has changed.
function repaint() {
  view.update();
  minimap.paint();
}

function redraw() {
  for (const frame of tree.frames) sizeFrame(frame, tree.split, heat.text(frame));
  const { width, height, nodes, wires } = layout(tree, data.edges);
  size = { width, height };
  heat.colour(nodes);
  if (chosen && !isSeen(chosen)) chosen = seen(chosen);
  search.changed();
  view.set(nodes, wires);
  minimap.paint();
}

function choose(node, focus) {
  chosen = node;
  repaint();
  if (node) panel.show(node);
  else panel.clear();
  if (node && focus) view.elements.get(node)?.focus({ preventScroll: true });
}

function toggle(frame, focus) {
  const before = camera.screen(frame);
  frame.open = !frame.open;
  redraw();
  camera.hold(frame, before);
  choose(frame, focus);
}

function reveal(node) {
  let hidden = false;
  for (let frame = node.parent; frame; frame = frame.parent) {
    hidden ||= !frame.open;
    frame.open = true;
  }
  if (hidden) redraw();
}

function jump(node) {
  reveal(node);
  choose(node);
  camera.show(node, true);
}

function setLevel(level) {
  openTo(tree, level);
  byId("level").value = level;
  redraw();
  camera.start(seen(tree.boxes[0] ?? tree.root));
  if (chosen) camera.show(chosen);
}

// ----- mouse -----

const nodeOf = new Map([...tree.frames, ...tree.boxes].map((node) => [node.key, node]));
const nodeAt = (event) => nodeOf.get(event.target.closest?.(".node")?.dataset.key)
  ?? (view.far ? view.hit(...camera.point(event)) : undefined);

svg.addEventListener("click", (event) => {
  const node = nodeAt(event);
  if (!node) choose(null);
  else if (!node.isFrame) choose(node, true);
  else if (!node.open || event.target.matches(".head")) toggle(node, true);
  else choose(null);
});

const tip = byId("tip");
function tell(text, event) {
  tip.textContent = text;
  tip.hidden = !text;
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - 330)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, innerHeight - 60)}px`;
}
svg.addEventListener("pointermove", (event) => {
  const line = event.target.closest?.(".wire");
  const wire = line && [...view.wireElements].find(([, made]) => made === line)?.[0];
  const node = nodeAt(event);
  const name = (end) => (end.isFrame ? end.title : end.box.label);
  if (wire) {
    tell([...new Set(wire.edges.map(tensorText))].join("\n") + `\n${name(wire.source)} \u2192 ${name(wire.target)}`, event);
  } else if (node && view.far && node.isFrame) tell([node.title, heat.text(node)].filter(Boolean).join("\n"), event);
  else if (node && !node.isFrame) {
    const values = node.box.values;
    tell(`${node.box.label}\n${tensorText(node.box)}` +
      (values?.min === undefined ? "" : `\n${numberText(values.min)} to ${numberText(values.max)}, mean ${numberText(values.mean)}`) +
      (heat.text(node) && `\n${heat.text(node)}`) +
      (node.box.certificate ? `\n${node.box.certificate}` : ""), event);
  } else tell("", event);
});
svg.addEventListener("pointerleave", (event) => tell("", event));

// ----- keys -----

// Along edges up and down; left and right to the nearest thing about as high.
function neighbour(node, key) {
  const ends = { ArrowDown: ["source", "target"], ArrowUp: ["target", "source"] }[key];
  if (ends) return view.wires.find((wire) => wire[ends[0]] === node)?.[ends[1]];
  const way = key === "ArrowRight" ? 1 : -1;
  const middle = (each) => [each.left + each.width / 2, each.top + each.height / 2];
  const [x, y] = middle(node);
  let best = null, least = Infinity;
  for (const other of view.nodes) {
    const [ox, oy] = middle(other);
    const far = (ox - x) * way + 3 * Math.abs(oy - y);
    if ((ox - x) * way > 1 && far < least && !(other.isFrame && other.open)) { best = other; least = far; }
  }
  return best;
}

svg.addEventListener("keydown", (event) => {
  const node = chosen ?? view.nodes[0];
  if (event.key === "Enter") {
    if (chosen?.isFrame) toggle(chosen, true);
    else if (node) choose(node, true);
  } else if (event.key.startsWith("Arrow") && node) {
    const next = chosen ? neighbour(node, event.key) : node;
    if (next) { choose(next, true); camera.show(next); }
  } else if (event.key === "Backspace") {
    if (view.nodes.includes(chosen?.parent)) choose(chosen.parent, true);
  } else if (event.key === "Escape") choose(null);
  else return;
  event.preventDefault();
});
const keys = { ...replay.keys, "+": () => camera.zoom(1.25), "=": () => camera.zoom(1.25), "-": () => camera.zoom(0.8),
  0: () => camera.fit(), "/": () => search.field.focus() };
window.addEventListener("keydown", (event) => {
  const own = event.target.matches("input[type=range]") ? /^(Arrow|Home|End)/ : event.target.matches("button") ? /^ $/
    : event.target.matches("input, select") ? /^/ : /^$/; // what the field under the focus makes of it itself
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || own.test(event.key)) return;
  if (!Object.hasOwn(keys, event.key)) return;
  keys[event.key]();
  event.preventDefault();
});

// ----- buttons -----

byId("zoom-in").addEventListener("click", () => camera.zoom(1.25));
byId("zoom-out").addEventListener("click", () => camera.zoom(0.8));
byId("fit").addEventListener("click", () => camera.fit());
byId("collapse-all").addEventListener("click", () => setLevel(tree.split ? 1 : 0));
byId("expand-all").addEventListener("click", () => setLevel(deepest(tree)));
byId("level").addEventListener("change", (event) => setLevel(Math.min(deepest(tree), Math.max(0, Math.round(event.target.value)))));
byId("level").max = deepest(tree);
byId("levels").hidden = tree.frames.length === 0;
byId("show-legend").addEventListener("click", (event) => {
  byId("legend").hidden = !byId("legend").hidden;
  event.target.setAttribute("aria-expanded", String(!byId("legend").hidden));
});
byId("help").addEventListener("click", () => { choose(null); panel.open(); });

const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
for (const theme of ["dark", "light"]) if (asked(theme)) root.dataset.theme = theme;
function recolour() {
  const isDark = (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  byId("theme").textContent = isDark ? "Light" : "Dark";
  states.colours.forget();
  repaint();
  return isDark;
}
byId("theme").addEventListener("click", () => {
  root.dataset.theme = recolour() ? "light" : "dark";
  recolour();
});
dark.addEventListener("change", recolour);
window.addEventListener("beforeprint", () => camera.fit());
new ResizeObserver(() => { view.update(); minimap.look(); }).observe(svg);

byId("legend").append(...legendRows(data, tree));
for (const node of tree.boxes) sizeBox(node);
setLevel(firstLevel(tree, FEW));
const wrong = tree.boxes.find(({ box }) => ["failed", "nan", "added", "removed", "changed"].includes(box.mark));
if (wrong) jump(wrong);

// A notebook may give a frame its width late: until the reader touches the page, it begins anew then.
let width = svg.clientWidth;
const early = new ResizeObserver(() => {
  if (svg.clientWidth === width) return;
  width = svg.clientWidth;
  camera.start(seen(tree.boxes[0] ?? tree.root));
  if (wrong) camera.show(wrong, true);
});
early.observe(svg);
for (const touch of ["pointerdown", "wheel", "keydown"]) {
  window.addEventListener(touch, () => early.disconnect(), { capture: true, passive: true, once: true });
}
recolour();
root.dataset.ready = "yes";
