// The drawing from far away, painted: frames, lines and boxes as plain shapes, and the names of modules
// where there is room. The minimap is painted with the same brush.

const SPECK = 6; // pixels; what is lower is drawn in a stronger colour
const NAME = 11; // height of a module's name, whatever the scale

// The colours of the style sheet, by expression, as a canvas understands them.
function makeColours() {
  const known = new Map(), probe = document.createElement("i");
  document.body.append(probe);
  probe.hidden = true;
  return {
    forget: () => known.clear(),
    of(expression) {
      if (!known.has(expression)) {
        probe.style.color = expression;
        known.set(expression, getComputedStyle(probe).color);
      }
      return known.get(expression);
    } };
}

// A canvas of so many CSS pixels, cleared, with a point for every pixel of the screen.
function sharp(canvas, width, height) {
  const dots = devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * dots), Math.round(height * dots)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d");
  context.setTransform(dots, 0, 0, dots, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// What stands out in the replay or a search, the most important first.
const LOOKS = [["current", "var(--orange)"], ["match", "var(--green)"], ["done-backward", "var(--done-backward)"],
  ["done-forward", "var(--done-forward)"]];

function paintAll(context, { nodes, wires }, { x, y, across, down }, { colours, node: names }, area) {
  const frames = [], boxes = [];
  for (const node of nodes) if (meet(node, area)) (node.isFrame && node.open ? frames : boxes).push(node);
  const shape = (node) => [node.left * across + x, node.top * down + y, node.width * across, node.height * down];
  context.fillStyle = colours.of("var(--area)");
  context.strokeStyle = colours.of("var(--frame)");
  context.lineWidth = 1;
  for (const frame of frames) {
    const [left, top, width, height] = shape(frame);
    if (width < 3 || height < 3) continue;
    context.fillRect(left, top, width, height);
    context.strokeRect(left, top, width, height);
  }
  if (down > 0.04) paintWires(context, wires.filter((wire) => meet(wire, area)), { x, y, across, down }, colours);
  for (const node of boxes) {
    const [left, top, width, height] = shape(node), own = names(node);
    const look = own && LOOKS.find(([name]) => own.includes(name));
    const alarm = node.isFrame ? node.mark : MARKS[node.box.mark] && node.box.mark;
    const least = own.includes("current") || own.includes("chosen") || alarm ? 5 : 1.5;
    const wide = Math.max(width, least), high = Math.max(height, Math.min(least, 3));
    const plain = height > SPECK ? fillOf(node) : `color-mix(in srgb, ${fillOf(node)}, var(--edge) 45%)`;
    context.fillStyle = colours.of(look ? look[1] : plain);
    context.fillRect(left - (wide - width) / 2, top, wide, high);
    if (own.includes("chosen") || alarm || high > 5) {
      context.strokeStyle = colours.of(alarm ? `var(--${alarm})` : own.includes("chosen") ? "var(--ink)" : "var(--edge)");
      context.lineWidth = alarm || own.includes("chosen") ? 2 : 0.6;
      context.strokeRect(left - (wide - width) / 2, top, wide, high);
    }
  }
}

function paintWires(context, wires, { x, y, across, down }, colours) {
  context.strokeStyle = colours.of("var(--line)");
  context.lineWidth = Math.min(1, 2 * down);
  context.beginPath();
  for (const { points } of wires) {
    points.forEach(([px, py], i) => (i ? context.lineTo(px * across + x, py * down + y)
      : context.moveTo(px * across + x, py * down + y)));
  }
  context.stroke();
}

// Names of open frames that have room for them; none over another.
function paintNames(context, nodes, { x, y, scale }, { colours }, area) {
  const taken = [];
  context.font = `600 ${NAME}px ${FACE}`;
  context.fillStyle = colours.of("var(--ink)");
  context.strokeStyle = colours.of("var(--ground)");
  context.lineWidth = 3;
  context.lineJoin = "round";
  for (const frame of nodes) {
    if (!frame.isFrame || !frame.open || !meet(frame, area)) continue;
    const left = frame.left * scale + x + 4, top = frame.top * scale + y + 2;
    const label = { left, top, width: textWidth(frame.title, true) * NAME / 12, height: NAME + 3 };
    if (label.width > frame.width * scale - 6 || frame.height * scale < 2 * NAME) continue;
    if (taken.some((other) => meet(label, other))) continue;
    taken.push({ left, top, right: left + label.width, bottom: top + label.height });
    context.strokeText(frame.title, left, top + NAME);
    context.fillText(frame.title, left, top + NAME);
  }
}
