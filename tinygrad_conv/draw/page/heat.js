// Colours that say how much, if the drawing was made with `show=`. The strong end of the scale is the most that
// anything seen has: a closed module counts as a whole, so colours are found anew after each layout.

function makeHeat(data, place) {
  const { heat } = data;
  if (!heat) return { colour() {}, text: () => "" };
  const known = new Map();
  const amountOf = (parts) => {
    if (!heat.span) return parts[0] ?? 0;
    for (let i = 0; i < parts.length; i += 2) if (parts[i + 1]) return Math.sqrt(parts[i] / parts[i + 1]);
    return 0;
  };
  const sum = (boxes) => amountOf(boxes.reduce((sums, { heat: own }) =>
    (own ? own.map((part, i) => part + (sums[i] ?? 0)) : sums), []));
  const amount = (node) => {
    if (!known.has(node)) known.set(node, node.isFrame ? sum(node.boxes.map(({ box }) => box)) : sum([node.box]));
    return known.get(node);
  };
  const whole = heat.span ? 0 : sum(data.boxes);
  const number = (value) => {
    const [size, letter] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => value >= least) ?? [1, ""];
    return `${Number((value / size).toPrecision(3))}${letter}`;
  };
  const fill = (own, least, most) => {
    const at = heat.span ? Math.log(own / least) / Math.log(most / least) : own / most;
    return heat.scale[Math.min(heat.scale.length - 1, Math.max(0, Math.floor(at * heat.scale.length)))];
  };
  const bar = svgElement("svg", { viewBox: `0 0 ${16 * heat.scale.length} 12`, "aria-hidden": true });
  heat.scale.forEach((fill, i) => bar.append(svgElement("rect", { fill, x: 16 * i, width: 16, height: 12 })));
  const low = element("span"), high = element("span");
  place.replaceChildren(element("span", `${heat.what}:`), low, bar, high, element("span", "no colour: none", "soft"));
  place.hidden = false;
  document.documentElement.classList.add("heat");

  return {
    // Gives boxes and closed modules their `fill`.
    colour(nodes) {
      const closed = (node) => !(node.isFrame && node.open);
      const amounts = nodes.filter(closed).map(amount).filter(Boolean);
      const most = amounts.reduce((a, b) => Math.max(a, b), 0);
      const least = heat.span ? amounts.reduce((a, b) => Math.min(a, b), most / heat.span) : 0;
      for (const node of nodes) node.fill = closed(node) && amount(node) ? fill(amount(node), least, most) : undefined;
      low.textContent = number(least);
      high.textContent = `${number(most)} ${heat.unit}`;
    },
    text(node) {
      const own = amount(node);
      return own ? `${number(own)} ${heat.unit}${whole ? ` (${(100 * own / whole).toFixed(0)}%)` : ""}` : "";
    } };
}
