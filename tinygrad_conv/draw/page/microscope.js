// The microscope in the panel: the planes that meet, sliders over the place, the products, largest first.

const POSITION = { small: ["i", "j"], kernel: ["a", "b"], large: ["u", "v"] };
const LARGEST = 12, CELLS = 8, STRIP = 12; // products, cells along a grid's side, small planes
const PLANE = 84, THUMB = 18; // pixels of the page

const digits = (v) => (v === undefined ? "?" : Number.isFinite(v) ? numberText(Number(v.toPrecision(4))) : String(v));
const fewDigits = (v) => (v === undefined ? "?" : !Number.isFinite(v) || v === 0 ? String(v)
  : Math.abs(v) >= 1000 || Math.abs(v) < 0.001 ? v.toExponential(0) : String(Number(v.toPrecision(Math.abs(v) < 0.1 ? 1 : Math.abs(v) < 1 ? 2 : 3))));
const manyDigits = (v, width) => (Number.isFinite(v) ? numberText(Number(v.toPrecision(2 * width))) : String(v));

// A plane of an array as grey pixels; `marks` are cells that meet, as [row, column]: outlined, or framed together
// where pixels are small.
function drawPlane(array, lead, side, marks, colour) {
  const [top, left] = array.start.slice(2), [height, width] = array.lengths.slice(2);
  const zoom = Math.max(1, Math.floor(side / Math.max(height, width))), tall = height === 1 ? Math.max(zoom, 9) : zoom;
  const image = new ImageData(width, height), plain = element("canvas"), canvas = element("canvas");
  for (let k = 0; k < width * height; k++) {
    const v = array.at([...lead, top + Math.floor(k / width), left + k % width]);
    const level = 255 * (v / 2 - array.low / 2) / (array.high / 2 - array.low / 2 || 1);
    image.data.set(Number.isFinite(v) ? [level, level, level, 255] : [213, 94, 0, 255], 4 * k);
  }
  [plain.width, plain.height, canvas.width, canvas.height] = [width, height, width * zoom, height * tall];
  plain.getContext("2d").putImageData(image, 0, 0);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(plain, 0, 0, canvas.width, canvas.height);
  pen.strokeStyle = colour;
  pen.lineWidth = zoom < 3 ? 1 : 2;
  const inset = pen.lineWidth / 2, frame = ([first, last]) => pen.strokeRect((first[1] - left) * zoom + inset,
    (first[0] - top) * tall + inset, (last[1] - first[1] + 1) * zoom - 2 * inset, (last[0] - first[0] + 1) * tall - 2 * inset);
  const seen = marks.filter(([row, column]) => row >= top && row < top + height && column >= left && column < left + width);
  if (zoom < 8 && seen.length) frame([seen[0], seen[seen.length - 1]]);
  else if (seen.length < height * width) seen.forEach((cell) => frame([cell, cell]));
  const cell = (event) => [top + Math.floor(event.offsetY / canvas.clientHeight * height),
    left + Math.floor(event.offsetX / canvas.clientWidth * width)];
  return { canvas, cell };
}

// Numbers that meet, as a grid; of a large one the part around its largest product.
function grid(caption, role, cells, value, hatched) {
  const made = element("table", undefined, `grid ${role}`);
  made.append(element("caption", caption));
  for (const line of cells) {
    const row = made.insertRow();
    for (const term of line) row.append(element("td", fewDigits(value(term)), hatched && term.padding ? "padding" : undefined));
  }
  return made;
}

function around(count, middle) {
  const first = Math.max(0, Math.min(count - CELLS, middle - Math.floor(CELLS / 2)));
  return Array.from({ length: Math.min(count, CELLS) }, (_, k) => first + k);
}

function microscope(data) {
  const made = element("section", undefined, "microscope");
  made.append(element("h3", "Microscope"));
  if (data.missing) {
    made.append(element("p", data.missing, "soft"));
    return made;
  }
  const call = makeCall(data), swapped = data.questions[0].name === "y" && data.questions[0].side === "large";
  const letter = (name) => (swapped ? { o: "c", c: "o" }[name] ?? name : name);
  const spell = (name, index) => `${name}[${index.filter((_, k) => !(data.line && k === 2)).join(",")}]`;
  let question = data.questions[0], place = call.start(data.questions[0]), largest = null; // the largest product

  const buttons = element("p", undefined, "questions"), planes = element("div", undefined, "planes");
  const sliders = element("div", undefined, "sliders"), answer = element("div", undefined, "answer");
  answer.setAttribute("role", "status");
  made.setAttribute("aria-live", "off"); // the answer alone is read aloud
  made.append(element("p", data.here, "soft"), buttons, planes, sliders, answer);

  function move(moved, changes) {
    place = call.settled(question.side, { ...place, ...changes }, moved);
    show();
  }
  function ask(side) {
    question = data.questions.find((each) => each.side === side);
    for (const button of buttons.children) button.setAttribute("aria-pressed", String(button.value === side));
  }
  for (const each of data.questions) {
    const button = element("button", each.name);
    button.value = each.side;
    button.title = `${each.factors.join(" \u00d7 ")}, ${each.how}`;
    button.addEventListener("click", () => { // goes on with what contributes most, if anything does
      ask(each.side);
      move(undefined, largest ?? call.start(each));
    });
    buttons.append(button);
  }

  // Sliders stay, so that they keep the focus; what they move follows the question.
  const controls = [0, 1, 2, 3, 4].map((k) => {
    const label = element("label"), name = element("span"), field = element("input"), value = element("output");
    field.type = "range";
    field.addEventListener("input", () => {
      const [moved] = order()[k], v = Number(field.value), [row, column] = place[question.side];
      move(moved, moved === "rows" ? { [question.side]: [v, column] } : moved === "columns" ? { [question.side]: [row, v] }
        : { [moved]: v });
    });
    label.append(name, field, value);
    sliders.append(label);
    return { label, name, field, value };
  });
  // What the sliders move: the index of the number, then the plane of which the products are shown.
  function order() {
    const positions = POSITION[question.side].map((name, k) => [["rows", "columns"][k], name]);
    const [first, second, last] = { small: ["n", "o", "c"], large: ["n", "c", "o"], kernel: ["o", "c", "n"] }[question.side];
    return [[first, letter(first)], [second, letter(second)], ...positions, [last, `${letter(last)} shown`]];
  }
  function showSliders() {
    const ranges = call.ranges(question.side, place);
    order().forEach(([key, name], k) => {
      const { label, name: text, field, value } = controls[k], [first, last] = ranges[key];
      text.textContent = name;
      [field.min, field.max] = [first, last];
      field.value = { rows: place[question.side][0], columns: place[question.side][1] }[key] ?? place[key];
      value.textContent = field.value;
      label.hidden = first >= last;
      field.setAttribute("aria-label", name);
    });
  }

  // The two factors, and the plane of the number itself: all three sides.
  function showPlanes({ rows, columns }) {
    planes.replaceChildren();
    for (const name of [...question.factors, call.held(question)]) {
      const array = call.arrays[name], { side } = array, askable = data.questions.some((each) => each.side === side);
      const colour = getComputedStyle(document.documentElement).getPropertyValue(`--micro-${name === call.held(question) ? "output" : array.role}-mark`);
      const lead = call.index[side](place).slice(0, 2), figure = element("figure", undefined, array.role);
      const marks = side === question.side ? [place[side]] : rows.flatMap((row) => columns.map((column) => [row[side], column[side]]));
      const { canvas, cell } = drawPlane(array, lead, PLANE, marks, colour);
      canvas.dataset.array = name;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${name}, the plane ${lead.join(", ")}`);
      if (askable) {
        canvas.classList.add("askable");
        canvas.addEventListener("click", (event) => { ask(side); move(undefined, { [side]: cell(event) }); });
      }
      figure.append(element("figcaption", `${name}[${lead.join(",")}]`), canvas, strip(array, lead));
      planes.append(figure);
    }
  }
  // The planes of an array as small pictures: one of them is the large one.
  function strip(array, lead) {
    const made = element("div", undefined, "strip"), axis = array.side === "kernel" ? 0 : 1, key = VARIES[array.side];
    const first = Math.max(array.start[axis], Math.min(lead[axis] - STRIP / 2, array.start[axis] + array.lengths[axis] - STRIP));
    for (let k = first; k < Math.min(first + STRIP, array.start[axis] + array.lengths[axis]); k++) {
      const { canvas } = drawPlane(array, axis ? [lead[0], k] : [k, lead[1]], THUMB, []);
      canvas.title = `${letter(key)} = ${k}`;
      canvas.classList.toggle("current", k === lead[axis]);
      canvas.addEventListener("click", () => move(key, { [key]: k }));
      made.append(canvas);
    }
    return made.children.length > 1 ? made : "";
  }

  function showGrids({ rows, columns, terms }, sorted) {
    const here = (term) => term.n === place.n && term.o === place.o && term.c === place.c;
    const all = rows.length * columns.length, mine = terms.filter(here);
    [rows, columns] = [rows, columns].map((list, axis) => { // those that are in this page, if any
      const seen = new Set(mine.map((term) => `${term.small[axis]} ${term.kernel[axis]}`));
      return seen.size ? list.filter((each) => seen.has(`${each.small} ${each.kernel}`)) : list;
    });
    const best = sorted.find(here), side = question.side === "kernel" ? "small" : "kernel";
    const find = (list, axis) => Math.max(0, list.findIndex((each) => best && each[side] === best[side][axis]));
    const [down, across] = [around(rows.length, find(rows, 0)), around(columns.length, find(columns, 1))];
    const cells = down.map((r) => across.map((c) => call.product(question, place, rows[r], columns[c])));
    if (!cells.length || !cells[0].length) return [];
    const [first, second] = question.factors, grids = element("div", undefined, "grids");
    const [corner, opposite] = [cells[0][0], cells[cells.length - 1][cells[0].length - 1]];
    const plane = (k) => spell(question.factors[k], corner.indices[k].map((from, axis) => { // "x[0,3,4..6,0..2]"
      const to = opposite.indices[k][axis];
      return from === to ? from : `${from}..${to}`;
    }));
    const one = (name, k) => grid(plane(k), call.arrays[name].role, cells, (term) => term.values[k], call.arrays[name].side === "large");
    grids.append(one(first, 0), element("span", "\u00d7"), one(second, 1), element("span", "="),
      grid("products", "product", cells, (term) => term.product));
    const shown = down.length * across.length;
    return [grids, element("p", shown < all ? `${shown} of the ${all.toLocaleString("en")} products of this plane, around the largest.` : "", "soft")];
  }

  function showTerms({ terms, bias, total, missing }, sorted, whole) {
    const list = element("table", undefined, "terms"), top = Math.abs(sorted[0]?.product) || 1;
    const shown = sorted.slice(0, LARGEST).filter((term) => term.product !== 0);
    for (const term of shown) {
      const row = list.insertRow();
      question.factors.forEach((name, k) => {
        const cell = element("td", undefined, call.arrays[name].role);
        cell.append(element("small", term.padding && call.arrays[name].side === "large" ? "padding" : spell(name, term.indices[k])),
          element("span", digits(term.values[k])));
        row.append(cell);
      });
      const cell = element("td", digits(term.product), "product"), bar = element("i");
      bar.style.width = `${100 * Math.min(1, Math.abs(term.product) / top || 0)}%`;
      cell.append(bar);
      row.append(cell);
      row.dataset.product = term.product;
      row.dataset.indices = JSON.stringify(term.indices);
    }
    const rest = sorted.slice(shown.length), count = rest.length.toLocaleString("en");
    const zero = rest.every((term) => term.product === 0);
    for (const [text, value] of [
      [rest.length ? `${count} ${zero ? "products of 0" : "smaller products"}` : "", rest.reduce((all, term) => all + term.product, 0)],
      ["bias", bias], [missing ? `sum of the ${terms.length.toLocaleString("en")} products here` : "sum", total],
      [missing ? `the ${missing.toLocaleString("en")} that are not here` : "", whole === undefined ? whole : whole - total]]) {
      if (!text || value === undefined) continue;
      const row = list.insertRow(), head = element("td", text);
      head.colSpan = 2;
      row.className = "summed";
      row.append(head, element("td", digits(value)));
    }
    return list;
  }

  function show() {
    const found = call.sum(question, place), size = (v) => (Number.isNaN(v) ? Infinity : Math.abs(v));
    const sorted = [...found.terms].sort((a, b) => size(b.product) - size(a.product) || 0);
    largest = sorted[0]?.product ? Object.fromEntries(["n", "o", "c", "small", "kernel", "large"].map((key) => [key, sorted[0][key]])) : null;
    const index = call.index[question.side](place), held = question.held && call.arrays[question.held];
    const value = held ? held.at(index) : undefined;
    Object.assign(made.dataset, { question: question.name, index: JSON.stringify(index), total: found.total,
      terms: found.terms.length, missing: found.missing, bias: found.bias ?? "", value: value ?? "" });
    showSliders();
    showPlanes(found);
    const count = found.terms.length + found.missing, name = spell(question.name, index);
    const equal = value === undefined ? "" : `; it holds ${manyDigits(value, held.width)} (${held.dtype})`;
    const rule = data.axes.map(({ stride, dilation, padding }, k) => {
      const [u, i, a] = ["large", "small", "kernel"].map((side) => POSITION[side][k]);
      return `${u} = ${i}${stride > 1 ? `\u00b7${stride}` : ""} + ${a}${dilation > 1 ? `\u00b7${dilation}` : ""}` +
        (padding[0] ? ` ${padding[0] > 0 ? "\u2212" : "+"} ${Math.abs(padding[0])}` : "");
    }).slice(data.line ? 1 : 0).join(", ");
    const head = element("p", undefined, "result");
    head.append(element("strong", name), ` is the sum of ${count.toLocaleString("en")} products ${question.factors.join(" \u00d7 ")}` +
      `${found.bias === undefined ? "" : " and the bias"}${found.missing ? "" : `: ${manyDigits(found.total, 4)}`}${equal}.`);
    answer.replaceChildren(head, element("p", `${question.how}; ${rule}`, "soft"));
    if (found.missing) answer.append(element("p", `${found.missing.toLocaleString("en")} of them are not in this page: what is here does not add up to it.`, "missing"));
    if (!count) answer.append(element("p", "Nothing meets here.", "soft"));
    answer.append(...showGrids(found, sorted), showTerms(found, sorted, value));
  }
  ask(question.side);
  show();
  return made;
}
