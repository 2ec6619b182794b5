// The drawing as SVG: frames, lines and boxes as elements, made anew after each layout. All text of
// the user's is set as text content.

const MARKS = {
  vanishing: "\u2193 vanishing", exploding: "\u2191 exploding", "no-gradient": "\u2205 no .grad",
  nan: "! not finite", failed: "\u2715 failed", hot: "\u25CF most of it",
  added: "+ added", removed: "\u2212 removed", changed: "~ changed" };
const WORKS = new Set(["op", "module"]); // kinds of boxes that compute
const LINE = 16, LONGEST = 60;

function svgElement(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const shapeText = (shape) => (shape.length ? `(${shape.join(", ")})` : "one number");
const tensorText = ({ dtype, shape }) => `${dtype} ${shapeText(shape)}`;

const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text, bold) {
  ruler.font = `${bold ? "600 " : ""}12px "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif`;
  return ruler.measureText(text).width;
}

// Words in as few lines as fit into `most`, about equally wide, four at most.
function wrap(text, most) {
  let lines = broken(text, most);
  const widest = Math.max(...text.split(/\s+/).map((word) => textWidth(word, true)));
  for (let less = most * 0.9; lines.length > 1 && less > Math.max(widest, most / 2); less *= 0.9) {
    const closer = broken(text, less);
    if (closer.length > lines.length) break;
    lines = closer;
  }
  return lines.length > 4 ? [...lines.slice(0, 3), lines[3] + " \u2026"] : lines;
}

// Lines no wider than `most`; a word that is wider is cut.
function broken(text, most) {
  const lines = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    const longer = line ? `${line} ${word}` : word;
    if (textWidth(longer, true) <= most) { line = longer; continue; }
    if (line) lines.push(line);
    line = word;
    while (textWidth(line, true) > most) {
      let cut = line.length - 1;
      while (cut > 1 && textWidth(line.slice(0, cut), true) > most) cut = Math.floor(cut * 0.9);
      lines.push(line.slice(0, cut));
      line = line.slice(cut);
    }
  }
  return [...lines, line];
}

// The lines of text in a box, and its size.
function sizeBox(node) {
  const { box } = node;
  node.lines = [
    ...wrap(box.label || box.kind, 210).map((text) => ["label", text]),
    ...(box.mark === "failed" ? [] : [["small", WORKS.has(box.kind) ? shapeText(box.shape) : tensorText(box)]]),
    ...box.notes.slice(0, 6).flatMap((text) => wrap(text, 340)).map((text) => ["small", text])];
  if (MARKS[box.mark]) node.lines.push(["badge", MARKS[box.mark]]);
  const wide = Math.max(...node.lines.map(([kind, text]) => textWidth(text, kind !== "small")));
  const pill = !WORKS.has(box.kind);
  node.width = Math.max(64, Math.ceil(wide) + (pill ? 30 : 20));
  node.height = node.lines.length * LINE + 12;
}

// Of a long name the middle is left out; the panel and the search have all of it.
const shortened = (name) => (name.length > LONGEST ? `${name.slice(0, LONGEST / 2)}\u2026${name.slice(-LONGEST / 2)}` : name);

function sizeFrame(frame, split) {
  const name = frameName(frame, split);
  const many = frame.times > 1 ? `  \u00D7${frame.times}` : "";
  frame.title = `${shortened(name)}${frame.kind ? " \u00B7 " + frame.kind : ""}${many}`;
  frame.headWidth = textWidth("\u25BE " + frame.title, true) + 34;
  if (frame.open) return;
  const ops = frame.boxes.filter((node) => WORKS.has(node.box.kind)).length;
  const parameters = frame.boxes.filter((node) => node.box.kind === "parameter")
    .reduce((sum, node) => sum + node.box.shape.reduce((a, b) => a * b, 1), 0);
  const last = lastOf(frame) ?? frame.boxes.at(-1);
  frame.lines = [
    ...wrap("\u25B8 " + frame.title, 230).map((text) => ["label", text]),
    ["small", `${ops} op${ops === 1 ? "" : "s"}` +
      (parameters ? `, ${parameters.toLocaleString("en")} parameters` : "")],
    ["small", `last: ${shapeText(last.box.shape)}`]];
  const worst = ["failed", "nan", "exploding", "vanishing", "no-gradient", "hot"]
    .find((mark) => frame.boxes.some((node) => node.box.mark === mark)) ?? difference(frame);
  frame.mark = worst;
  if (worst) frame.lines.push(["badge", MARKS[worst]]);
  frame.width = Math.ceil(Math.max(...frame.lines.map(([kind, text]) => textWidth(text, kind !== "small")))) + 24;
  frame.height = frame.lines.length * LINE + 12;
}

// Whether all of a module is in one of two drawings alone, or something in it is.
function difference(frame) {
  const marks = new Set(frame.boxes.map((node) => node.box.mark));
  const found = ["changed", "removed", "added"].find((mark) => marks.has(mark)) ?? "";
  return found && marks.size > 1 ? "changed" : found;
}

function addLines(group, node) {
  node.lines.forEach(([kind, text], i) => group.append(svgElement("text", {
    class: kind, x: node.left + node.width / 2, y: node.top + 6 + LINE * i + 12, "text-anchor": "middle" }, text)));
}

function drawBox(node) {
  const { box } = node;
  const mark = MARKS[box.mark] ? ` mark-${box.mark}` : "";
  const group = svgElement("g", { class: `node box ${box.kind}${mark}`, role: "button", tabindex: -1,
    "aria-label": `${box.kind} ${box.label}, ${tensorText(box)}${mark ? ", " + box.mark : ""}` });
  const round = WORKS.has(box.kind) ? 4 : Math.min(node.height / 2, 22);
  group.append(svgElement("rect", { class: "shape", x: node.left, y: node.top, width: node.width,
    height: node.height, rx: round }));
  addLines(group, node);
  return group;
}

function drawClosed(frame) {
  const mark = frame.mark ? ` mark-${frame.mark}` : "";
  const group = svgElement("g", { class: `node frame-node closed${mark}`, role: "button", tabindex: -1,
    "aria-expanded": "false", "aria-label": `module ${frame.title}, closed` });
  const back = frame.path[0] === "backward" ? -4 : 4; // away from where lines arrive
  for (const [kind, off] of [["behind", 1], ["shape", 0]]) {
    group.append(svgElement("rect", { class: kind, x: frame.left + 4 * off, y: frame.top + back * off, width: frame.width,
      height: frame.height, rx: 3 }));
  }
  addLines(group, frame);
  return group;
}

function drawFrame(frame) {
  const group = svgElement("g", { class: "node frame-node frame", role: "button", tabindex: -1,
    "aria-expanded": "true", "aria-label": `module ${frame.title}, open` });
  group.append(
    svgElement("rect", { class: "area", x: frame.left, y: frame.top, width: frame.width, height: frame.height, rx: 6 }),
    svgElement("rect", { class: "head", x: frame.left, y: frame.top, width: frame.width, height: 22, rx: 6 }));
  return group;
}

// Above the lines, so that it can be read where one enters the frame.
const drawTitle = (frame) => svgElement(
  "text", { class: "title", x: frame.left + 9, y: frame.top + 16 }, "\u25BE " + frame.title);

function drawWire(wire) {
  const { mark } = wire.edges[0], marked = mark && wire.edges.every((edge) => edge.mark === mark);
  const group = svgElement("g", { class: `wire${wire.across ? " across" : ""}${marked ? ` ${mark}` : ""}` });
  group.append(svgElement("path", { class: "line", d: wire.d }), svgElement("path", { class: "hit", d: wire.d }));
  return group;
}

// Replace what is drawn. Returns {elements: by node, wires: [wire, element]}; nodes are in tape order.
function draw(tree, wires) {
  const elements = new Map();
  const layers = { frames: [], boxes: [], titles: [] };
  const visit = (frame) => {
    for (const child of frame.children) {
      const open = child.isFrame && child.open;
      const made = open ? drawFrame(child) : child.isFrame ? drawClosed(child) : drawBox(child);
      made.dataset.key = child.key;
      elements.set(child, made);
      layers[open ? "frames" : "boxes"].push(made);
      if (open) { layers.titles.push(drawTitle(child)); visit(child); }
    }
  };
  visit(tree.root);
  const lines = wires.map((wire) => [wire, drawWire(wire)]);
  document.getElementById("frames").replaceChildren(...layers.frames);
  document.getElementById("edges").replaceChildren(...lines.map(([, made]) => made));
  document.getElementById("boxes").replaceChildren(...layers.boxes);
  document.getElementById("titles").replaceChildren(...layers.titles);
  return { elements, wires: lines };
}
