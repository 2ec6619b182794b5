// The whole in a corner, with the window as a rectangle in it; a click or a drag there moves the window.

const WIDEST = 150, HIGHEST = 190, THINNEST = 26;

function makeMinimap(place, camera, view, size, states) {
  const canvas = place.querySelector("canvas"), frame = place.querySelector("div");
  let across = 1, down = 1;

  // Paint what there is; a chain of thousands is drawn wider than it is.
  function paint() {
    const { width, height } = size();
    down = Math.min(WIDEST / width, HIGHEST / height);
    across = Math.max(down, Math.min(WIDEST, THINNEST) / width);
    down = Math.max(down, Math.min(HIGHEST, THINNEST) / height);
    for (const each of [canvas.style, place.style]) {
      each.width = `${width * across}px`;
      each.height = `${height * down}px`;
    }
    const context = sharp(canvas, width * across, height * down);
    paintAll(context, { nodes: view.nodes, wires: [] }, { x: 0, y: 0, across, down }, states,
      { left: 0, top: 0, right: width, bottom: height });
  }

  function look() {
    const { width, height } = size(), seen = view.window();
    place.hidden = seen.left <= 0 && seen.top <= 0 && seen.right >= width && seen.bottom >= height;
    const [left, top, right, bottom] = [Math.max(0, seen.left) * across, Math.max(0, seen.top) * down,
      Math.min(width, seen.right) * across, Math.min(height, seen.bottom) * down];
    Object.assign(frame.style, { left: `${left}px`, top: `${top}px`,
      width: `${Math.max(4, right - left)}px`, height: `${Math.max(4, bottom - top)}px` });
  }

  function go(event) {
    if (!event.buttons) return;
    const bounds = canvas.getBoundingClientRect();
    camera.centre((event.clientX - bounds.left) / across, (event.clientY - bounds.top) / down);
  }
  place.addEventListener("pointerdown", (event) => {
    place.setPointerCapture(event.pointerId);
    go(event);
  });
  place.addEventListener("pointermove", go);
  return { paint, look };
}
