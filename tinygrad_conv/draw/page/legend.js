// What shapes, lines and colours mean; of all there are, those that the drawing has.

const KINDS = {
  op: "a recorded call", parameter: "a leaf that requires a gradient", input: "a leaf that requires no gradient",
  seed: "the gradient a backward starts with", constant: "a number, a mask, a running mean",
  output: "a result, or a parameter's gradient", module: "drawn as one box" };

function legendRow(className, text) {
  const row = element("div"), picture = svgElement("svg", { viewBox: "0 0 74 26", "aria-hidden": true });
  const group = svgElement("g", { class: className });
  if (className.startsWith("wire")) group.append(svgElement("path", { class: "line", d: "M4,13L68,13" }));
  else {
    const round = WORKS.has(className.split(" ")[1]) || /closed/.test(className) ? 3 : 9;
    if (/closed/.test(className)) group.append(svgElement("rect", { class: "behind", x: 9, y: 7, width: 58, height: 17 }));
    group.append(svgElement("rect", { class: "shape", x: 5, y: 4, width: 62, height: 17, rx: round,
      fill: `var(--${/closed/.test(className) ? "module" : className.split(" ")[1]})` }));
  }
  picture.append(group);
  row.append(picture, element("span", text));
  return row;
}

function legendRows(data, tree) {
  const kinds = new Set(data.boxes.map((box) => box.kind));
  return [
    ...Object.entries(KINDS).filter(([kind]) => kinds.has(kind))
      .map(([kind, text]) => legendRow(`node ${kind}`, `${kind}: ${text}`)),
    tree.frames.length && legendRow("node closed", "closed module: click to open"),
    data.edges.some((edge) => edge.back) && legendRow("wire loop", "leads back: to the next repetition"),
    tree.split && legendRow("wire across", "forward value used by the backward pass"),
    legendRow("node op done-forward", "replay: done forward"),
    legendRow("node op done-backward", "replay: done backward"),
    legendRow("node op current", "replay: current op"),
    ...[...new Set(data.boxes.map((box) => box.mark))].filter((name) => MARKS[name]).map((name) => {
      const meaning = data.legend.filter(([key]) => key === name).map(([, text]) => text).join("; ");
      return legendRow(`node op mark-${name}`, MARKS[name] + (meaning ? `: ${meaning}` : ""));
    }),
    ...data.legend.filter(([key]) => !data.boxes.some((box) => box.mark === key) || !MARKS[key])
      .map(([key, text]) => element("p", key ? `${key}: ${text}` : text)),
  ].filter(Boolean);
}
