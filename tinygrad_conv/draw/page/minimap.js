// The whole in a corner, with the window as a rectangle in it; a click or a drag there moves the window.

const WIDEST = 130, HIGHEST = 0.26, THINNEST = 26; // pixels, a part of the window's height, pixels

function makeMinimap(place, camera, view, size, states) {
  const canvas = place.querySelector("canvas"), frame = place.querySelector("div");
  let across = 1, down = 1;

  // Paint what there is; a chain of thousands is drawn wider than it is.
  function paint() {
    const { width, height } = size();
    const least = Math.min(WIDEST / width, HIGHEST * view.height() / height);
    [across, down] = [Math.max(least, THINNEST / width), Math.max(least, THINNEST / height)];
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
