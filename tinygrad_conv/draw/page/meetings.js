// The sums of a convolution, from the numbers in the page: which products make one number.
// Along an axis window i, tap a and cell u meet where u = i * stride + a * dilation - padding before; the three
// lie on the small side, in the kernel and on the large side. The page may have a part of each array only:
// what is not here is counted, and never added.

const VARIES = { small: "o", large: "c", kernel: "o" }; // the channel by which an array's planes differ

// The array at an index of four: a number, 0 for padding, undefined if it is not in this page.
function makeArray(array, axes) {
  const bytes = Uint8Array.from(atob(array.numbers), (c) => c.charCodeAt(0)).buffer;
  const numbers = array.width === 8 ? new Float64Array(bytes) : new Float32Array(bytes);
  const finite = numbers.filter(Number.isFinite);
  const [low, high] = finite.reduce(([least, most], v) => [Math.min(least, v), Math.max(most, v)], [Infinity, -Infinity]);
  return { ...array, numbers, low, high,
    at(index) {
      if (array.side === "large" && axes.some(({ size }, k) => index[k + 2] < 0 || index[k + 2] >= size)) return 0;
      let offset = 0;
      for (let k = 0; k < 4; k++) {
        const place = index[k] - array.start[k];
        if (place < 0 || place >= array.lengths[k]) return undefined;
        offset = offset * array.lengths[k] + place;
      }
      return numbers[offset];
    } };
}

// The triples of an axis that meet, where one of them, on the side `held`, is at a place.
function meetings(axis, held, place) {
  const found = [];
  for (let small = 0; small < axis.out; small++) {
    for (let kernel = 0; kernel < axis.kernel; kernel++) {
      const meeting = { small, kernel, large: small * axis.stride + kernel * axis.dilation - axis.padding[0] };
      if (meeting[held] === place) found.push(meeting);
    }
  }
  return found;
}

// A place names all letters: { n, o, c, small: [i, j], kernel: [a, b], large: [u, v] }; o and c are channels of
// the small and of the large side, c % depth the second index of the filter.
function makeCall(data) {
  const arrays = Object.fromEntries(Object.entries(data.arrays).map(([name, each]) => [name, makeArray(each, data.axes)]));
  const on = (side) => Object.values(arrays).find((array) => array.side === side);
  const [channels, depth] = on("kernel").shape, filters = channels / data.groups;
  const index = { small: (t) => [t.n, t.o, ...t.small], large: (t) => [t.n, t.c, ...t.large],
    kernel: (t) => [t.o, t.c % depth, ...t.kernel] };
  const groupOf = { o: (o) => Math.floor(o / filters), c: (c) => Math.floor(c / depth) };
  const range = (start, length) => Array.from({ length }, (_, k) => start + k);

  // Sample and channels of every plane that takes part in a sum.
  function planes(side, { n, o, c }) {
    if (side === "small") return range(groupOf.o(o) * depth, depth).map((each) => ({ n, o, c: each }));
    if (side === "large") return range(groupOf.c(c) * filters, filters).map((each) => ({ n, o: each, c }));
    return range(0, on("small").shape[0]).map((each) => ({ n: each, o, c }));
  }

  // One product: the two numbers with their indices.
  function product(question, plane, row, column) {
    const term = { ...plane };
    for (const side of ["small", "kernel", "large"]) term[side] = [row[side], column[side]];
    const factors = question.factors.map((name) => arrays[name]);
    term.indices = factors.map((array) => index[array.side](term));
    term.values = factors.map((array, k) => array.at(term.indices[k]));
    term.padding = data.axes.some(({ size }, k) => term.large[k] < 0 || term.large[k] >= size);
    term.product = term.values.includes(undefined) ? undefined : term.values[0] * term.values[1];
    return term;
  }

  // All products of a sum that are here, and how many are not.
  function sum(question, place) {
    const [rows, columns] = data.axes.map((axis, k) => meetings(axis, question.side, place[question.side][k]));
    const all = planes(question.side, place), terms = [];
    for (const plane of all) {
      for (const row of rows) {
        for (const column of columns) {
          const term = product(question, plane, row, column);
          if (term.product !== undefined) terms.push(term);
        }
      }
    }
    const bias = question === data.questions[0] && data.bias.length
      ? makeArray(data.bias[0], []).numbers[place[VARIES[question.side]]] : undefined;
    return { rows, columns, terms, bias, missing: all.length * rows.length * columns.length - terms.length,
      total: terms.reduce((total, term) => total + term.product, 0) + (bias ?? 0) };
  }

  // First and last of each letter that is in this page; the plane that is shown is of the same group.
  function ranges(side, { o, c }) {
    const part = (array, axis) => [array.start[axis], array.start[axis] + array.lengths[axis] - 1];
    const within = ([first, last], start, length) => [Math.max(first, start), Math.min(last, start + length - 1)];
    const found = { n: part(on("small"), 0), o: part(on("small"), 1), c: part(on("large"), 1) };
    if (side === "large") found.o = within(found.o, groupOf.c(c) * filters, filters);
    else found.c = within(found.c, groupOf.o(o) * depth, depth);
    return { ...found, rows: part(on(side), 2), columns: part(on(side), 3) };
  }

  // The place with every letter in its range, where `moved` was set last.
  function settled(side, place, moved) {
    const next = { ...place };
    if (moved === "o" && groupOf.o(next.o) !== groupOf.c(next.c)) next.c = groupOf.o(next.o) * depth;
    if (moved === "c" && groupOf.o(next.o) !== groupOf.c(next.c)) next.o = groupOf.c(next.c) * filters;
    const allowed = ranges(side, next), clamp = (v, [first, last]) => Math.max(first, Math.min(last, v));
    for (const letter of ["n", "o", "c"]) next[letter] = clamp(next[letter], allowed[letter]);
    next[side] = [clamp(next[side][0], allowed.rows), clamp(next[side][1], allowed.columns)];
    return next;
  }

  // The name of the array that a question is about.
  function held(question) {
    return question.held ?? Object.keys(arrays).find((name) => arrays[name].side === question.side);
  }

  // Where to begin: the number of the first sample that is not finite, or else the largest.
  function start(question) {
    const { side } = question, { numbers, lengths, start: first } = arrays[held(question)];
    let best = 0;
    const size = (v) => (Number.isFinite(v) ? Math.abs(v) : Infinity);
    const count = side === "kernel" ? numbers.length : numbers.length / lengths[0];
    for (let k = 0; k < count; k++) if (size(numbers[k]) > size(numbers[best])) best = k;
    const at = [0, 0, 0, 0];
    for (let axis = 3, left = best; axis >= 0; axis--) {
      at[axis] = first[axis] + left % lengths[axis];
      left = Math.floor(left / lengths[axis]);
    }
    const place = { n: 0, o: 0, c: 0, small: [0, 0], kernel: [0, 0], large: [0, 0] };
    return settled(side, { ...place, [side]: at.slice(2), ...(side === "kernel"
      ? { o: at[0], c: groupOf.o(at[0]) * depth + at[1] } : { [VARIES[side]]: at[1] }) }, VARIES[side]);
  }
  return { arrays, held, index, product, sum, ranges, settled, start };
}
