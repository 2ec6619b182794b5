// The data of the page: columns become records again, and numbers about arrays get their names.

function unpack({ fields, ...packed }) {
  const records = (columns) => {
    const made = (Object.values(columns)[0] ?? []).map(() => ({}));
    for (const [name, values] of Object.entries(columns)) {
      values.forEach((value, i) => { if (value !== null) made[i][name] = value; });
    }
    return made;
  };
  for (const part of [packed, packed.rolled].filter(Boolean)) {
    for (const name of ["boxes", "edges", "scopes", "steps"]) if (part[name]) part[name] = records(part[name]);
  }
  for (const box of packed.boxes) {
    for (const tensor of [box, ...(box.outputs ?? [])]) {
      for (const [name, names] of Object.entries(fields)) {
        if (tensor[name]) tensor[name] = Object.fromEntries(tensor[name].map((value, i) => [names[i], value]));
      }
    }
  }
  return packed;
}

// The same with its loops rolled: boxes that stand for several, in another wiring.
function rolledUp({ rolled, ...whole }) {
  const { boxes, stands, ...wiring } = rolled;
  return { ...whole, ...wiring, rolled,
    boxes: boxes.map(({ box, ...own }) => ({ ...whole.boxes[box], of: undefined, ...own })),
    steps: whole.steps.map((step) => ({ ...step, box: stands[step.box] })) };
}

// What stays when the page is read anew: words after the "#" of its address.
const asked = (word) => location.hash.slice(1).split("-").includes(word);

// The data with loops rolled, or whole, as the address says. The button reads the page anew.
function inView(whole, button) {
  const unrolled = asked("unrolled"), { dataset } = document.documentElement;
  button.hidden = !whole.rolled;
  button.textContent = unrolled ? "Roll loops" : "Unroll loops";
  button.addEventListener("click", () => {
    location.hash = [unrolled ? "rolled" : "unrolled", dataset.theme].filter(Boolean).join("-");
    location.reload();
  });
  return whole.rolled && !unrolled ? rolledUp(whole) : whole;
}
