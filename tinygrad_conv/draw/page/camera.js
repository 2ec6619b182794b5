// Pan and zoom: where the drawing's origin is on the screen, and at which scale.

const LEAST = 0.03, MOST = 6, READABLE = 0.9, ROOM = 24, NARROW = 600;

// `size()` is that of the drawing; `covered()` how much of the window's lower part something lies on;
// `moved(at)` is told of every move.
function makeCamera(svg, group, size, covered, moved) {
  const at = { x: 0, y: 0, scale: 1 };
  const apply = () => {
    group.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.scale})`);
    moved(at);
  };
  // The scale at which all of it is in the window.
  const whole = () => Math.min((svg.clientWidth - ROOM) / size().width, (svg.clientHeight - ROOM) / size().height);

  // Keep the point of the screen (x, y) where it is.
  function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
    const scale = Math.min(MOST, Math.max(Math.min(LEAST, whole()), at.scale * factor));
    at.x = x - (x - at.x) * scale / at.scale;
    at.y = y - (y - at.y) * scale / at.scale;
    at.scale = scale;
    apply();
  }

  const fit = () => place(Math.min(whole(), 1.4));

  // Its top, as wide as the window but of a size that can be read, around `first` if wider.
  function start(first) {
    const { width } = size(), least = svg.clientWidth < NARROW ? READABLE : READABLE / 2;
    const scale = Math.max(Math.min(whole(), 1.2), Math.min(READABLE, (svg.clientWidth - ROOM) / width), least);
    place(scale);
    if (!first) return;
    if (width * scale > svg.clientWidth || first.top * scale + at.y > svg.clientHeight / 2) {
      at.y = Math.min(at.y, ROOM - first.top * scale);
    }
    if (width * scale > svg.clientWidth) at.x = svg.clientWidth / 2 - (first.left + first.width / 2) * scale;
    apply();
  }

  function place(scale) {
    const { width, height } = size();
    at.scale = scale;
    at.x = (svg.clientWidth - width * scale) / 2;
    at.y = Math.max(ROOM / 2, (svg.clientHeight - height * scale) / 2);
    apply();
  }

  // Bring a node into view if it is not, or too small to be read if `readable` is asked for.
  function show(node, readable) {
    if (readable && at.scale < 0.6) at.scale = READABLE;
    const x = (node.left + node.width / 2) * at.scale + at.x;
    const y = (node.top + Math.min(node.height, 120) / 2) * at.scale + at.y;
    const edge = 40, width = svg.clientWidth, height = svg.clientHeight - covered();
    if (x < edge || y < edge || x > width - edge || y > height - edge) {
      at.x += width / 2 - x;
      at.y += height / 2 - y;
    }
    apply();
  }

  // Bring a point of the drawing to the middle.
  function centre(x, y) {
    at.x = svg.clientWidth / 2 - x * at.scale;
    at.y = svg.clientHeight / 2 - y * at.scale;
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

  // The point of the drawing under the pointer.
  function point(event) {
    const bounds = svg.getBoundingClientRect();
    return [(event.clientX - bounds.left - at.x) / at.scale, (event.clientY - bounds.top - at.y) / at.scale];
  }

  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const bounds = svg.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0015), event.clientX - bounds.left, event.clientY - bounds.top);
  }, { passive: false });

  // One pointer pans, two also zoom by their distance.
  const pointers = new Map();
  const middle = () => {
    const all = [...pointers.values()], bounds = svg.getBoundingClientRect();
    const [x, y] = ["x", "y"].map((axis) => all.reduce((sum, each) => sum + each[axis], 0) / all.length);
    return { x: x - bounds.left, y: y - bounds.top,
      apart: all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 1 };
  };
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (event.isPrimary) pointers.clear();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  window.addEventListener("pointermove", (event) => {
    const own = pointers.get(event.pointerId);
    if (!own) return;
    if (!svg.classList.contains("dragging")) {
      if (Math.hypot(event.clientX - own.x, event.clientY - own.y) < 4) return;
      svg.classList.add("dragging");
    }
    const before = middle();
    Object.assign(own, { x: event.clientX, y: event.clientY });
    const now = middle();
    at.x += now.x - before.x;
    at.y += now.y - before.y;
    if (pointers.size > 1 && before.apart > 0) zoom(now.apart / before.apart, now.x, now.y);
    else apply();
  });
  // The click that ends a drag is no click.
  window.addEventListener("click", (event) => {
    if (svg.classList.contains("dragging")) event.stopPropagation();
    svg.classList.remove("dragging");
  }, true);
  const lift = (event) => pointers.delete(event.pointerId);
  window.addEventListener("pointerup", lift);
  window.addEventListener("pointercancel", (event) => { lift(event); svg.classList.remove("dragging"); });
  return { zoom, fit, start, show, centre, hold, screen, point };
}
