// Pan and zoom: where the drawing's origin is on the screen, and at which scale.

const LEAST = 0.03, SPECKS = 0.016, MOST = 6, READABLE = 0.9, ROOM = 24;

function makeCamera(svg, group, size) {
  const at = { x: 0, y: 0, scale: 1 };
  const apply = () => group.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.scale})`);

  // Keep the point of the screen (x, y) where it is.
  function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
    const scale = Math.min(MOST, Math.max(Math.min(LEAST, at.scale), at.scale * factor));
    at.x = x - (x - at.x) * scale / at.scale;
    at.y = y - (y - at.y) * scale / at.scale;
    at.scale = scale;
    apply();
  }

  // All of it; of a chain of thousands its top, as boxes under a pixel are nothing to see.
  function fit() {
    const { width, height } = size();
    place(Math.min((svg.clientWidth - ROOM) / width, (svg.clientHeight - ROOM) / height, 1.4));
  }

  // Its top, as wide as the window but of a size that can be read, around `first` if wider.
  function start(first) {
    const { width, height } = size();
    const whole = Math.min((svg.clientWidth - ROOM) / width, (svg.clientHeight - ROOM) / height, 1.2);
    place(Math.max(whole, Math.min(READABLE, (svg.clientWidth - ROOM) / width), READABLE / 2));
    if (first && width * at.scale > svg.clientWidth) {
      at.x = svg.clientWidth / 2 - (first.left + first.width / 2) * at.scale;
      apply();
    }
  }

  function place(scale) {
    const { width, height } = size();
    at.scale = Math.max(scale, SPECKS);
    at.x = (svg.clientWidth - width * at.scale) / 2;
    at.y = Math.max(ROOM / 2, (svg.clientHeight - height * at.scale) / 2);
    apply();
  }

  // Bring a node into view if it is not, or too small to be read if `readable` is asked for.
  function show(node, readable) {
    if (readable && at.scale < 0.6) at.scale = READABLE;
    const x = (node.left + node.width / 2) * at.scale + at.x;
    const y = (node.top + Math.min(node.height, 120) / 2) * at.scale + at.y;
    const edge = 40;
    if (x < edge || y < edge || x > svg.clientWidth - edge || y > svg.clientHeight - edge) {
      at.x += svg.clientWidth / 2 - x;
      at.y += svg.clientHeight / 2 - y;
    }
    apply();
  }

  // Keep a node of the drawing where it was on the screen, after a new layout moved it.
  const screen = (node) => [node.left * at.scale + at.x, node.top * at.scale + at.y];
  function hold(node, [x, y]) {
    const [nowX, nowY] = screen(node);
    at.x += x - nowX;
    at.y += y - nowY;
    apply();
  }

  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const bounds = svg.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0015), event.clientX - bounds.left, event.clientY - bounds.top);
  }, { passive: false });

  let from = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: event.clientX - at.x, y: event.clientY - at.y, sx: event.clientX, sy: event.clientY };
  });
  window.addEventListener("pointermove", (event) => {
    if (!from) return;
    if (!svg.classList.contains("dragging")) {
      if (Math.hypot(event.clientX - from.sx, event.clientY - from.sy) < 4) return;
      svg.classList.add("dragging");
    }
    at.x = event.clientX - from.x;
    at.y = event.clientY - from.y;
    apply();
  });
  // The click that ends a drag is no click.
  window.addEventListener("click", (event) => {
    if (svg.classList.contains("dragging")) event.stopPropagation();
    svg.classList.remove("dragging");
  }, true);
  window.addEventListener("pointerup", () => { from = null; });
  window.addEventListener("pointercancel", () => { from = null; svg.classList.remove("dragging"); });
  return { zoom, fit, start, show, hold, screen };
}
