// Search: boxes and modules whose text holds all the words typed; Enter walks through them.

const textOf = (node) => (node.isFrame
  ? [node.path.join("."), node.kind, node.path.length ? "module" : "forward"]
  : [node.box.label, node.box.op, node.box.kind, node.box.scope.join("."), node.box.mark,
    shapeText(node.box.shape), node.box.dtype, ...node.box.notes,
    node.box.where]).join(" ").toLowerCase();

function makeSearch(tree, changed, jump) {
  const field = document.getElementById("search"), found = document.getElementById("found");
  const texts = [...tree.frames, ...tree.boxes].map((node) => [node, textOf(node)]);
  let matches = [], marked = new Set(), at = -1;

  function say() {
    const here = at >= 0 ? `${at + 1} of ` : "";
    found.textContent = field.value.trim() ? `${here}${matches.length} found` : "";
  }

  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    matches = words.length
      ? texts.filter(([, text]) => words.every((word) => text.includes(word))).map(([node]) => node) : [];
    matches.sort((a, b) => a.first - b.first || b.isFrame - a.isFrame);
    at = -1;
    say();
    mark();
    changed();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { field.value = ""; field.dispatchEvent(new Event("input")); }
    if (event.key !== "Enter" || !matches.length) return;
    event.preventDefault();
    at = (at + (event.shiftKey ? (at < 0 ? 0 : -1) : 1) + matches.length) % matches.length;
    say();
    jump(matches[at]);
  });

  // A match inside a closed module marks the module.
  const mark = () => { marked = new Set(matches.map(seen)); };
  return { node: (node) => (marked.has(node) ? " match" : ""), changed: mark, field };
}
