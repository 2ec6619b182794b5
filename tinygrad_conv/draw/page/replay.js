// The replay: a number of steps done, the last of them current; forward ops, then their derivatives.

const PACE = 900; // milliseconds a step, at speed 1

// `show(node)` is called after each move, with the box at work or null.
function makeReplay(data, tree, show) {
  const [slider, play, speed, narration, count, toBackward] = ["step", "play", "speed", "narration", "count",
    "to-backward"].map((id) => document.getElementById(id));
  const { steps } = data;
  const forward = steps.filter((step) => step.phase === "forward").length;
  const recorded = tree.split;
  const after = steps.length > forward ? `, then ${steps.length - forward} backward` : "";
  let done = 0, timer = 0;
  slider.max = steps.length;
  toBackward.disabled = steps.length === forward;

  // After how many steps a node is done in each phase: a frame when all the calls in it are.
  const doneAt = { forward: new Map(), backward: new Map() };
  steps.forEach((step, i) => doneAt[step.phase].set(tree.boxes[step.box], i + 1));
  for (const when of Object.values(doneAt)) {
    for (const frame of tree.frames) {
      const calls = frame.boxes.filter((node) => WORKS.has(node.box.kind));
      when.set(frame, calls.reduce((last, node) => Math.max(last, when.get(node) ?? Infinity), 0));
    }
  }
  const isDone = (phase, node) => done >= (doneAt[phase].get(node) ?? Infinity)
    && done > (phase === "forward" ? 0 : forward);
  const current = () => (done ? tree.boxes[steps[done - 1].box] : null);
  const at = () => (done ? seen(current()) : null);

  // Class names: shaded is what is done, marked what is at work.
  const node = (each) => (each.isFrame && each.open ? ""
    : (isDone("forward", each) ? " done-forward" : "") + (isDone("backward", each) ? " done-backward" : "")
      + (each === at() ? " current" : ""));

  // Edges are `reverse` where a gradient runs against them.
  function wire({ edges }) {
    if (!done) return "";
    const { box, phase } = steps[done - 1], reverse = phase === "backward" && !recorded;
    const active = edges.some((edge) => (reverse
      ? edge.source === box || (edge.target === box && edge.gradient) : edge.target === box));
    return active ? ` active${reverse ? " reverse" : ""}` : "";
  }

  function say() {
    slider.value = done;
    slider.setAttribute("aria-valuetext", done ? steps[done - 1].text : "start");
    count.textContent = `${done} of ${steps.length}`;
    narration.textContent = done ? steps[done - 1].text
      : `Replay: ${forward} op${forward === 1 ? "" : "s"} forward${after}. Press Play, or move the slider.`;
  }

  function stop() {
    clearTimeout(timer);
    timer = 0;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }

  function go(to) {
    done = Math.max(0, Math.min(steps.length, to));
    if (done === steps.length) stop();
    say();
    show(current());
  }

  function tick() {
    timer = setTimeout(tick, PACE / Number(speed.value));
    go(done + 1);
  }

  function toggle() {
    if (timer) { stop(); return; }
    if (done === steps.length) go(0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setTimeout(tick, PACE / Number(speed.value));
  }

  const jump = (to) => () => { stop(); go(to()); };
  const moves = { "to-start": jump(() => 0), "back": jump(() => done - 1), "forth": jump(() => done + 1),
    "to-backward": jump(() => (steps.length > forward ? forward + 1 : done)), "play": toggle };
  for (const [id, move] of Object.entries(moves)) document.getElementById(id).addEventListener("click", move);
  slider.addEventListener("input", jump(() => Number(slider.value)));
  speed.addEventListener("change", () => { if (timer) { clearTimeout(timer); tick(); } });

  function faster(by) {
    speed.selectedIndex = Math.max(0, Math.min(speed.options.length - 1, speed.selectedIndex + by));
    speed.dispatchEvent(new Event("change"));
  }
  // What a key does outside of fields; left and right are the drawing's own where it has the focus.
  const keys = { " ": toggle, ",": moves.back, ".": moves.forth, ArrowLeft: moves.back, ArrowRight: moves.forth,
    b: moves["to-backward"], Home: moves["to-start"], End: jump(() => steps.length),
    "[": () => faster(-1), "]": () => faster(1) };
  say();
  return { node, wire, at, keys };
}
