// What the panel says of a selected box or module. The user's text is set as text content.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(rows) {
  const made = element("table");
  for (const [name, value] of rows.filter(([, each]) => each !== "" && each !== undefined)) {
    const row = made.insertRow();
    const head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", String(value)));
  }
  return made;
}

// All of them are "100 %", almost all are less.
const percent = (share) => `${share % 1 === 0 ? 100 * share : (100 * share).toFixed(0.001 < share && share < 0.999 ? 1 : 4)} %`;

// As few characters as the six digits need.
const numberText = (value) => (value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7)
  ? value.toExponential() : String(value));

// Statistics as a table and a histogram, under a heading.
function describe(title, numbers, className) {
  const made = element("section", undefined, className);
  made.append(element("h3", title));
  const moments = numbers.min === undefined ? []
    : [...["min", "max", "mean", "std"].map((name) => [name, numberText(numbers[name])]),
      ["rms", className === "gradient" ? numberText(Number(Math.hypot(numbers.mean, numbers.std).toPrecision(3))) : ""]];
  made.append(table(numbers.count === 1 && moments.length ? [["value", numberText(numbers.min)]] : [...moments,
    ["zeros", percent(numbers.zeros)],
    ["not finite", numbers.nonfinite ? `${numbers.nonfinite} of ${numbers.count}` : "none"]]));
  if (numbers.histogram) made.append(histogram(title, numbers, className));
  return made;
}

function histogram(title, numbers, className) {
  const svg = svgElement("svg", { class: `histogram ${className}`, viewBox: "0 0 320 74", role: "img",
    "aria-label": `Histogram of ${title.toLowerCase()}, ${numberText(numbers.min)} to ${numberText(numbers.max)}` });
  const most = Math.max(...numbers.histogram, 1);
  numbers.histogram.forEach((count, i) => {
    const height = count ? Math.max(1, 54 * Math.sqrt(count / most)) : 0;
    const bar = svgElement("rect", { x: i * 10 + 0.5, y: 58 - height, width: 9, height });
    bar.append(svgElement("title", {}, `${count} values`));
    svg.append(bar);
  });
  svg.append(svgElement("line", { x1: 0, x2: 320, y1: 58, y2: 58 }),
    svgElement("text", { x: 0, y: 71 }, numberText(numbers.min)),
    svgElement("text", { x: 160, y: 71, "text-anchor": "middle" }, `height: \u221A count${numbers.sampled ? " of a sample" : ""}`),
    svgElement("text", { x: 320, y: 71, "text-anchor": "end" }, numberText(numbers.max)));
  return svg;
}

// Grey planes from bytes; what is not finite is drawn in vermilion.
function pictures(picture) {
  const made = element("section", undefined, "pictures");
  made.append(element("h3", picture.title));
  const bytes = Uint8Array.from(atob(picture.pixels), (c) => c.charCodeAt(0));
  const { width, height } = picture;
  const zoom = Math.max(1, Math.floor(68 / Math.max(width, height)));
  for (let plane = 0; plane < picture.count; plane++) {
    const canvas = element("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.style.width = `${width * zoom}px`;
    canvas.style.height = `${height * zoom}px`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", canvas.title = `plane ${plane}`);
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const level = bytes[plane * width * height + i];
      image.data.set(level === 255 ? [213, 94, 0, 255] : [level, level, level, 255], 4 * i);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    made.append(canvas);
  }
  made.append(element("p", `${picture.what}; black ${numberText(picture.low)}, white ${numberText(picture.high)}`, "soft"));
  return made;
}

function describeBox(node, data) {
  const { box } = node;
  const parts = [element("h2", box.label || box.kind), element("p", box.scope.join(".") || "outside any module", "soft")];
  const inputs = node.inputs.map((edge) => [`in ${edge.argument}`, `${tensorText(edge)} from ${data.boxes[edge.source].label}`]);
  parts.push(table([
    ["kind", box.kind], ["op", box.op], ...inputs, [inputs.length ? "out" : "shape", box.mark === "failed" ? "" : tensorText(box)],
    ...Object.entries(box.parameters ?? {}), ["called at", box.where], ["certificate", box.certificate],
    ["mark", box.mark ? MARKS[box.mark] ?? box.mark : ""]]));
  for (const note of box.notes) parts.push(element("p", note));
  for (const shown of [box, ...(box.outputs ?? [])]) {
    if (shown !== box) parts.push(element("h2", `Another output: ${tensorText(shown)}`));
    if (shown.values) parts.push(describe("Values", shown.values, "values"));
    if (shown.freed) parts.push(element("p", "The values were freed by backward(); draw before it, or keep them with backward(retain_graph=True).", "soft"));
    if (shown.gradient) parts.push(describe(box.op ? "Gradient of the result" : "Gradient", shown.gradient, "gradient"));
    if (shown.picture) parts.push(pictures(shown.picture));
  }
  return parts;
}

function describeFrame(frame) {
  const count = (kind) => frame.boxes.filter((node) => node.box.kind === kind);
  const numbers = count("parameter").reduce((sum, node) => sum + node.box.shape.reduce((a, b) => a * b, 1), 0);
  const last = lastOf(frame);
  return [element("h2", frame.title), table([
    ["path", frame.path.join(".")],
    ["ops", count("op").length + count("module").length],
    ["parameters", numbers ? `${numbers.toLocaleString("en")} numbers in ${count("parameter").length} tensors` : ""],
    ["repeated", frame.times > 1 ? `${frame.times} times, drawn once` : ""],
    ["last result", last ? tensorText(last.box) : ""]]),
  element("p", frame.open ? "Click its title, or press Enter, to close it." : "Click it, or press Enter, to open it.", "soft")];
}

const KEYS = [["arrows", "follow the lines"], ["Enter", "opens or closes a module"],
  ["Backspace", "to the module around"], ["+ \u2212 0", "nearer, farther, all of it"], ["/", "search"],
  ["space", "play or pause"], [", .", "a step back or on (\u2190 \u2192 outside of the drawing)"],
  ["b", "to the first step of the backward"], ["Home End", "to the start or the end"], ["[ ]", "slower, faster"]];

// `sections` are functions (node, data) that add an element, or null, to what is said of a node.
function makePanel(panel, data) {
  const details = panel.querySelector("#details"), sections = [];
  const open = () => { panel.dataset.open = "yes"; };
  const close = () => { delete panel.dataset.open; };
  panel.querySelector("#close-panel").addEventListener("click", close);
  const clear = () => {
    details.replaceChildren(
      element("h2", document.title),
      element("p", `${data.boxes.length} boxes, ${data.edges.length} edges.`),
      element("p", data.boxes.length ? "Click a box for its shapes, values and gradient. Drag to pan, wheel or pinch to zoom, click a module's title to open or close it."
        : "Nothing is recorded: this is a leaf."),
      element("h3", "Keys"), table(KEYS), element("p", data.about, "soft"));
    close();
  };
  clear();
  return {
    clear, open, sections,
    // How much of an element's lower part it lies on: where there is little room it is a sheet.
    over(element) {
      const [own, other] = [panel, element].map((each) => each.getBoundingClientRect());
      return own.height && own.left < other.right ? Math.max(0, other.bottom - Math.max(own.top, other.top)) : 0;
    },
    show(node) {
      const parts = node.isFrame ? describeFrame(node) : describeBox(node, data);
      const numbers = parts.findIndex((part) => part.tagName === "SECTION");
      parts.splice(numbers < 0 ? parts.length : numbers, 0, ...sections.map((make) => make(node, data)).filter(Boolean));
      details.replaceChildren(...parts);
      panel.scrollTop = 0;
      open();
    } };
}
