// The replay: a number of steps done, the last of them current; forward ops, then their derivatives.

const PACE = 900; // milliseconds a step

function makeReplay(data, tree, show) {
  const slider = document.getElementById("step"), play = document.getElementById("play");
  const narration = document.getElementById("narration"), count = document.getElementById("count");
  const { steps } = data;
  const forward = steps.filter((step) => step.phase === "forward").length;
  const recorded = tree.split;
  const after = steps.length > forward ? `, then ${steps.length - forward} backward` : "";
  let done = 0, timer = 0;
  slider.max = steps.length;

  // Shade what is done, mark what is at work; edges are `reverse` where a gradient runs against them.
  function paint(view) {
    const current = steps[done - 1];
    const forwardDone = new Set(), backwardDone = new Set();
    for (const step of steps.slice(0, done)) {
      (step.phase === "backward" ? backwardDone : forwardDone).add(tree.boxes[step.box]);
    }
    const all = (node, set) => (node.isFrame
      ? node.boxes.every((each) => set.has(each) || !WORKS.has(each.box.kind)) : set.has(node));
    const at = current && seen(tree.boxes[current.box]);
    for (const [node, made] of view.elements) {
      if (node.isFrame && node.open) continue;
      made.classList.toggle("done-forward", forwardDone.size > 0 && all(node, forwardDone));
      made.classList.toggle("done-backward", backwardDone.size > 0 && all(node, backwardDone));
      made.classList.toggle("current", node === at);
    }
    const reverse = current?.phase === "backward" && !recorded;
    for (const [wire, made] of view.wires) {
      const active = Boolean(current) && wire.edges.some((edge) =>
        reverse ? edge.source === current.box || (edge.target === current.box && edge.gradient)
          : edge.target === current.box);
      made.classList.toggle("active", active);
      made.classList.toggle("reverse", active && reverse);
    }
  }

  function say() {
    slider.value = done;
    slider.setAttribute("aria-valuetext", done ? steps[done - 1].text : "start");
    count.textContent = `${done} of ${steps.length}`;
    narration.textContent = done ? steps[done - 1].text
      : `Replay: ${forward} op${forward === 1 ? "" : "s"} forward${after}. Press Play, or move the slider.`;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }

  function go(to) {
    done = Math.max(0, Math.min(steps.length, to));
    if (done === steps.length) stop();
    say();
    show(done ? tree.boxes[steps[done - 1].box] : null);
  }

  slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
  document.getElementById("to-start").addEventListener("click", () => { stop(); go(0); });
  document.getElementById("back").addEventListener("click", () => { stop(); go(done - 1); });
  document.getElementById("forth").addEventListener("click", () => { stop(); go(done + 1); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (done === steps.length) go(0);
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => go(done + 1), PACE);
  });
  say();
  return { paint };
}
