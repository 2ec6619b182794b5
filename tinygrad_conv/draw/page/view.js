// The drawing as SVG: of a small one every frame, line and box is an element; of a large one those in
// the window and near it, and from far away none: then the canvas below shows it (far.js).
// All text of the user's is set as text content.

const ALL = 800; // so many boxes and frames are drawn whole
const LEGIBLE = 0.4; // at a smaller scale a large drawing is painted, not written
const MARGIN = 0.25; // of the window's size is drawn beyond each of its borders

function svgElement(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The colour inside a box or a closed frame, as CSS; it may have one of its own (heat.js).
const fillOf = (node) => node.fill ?? `var(--${node.isFrame ? "module" : node.box.kind})`;

const baseClass = (node) => (node.fill ? "heated " : "") + (!node.isFrame
  ? `node box ${node.box.kind}${MARKS[node.box.mark] ? ` mark-${node.box.mark}` : ""}`
  : node.open ? "node frame-node frame" : `node frame-node closed${node.mark ? ` mark-${node.mark}` : ""}`);

function addLines(group, node) {
  node.lines.forEach(([kind, text], i) => group.append(svgElement("text", {
    class: kind, x: node.left + node.width / 2, y: node.top + 6 + LINE * i + 12, "text-anchor": "middle" }, text)));
}

const rectangle = (className, { left, top, width, height }, rx, more) => svgElement(
  "rect", { class: className, x: left, y: top, width, height, rx, ...more });

function drawBox(node) {
  const { box } = node;
  const group = svgElement("g", { role: "button",
    "aria-label": `${box.kind} ${box.label}, ${tensorText(box)}${MARKS[box.mark] ? ", " + box.mark : ""}` });
  const round = WORKS.has(box.kind) ? 4 : Math.min(node.height / 2, 22);
  group.append(rectangle("shape", node, round, { fill: fillOf(node) }));
  addLines(group, node);
  return group;
}

function drawClosed(frame) {
  const group = svgElement("g", { role: "button", "aria-expanded": "false",
    "aria-label": `module ${frame.title}, closed` });
  const back = frame.path[0] === "backward" ? -4 : 4; // away from where lines arrive
  for (const off of frame.times > 1 ? [2, 1] : [1]) {
    group.append(rectangle("behind", { ...frame, left: frame.left + 4 * off, top: frame.top + back * off }, 3));
  }
  group.append(rectangle("shape", frame, 3, { fill: fillOf(frame) }));
  addLines(group, frame);
  return group;
}

function drawFrame(frame) {
  const group = svgElement("g", { role: "button", "aria-expanded": "true",
    "aria-label": `module ${frame.title}, open` });
  group.append(rectangle("area", frame, 6), rectangle("head", { ...frame, height: 22 }, 6));
  if (frame.many) {
    const { left, top, width, height } = frame; // one of a stack
    group.append(svgElement("path", { class: "stack", d: [4, 8].map((by) =>
      `M${left + 6 + by},${top + height + by}H${left + width + by}V${top + 6 + by}`).join("") }));
  }
  return group;
}

// Above the lines, so that it can be read where one enters the frame.
function drawTitle(frame) {
  const made = svgElement("text", { class: "title", x: frame.left + 9, y: frame.top + 16 }, "\u25BE " + frame.name);
  if (frame.many) made.append("  ", svgElement("tspan", { class: "times" }, frame.many));
  for (const note of frame.notes) made.append("  ", svgElement("tspan", { "font-weight": "normal" }, note));
  return made;
}

// In a picture of differences: what a line that is in one of two drawings alone is called.
const markOf = ({ edges }) => (edges[0].mark && edges.every(({ mark }) => mark === edges[0].mark) ? ` ${edges[0].mark}` : "");

function drawWire(wire) {
  const d = wireCurve(wire), group = svgElement("g", {});
  group.append(svgElement("path", { class: "line", d }), svgElement("path", { class: "hit", d }));
  return group;
}

// Make a layer hold these elements in this order, and touch those alone that come or go.
function arrange(layer, wanted) {
  const kept = new Set(wanted);
  for (const child of [...layer.children]) if (!kept.has(child)) child.remove();
  let next = layer.firstChild;
  for (const made of wanted) {
    if (made === next) next = next.nextSibling;
    else layer.insertBefore(made, next);
  }
}

const meet = (node, area) => node.left < area.right && node.left + node.width > area.left
  && node.top < area.bottom && node.top + node.height > area.top;

// What of a layout can be seen. `states` says how things look at the moment: `node(node)` and `wire(wire)`
// are further class names, `kept()` are nodes that are elements wherever they are, `colours` those of a theme.
function makeView(svg, canvas, states) {
  const [frameLayer, wireLayer, boxLayer, titleLayer] = ["frames", "edges", "boxes", "titles"]
    .map((id) => document.getElementById(id));
  const view = { nodes: [], wires: [], elements: new Map(), wireElements: new Map(), far: false };
  const titles = new Map();
  let at = { x: 0, y: 0, scale: 1 }, area = null;

  const visible = (margin) => {
    const width = svg.clientWidth / at.scale, height = svg.clientHeight / at.scale;
    const left = -at.x / at.scale, top = -at.y / at.scale;
    return { left: left - margin * width, top: top - margin * height,
      right: left + (1 + margin) * width, bottom: top + (1 + margin) * height };
  };

  // Elements for what meets the area, old ones if there are; `make` is for new ones.
  function renew(elements, things, make) {
    for (const thing of [...elements.keys()]) if (!things.has(thing)) elements.delete(thing);
    for (const thing of things) if (!elements.has(thing)) elements.set(thing, make(thing));
    return [...things].map((thing) => elements.get(thing));
  }

  function update() {
    const few = view.nodes.length <= ALL, kept = states.kept();
    view.far = !few && at.scale < LEGIBLE;
    area = few || view.far ? null : visible(MARGIN);
    const wanted = (thing) => few || (area !== null && meet(thing, area)) || kept.has(thing);
    const nodes = view.nodes.filter(wanted), open = nodes.filter((node) => node.isFrame && node.open);
    const made = renew(view.elements, new Set(nodes), (node) => {
      const group = (node.isFrame ? node.open ? drawFrame : drawClosed : drawBox)(node);
      group.dataset.key = node.key;
      return group;
    });
    arrange(frameLayer, made.filter((_, i) => nodes[i].isFrame && nodes[i].open));
    arrange(boxLayer, made.filter((_, i) => !(nodes[i].isFrame && nodes[i].open)));
    arrange(wireLayer, renew(view.wireElements, new Set(view.wires.filter(wanted)), drawWire));
    arrange(titleLayer, renew(titles, new Set(open), drawTitle));
    dress();
  }

  // One thing is in the tab order at a time: what is chosen, or else the first.
  function dress() {
    const start = view.elements.has(states.chosen()) ? states.chosen() : view.elements.keys().next().value;
    for (const [node, made] of view.elements) {
      made.setAttribute("class", baseClass(node) + states.node(node));
      made.setAttribute("tabindex", node === start ? 0 : -1);
    }
    for (const [wire, made] of view.wireElements) {
      made.setAttribute("class", `wire${wire.across ? " across" : wire.loop ? " loop" : ""}${markOf(wire)}${states.wire(wire)}`);
    }
    paint();
  }

  function paint() {
    canvas.hidden = !view.far;
    if (!view.far) return;
    const context = sharp(canvas, svg.clientWidth, svg.clientHeight);
    paintAll(context, view, { x: at.x, y: at.y, across: at.scale, down: at.scale }, states, visible(0.02));
    paintNames(context, view.nodes, at, states, visible(0));
  }

  const inside = (small) => area && area.left <= small.left && area.top <= small.top
    && area.right >= small.right && area.bottom >= small.bottom;

  return Object.assign(view, {
    update,
    // A new layout: all elements are made anew.
    set(nodes, wires) {
      Object.assign(view, { nodes, wires });
      for (const each of [view.elements, view.wireElements, titles]) each.clear();
      update();
    },
    // The camera moved.
    look(now) {
      at = now;
      const few = view.nodes.length <= ALL, far = !few && at.scale < LEGIBLE;
      if (far && view.far) paint();
      else if (!few && (far || !inside(visible(0)))) update();
    },
    window: () => visible(0),
    height: () => svg.clientHeight,
    // What is at a point of the drawing: the innermost, where nothing is an element.
    hit(x, y) {
      const point = { left: x, right: x, top: y, bottom: y };
      return view.nodes.findLast((node) => meet(node, point));
    } });
}
