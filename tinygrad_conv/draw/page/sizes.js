// What stands in a box or in a closed frame, line by line, and how large that makes it.

const SYMBOLS = { vanishing: "\u2193", exploding: "\u2191", "no-gradient": "\u2205", nan: "!", failed: "\u2715",
  found: "\u2691", added: "+", removed: "\u2212", changed: "~" };
const MARKS = Object.fromEntries(Object.entries(SYMBOLS).map(([mark, symbol]) => [mark, `${symbol} ${mark}`]));
const WORKS = new Set(["op", "module"]); // kinds of boxes that compute
const LINE = 16, LONGEST = 60;

const shapeText = (shape) => shape.join("x") || "scalar";
const tensorText = ({ dtype, shape }) => shapeText(shape) + (dtype === "float32" ? "" : ` ${dtype}`);

const ruler = document.createElement("canvas").getContext("2d");
const FACE = '"Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif';
const widths = new Map();
function textWidth(text, bold) {
  const key = bold ? `+${text}` : text;
  if (!widths.has(key)) {
    ruler.font = `${bold ? "600 " : ""}12px ${FACE}`;
    widths.set(key, ruler.measureText(text).width);
  }
  return widths.get(key);
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

// Whether all of a module is in one of two drawings alone, or something in it is.
function difference(frame) {
  const marks = new Set(frame.boxes.map((node) => node.box.mark));
  const found = ["changed", "removed", "added"].find((mark) => marks.has(mark)) ?? "";
  return found && marks.size > 1 ? "changed" : found;
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

function sizeFrame(frame, split, note) {
  frame.name = shortened(frameName(frame, split)) + (frame.kind ? " \u00B7 " + frame.kind : "");
  frame.many = frame.times > 1 ? `x${frame.times}` : "";
  frame.title = frame.name + (frame.many && `  ${frame.many}`);
  frame.headWidth = textWidth(["\u25BE " + frame.title, ...frame.notes].join("  "), true) + 34;
  if (frame.open) return;
  const ops = frame.boxes.filter((node) => WORKS.has(node.box.kind)).length;
  const parameters = frame.boxes.filter((node) => node.box.kind === "parameter")
    .reduce((sum, node) => sum + node.box.shape.reduce((a, b) => a * b, 1), 0);
  const last = lastOf(frame) ?? frame.boxes.at(-1);
  frame.lines = [
    ...wrap("\u25B8 " + frame.name, 230).map((text) => ["label", text]),
    ...(frame.many ? [["times", frame.many]] : []),
    ...frame.notes.flatMap((text) => wrap(text, 230)).map((text) => ["small", text]),
    ["small", `${ops} op${ops === 1 ? "" : "s"}` +
      (parameters ? `, ${parameters.toLocaleString("en")} parameters` : "")],
    ["small", `last: ${shapeText(last.box.shape)}`]];
  if (note) frame.lines.push(["small", note]);
  const worst = ["failed", "nan", "exploding", "vanishing", "no-gradient", "found"]
    .find((mark) => frame.boxes.some((node) => node.box.mark === mark)) ?? difference(frame);
  frame.mark = worst;
  if (worst) frame.lines.push(["badge", MARKS[worst]]);
  frame.width = Math.ceil(Math.max(...frame.lines.map(([kind, text]) => textWidth(text, kind !== "small")))) + 24;
  frame.height = frame.lines.length * LINE + 12;
}
