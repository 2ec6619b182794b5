// One layered drawing: which row a node stands in, in what order, and at which x.
// Longest-path rows, barycentre sweeps, then least-squares positions that keep order and distance.

// Rows by longest path. `links` are [from, to] with from < to; numbers are in the order of the tape.
// What nothing leads to stands just above its first use; `fixed` says which of those may not move.
function longestPath(count, links, fixed) {
  const row = new Array(count).fill(0);
  const out = Array.from({ length: count }, () => []);
  const entered = new Array(count).fill(false);
  for (const [from, to] of links) { out[from].push(to); entered[to] = true; }
  for (let i = 0; i < count; i++) for (const to of out[i]) row[to] = Math.max(row[to], row[i] + 1);
  for (let i = count - 1; i >= 0; i--) {
    if (!entered[i] && !fixed[i] && out[i].length) row[i] = Math.min(...out[i].map((to) => row[to])) - 1;
  }
  return row;
}

// How often lines between two neighbouring rows cross, at their present places.
function crossings(rows) {
  let total = 0;
  for (const row of rows) {
    const ends = [];
    for (const node of row) for (const line of node.down) ends.push([node.place, line.node.place]);
    ends.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (let i = 0; i < ends.length; i++) {
      for (let j = i + 1; j < ends.length; j++) if (ends[j][1] < ends[i][1]) total += 1;
    }
  }
  return total;
}

function number(row) { row.forEach((node, i) => { node.place = i; }); }

// Leaves start on both sides of the lines that only pass them: a call stands below the middle.
function parted(row) {
  const leaves = row.filter((node) => node.light), lanes = row.filter((node) => node.lane);
  if (leaves.length + lanes.length < row.length) return row;
  const half = Math.ceil(leaves.length / 2);
  return [...leaves.slice(0, half), ...lanes, ...leaves.slice(half)];
}

// Sort every row by the mean place of its neighbours above, then below, and keep the best order met.
function orderRows(rows) {
  rows.forEach(number);
  const lines = rows.reduce((sum, row) => sum + row.reduce((n, node) => n + node.down.length, 0), 0);
  const counted = rows.every((row) => row.length < 60);
  let best = counted ? crossings(rows) : Infinity;
  if (best === 0 || lines === 0) return rows;
  let kept = rows.map((row) => [...row]);
  for (let sweep = 0; sweep < 8 && best > 0; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    for (const row of sweep % 2 ? [...rows].reverse() : rows) {
      for (const node of row) {
        const near = node[side];
        node.mean = near.length ? near.reduce((s, line) => s + line.node.place, 0) / near.length : node.place;
      }
      row.sort((a, b) => a.mean - b.mean || a.place - b.place);
      number(row);
    }
    const now = counted ? crossings(rows) : best;
    if (now < best || !counted) { best = now; kept = rows.map((row) => [...row]); }
  }
  kept.forEach(number);
  return kept;
}

// The x nearest to the wished ones (least squares) that keeps order and distance: pool neighbours
// that would overlap, give each pool the mean of its wishes.
function spread(row, wish, weight, gap) {
  const offset = [];
  row.forEach((node, i) => {
    offset.push(i ? offset[i - 1] + (row[i - 1].width + node.width) / 2 + gap(row[i - 1], node) : 0);
  });
  const pools = [];
  row.forEach((node, i) => {
    let pool = { sum: (wish(node) - offset[i]) * weight(node), weight: weight(node), size: 1 };
    while (pools.length && pools.at(-1).sum / pools.at(-1).weight >= pool.sum / pool.weight) {
      const left = pools.pop();
      pool = { sum: left.sum + pool.sum, weight: left.weight + pool.weight, size: left.size + pool.size };
    }
    pools.push(pool);
  });
  let i = 0;
  for (const pool of pools) {
    for (let k = 0; k < pool.size; k++, i++) row[i].x = offset[i] + pool.sum / pool.weight;
  }
}

// So far from the middle a line may go straight down to a box; farther out it is bent back. Frames stand no
// farther out at all: they are wide, and lines seldom leave them where they enter, so they would be stairs.
const STRAIGHT = 400, FRAME_STRAIGHT = 60;

// x of every node's middle; lines keep straight where they can, lanes most of all, and `light`
// nodes (leaves) make room for the others. All but lanes pull equally: else long chains drift aside.
function placeRows(rows) {
  const gap = (a, b) => (a.lane && b.lane ? 8 : 18);
  for (const row of rows) spread(row, () => 0, () => 1, gap);
  const wish = (side) => (node) => {
    if (!node[side].length) return node.x;
    let sum = 0, weight = 0;
    for (const line of node[side]) {
      const heavy = (node.lane && line.node.lane ? 8 : 1) * line.weight;
      sum += (line.node.x + line.there - line.here) * heavy;
      weight += heavy;
    }
    const x = sum / weight;
    if (node.item?.isFrame) return Math.max(-FRAME_STRAIGHT, Math.min(FRAME_STRAIGHT, x));
    return x - Math.sign(x) * Math.max(0, Math.abs(x) - STRAIGHT) / 3;
  };
  const weight = (side) => (node) => {
    if (node.light || !node[side].length) return 0.03;
    return node.lane && node[side].some((line) => line.node.lane) ? 4 : 1;
  };
  for (let sweep = 0; sweep < 6; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    for (const row of sweep % 2 ? [...rows].reverse() : rows) spread(row, wish(side), weight(side), gap);
  }
  for (const row of rows) straighten(row, "up", gap);
  for (const row of [...rows].reverse()) straighten(row, "down", gap);
}

const KINK = 24; // a line that turns by less looks like a mistake

// Move a node a little, where there is room, so that its main line runs straight.
function straighten(row, side, gap) {
  const off = (node, way) => {
    const line = node[way].reduce((best, each) => (best && best.weight >= each.weight ? best : each), null);
    return line ? line.node.x + line.there - node.x - line.here : Infinity;
  };
  row.forEach((node, i) => {
    const by = off(node, side);
    if (Math.abs(by) >= KINK || (side === "down" && Math.abs(off(node, "up")) < 0.5)) return;
    const [left, right] = [row[i - 1], row[i + 1]], x = node.x + by;
    const room = (a, b, from, to) => to - from >= (a.width + b.width) / 2 + gap(a, b);
    if ((!left || room(left, node, left.x, x)) && (!right || room(node, right, x, right.x))) node.x = x;
  });
}
