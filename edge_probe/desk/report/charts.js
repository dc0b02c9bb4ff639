// Figures as SVG, drawn as wide as there is room; each has its numbers as a table, too.

const redraws = new Map(); // figure to what draws it

const watcher = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const width = Math.round(contentRect.width);
    const drawing = redraws.get(target);
    if (drawing && width > 0 && width !== drawing.width) {
      drawing.width = width;
      target.replaceChildren(drawing.draw(width));
    }
  }
});

// A figure with a title, the drawing, what is pointed at, and the numbers.
function figure(title, note, legend, draw, numbers) {
  const place = el("div", { class: "drawing" });
  const told = el("p", { class: "told", "aria-hidden": "true" });
  redraws.set(place, { draw: (width) => draw(width, told), width: 0 });
  watcher.observe(place);
  return el("figure", { class: "chart" },
    el("figcaption", null, el("strong", null, title), note ? [" ", el("span", null, note)] : null),
    legend ? el("ul", { class: "legend" }, legend.map(([cls, text]) =>
      el("li", null, swatch(cls), text))) : null,
    place, told,
    folded("Numbers", numbers));
}

function forgetFigures(section) {
  for (const place of redraws.keys()) {
    if (section.contains(place)) {
      watcher.unobserve(place);
      redraws.delete(place);
    }
  }
}

const swatch = (cls) =>
  svg("svg", { class: "swatch", viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("rect", { width: 16, height: 16, class: `fill ${cls}` }),
    svg("rect", { width: 16, height: 16, fill: `url(#${cls})` }));

// Over the colour of a kind lies its pattern: nothing is told by colour alone. Once for the page,
// outside of what may be hidden.
function patterns() {
  const lines = (id, d) =>
    svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
      svg("path", { d, class: "hatch" }));
  return svg("svg", { class: "patterns", width: 0, height: 0, "aria-hidden": "true" }, svg("defs", null,
    lines("missing", "M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2"),
    lines("private", "M0,0 l6,6 M0,6 l6,-6"),
    lines("unheard", "M0,3 h6")));
}

// About four round numbers from one value to another.
function marksBetween(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step);
  return found;
}

const short = (value) =>
  value >= 10000 ? `${+(value / 1000).toFixed(1)}k` : `${+value.toPrecision(4)}`;

const HEIGHT = 190;
const LEFT = 46;
const BOTTOM = 24;
const TOP = 10;
const MOST = 64; // of a bar

// Stacked bars. `series`: [{cls, text, values}], `labels`: of the bars, `unit`: of the values.
function bars({ title, note, labels, axis, series, unit, heads }) {
  const sums = labels.map((_, n) => series.reduce((sum, one) => sum + one.values[n], 0));
  const top = sums.reduce((a, b) => Math.max(a, b), 0) || 1;
  const marks = marksBetween(0, top);
  const draw = (width, told) => {
    const step = (width - LEFT - 6) / Math.max(1, labels.length);
    const bar = Math.min(MOST, Math.max(1, step - Math.min(2, step / 4)));
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const paths = series.map(() => "");
    labels.forEach((_, n) => {
      let below = 0;
      series.forEach((one, s) => {
        const value = one.values[n];
        if (!(value > 0)) return;
        const x = (LEFT + n * step).toFixed(1);
        paths[s] += `M${x},${y(below).toFixed(1)}V${y(below + value).toFixed(1)}h${bar.toFixed(1)}V${y(below).toFixed(1)}z`;
        below += value;
      });
    });
    const drawing = svg("svg", {
      width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
      "aria-label": `${title}. The numbers are in the table below.`,
    }, grid(marks, y, width), paths.flatMap((d, s) => d === "" ? [] : [
      svg("path", { d, class: `fill ${series[s].cls}` }),
      svg("path", { d, fill: `url(#${series[s].cls})` }),
    ]), axisMarks(labels.length, step, axis, width));
    pointedAt(drawing, step, labels.length, (n) => {
      told.textContent = n === null ? "" : `${labels[n]}: ${series.map((one) =>
        `${one.text} ${short(one.values[n])} ${unit}`).join(", ")}`;
    });
    return drawing;
  };
  const legend = series.length > 1 ? series.map((one) => [one.cls, one.text]) : null;
  return figure(title, note, legend, draw, () =>
    table(title, heads || [axis.head, ...series.map((one) => `${one.text}, ${unit}`)],
      labels.map((label, n) => [label, ...series.map((one) => +one.values[n].toFixed(2))])));
}

function grid(marks, y, width) {
  return marks.map((mark) => svg("g", { class: "grid" },
    svg("line", { x1: LEFT, x2: width, y1: y(mark), y2: y(mark) }),
    svg("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark))));
}

// As many labels as have room, the first of them at the first bar.
function axisMarks(n, step, axis, width) {
  const every = axis.every(Math.max(1, Math.ceil((axis.room || 60) / step)));
  const found = [];
  for (let at = 0; at < n; at += every) {
    const x = LEFT + at * step;
    if (x + (axis.room || 60) * 0.6 > width && at > 0) break;
    found.push(svg("g", { class: "axis" },
      svg("line", { x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4 }),
      svg("text", { x, y: HEIGHT - 6 }, axis.text(at))));
  }
  return found;
}

function pointedAt(drawing, step, n, tell) {
  drawing.addEventListener("pointermove", (event) => {
    const at = Math.floor((event.clientX - drawing.getBoundingClientRect().left - LEFT) / step);
    tell(at >= 0 && at < n ? at : null);
  });
  drawing.addEventListener("pointerleave", () => tell(null));
}

// Bins of time from the first to the last, with the empty ones between them, unless a clock was so
// wrong that there would be years of them.
function timeAxis(bins) {
  const dated = [...new Set(bins)].filter((bin) => bin !== NO_TIME).sort((a, b) => a - b);
  if (!dated.length) return { bins: [], labels: [], axis: null };
  const [first, last] = [dated[0], dated[dated.length - 1]];
  const all = last - first < 2000
    ? Array.from({ length: last - first + 1 }, (_, n) => first + n) : dated;
  const hourly = data.bin_s < 24 * HOUR;
  const year = new Set(all.map((bin) => dayText(bin * data.bin_s).slice(0, 4))).size > 1;
  return {
    bins: all,
    at: new Map(all.map((bin, n) => [bin, n])),
    labels: all.map(binText),
    axis: {
      head: hourly ? "Hour" : "Day",
      room: year ? 84 : 60,
      every: (least) => (hourly ? [1, 2, 3, 6, 12, 24, 48] : [1, 2, 7, 14, 28, 56, 112])
        .find((n) => n >= least) || least,
      text: (n) => {
        const start = all[n] * data.bin_s;
        if (hourly) return clockText(start).startsWith("00") ? dayText(start).slice(5) : clockText(start).slice(0, 5);
        return year ? dayText(start) : dayText(start).slice(5);
      },
    },
  };
}

const HOURS = Array.from({ length: 24 }, (_, n) => `${two(n)}:00`);
const hourAxis = {
  head: "Hour of the day", room: 40,
  every: (least) => [1, 2, 3, 4, 6, 12].find((n) => n >= least) || 12,
  text: (n) => HOURS[n],
};

// Days across, hours of the day down; the darker, the more.
function hoursAndDays(title, note, days, cells, most) {
  const height = 24 * 7;
  const draw = (width, told) => {
    const step = (width - LEFT - 6) / Math.max(1, days.bins.length);
    const paths = Array.from({ length: 5 }, () => "");
    cells.forEach((value, at) => {
      const day = Math.floor(at / 24);
      const level = Math.ceil((value / most) * 5) - 1;
      paths[level] += `M${(LEFT + day * step).toFixed(1)},${(at % 24) * 7}h${Math.max(1, step - 0.5).toFixed(1)}v6.5h-${Math.max(1, step - 0.5).toFixed(1)}z`;
    });
    const drawing = svg("svg", {
      width, height: height + BOTTOM, viewBox: `0 0 ${width} ${height + BOTTOM}`, role: "img",
      "aria-label": `${title}. Hours and days are tables of other figures.`,
    },
    svg("rect", { x: LEFT, y: 0, width: width - LEFT - 6, height, class: "ground" }),
    paths.map((d, level) => svg("path", { d, class: `fill level${level}` })),
    [0, 6, 12, 18].map((hour) => svg("g", { class: "axis" },
      svg("text", { x: LEFT - 6, y: hour * 7 + 9, "text-anchor": "end" }, HOURS[hour]))),
    svg("g", { transform: `translate(0 ${height + BOTTOM - HEIGHT})` },
      axisMarks(days.bins.length, step, days.axis, width)));
    drawing.addEventListener("pointermove", (event) => {
      const box = drawing.getBoundingClientRect();
      const day = Math.floor((event.clientX - box.left - LEFT) / step);
      const hour = Math.floor((event.clientY - box.top) / 7);
      told.textContent = day >= 0 && day < days.bins.length && hour < 24
        ? `${days.labels[day]} ${HOURS[hour]}: ${count(cells.get(day * 24 + hour) || 0)}` : "";
    });
    return drawing;
  };
  return figure(title, note, null, draw, () =>
    table(title, ["Day and hour", "Detections"], [...cells].sort((a, b) => b[1] - a[1]).slice(0, 200)
      .map(([at, value]) => [`${days.labels[Math.floor(at / 24)]} ${HOURS[at % 24]}`, value])));
}

// Lines over time. `lines`: [{text, points: [[n, value]]}]
function lines({ title, note, days, lines: found, unit, zero }) {
  const values = found.flatMap((line) => line.points.map(([, value]) => value));
  const low = values.reduce((a, b) => Math.min(a, b), zero ? 0 : Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), zero ? 0 : -Infinity);
  const span = high - low || Math.abs(high) || 1;
  const marks = marksBetween(low, low + span);
  const draw = (width, told) => {
    const right = 64;
    const step = (width - LEFT - right) / Math.max(1, days.bins.length);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span);
    const x = (n) => LEFT + (n + 0.5) * step;
    let lowest = 0;
    const ends = found
      .map((line, n) => ({ n, text: line.text, y: y(line.points[line.points.length - 1][1]) }))
      .sort((a, b) => a.y - b.y);
    for (const end of ends) lowest = end.at = Math.max(end.y + 4, lowest + 12);
    const drawing = svg("svg", {
      width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
      "aria-label": `${title}. The numbers are in the table below.`,
    },
    grid(marks, y, width - right + 4),
    found.map((line, n) => svg("g", { class: `line line${n % 8}` },
      svg("path", { d: path(line.points, x, y) }),
      line.points.length < 40
        ? line.points.map(([at, value]) => svg("circle", { cx: x(at), cy: y(value), r: 2.5 }))
        : null)),
    ends.map((end) => svg("text", { class: `end line${end.n % 8}`, x: width - right + 8, y: end.at }, end.text)),
    axisMarks(days.bins.length, step, days.axis, width - right));
    pointedAt(drawing, step, days.bins.length, (n) => {
      const at = n === null ? [] : found.flatMap((line) => {
        const point = line.points.find(([where]) => where === n);
        return point ? [`${line.text} ${short(point[1])} ${unit}`] : [];
      });
      told.textContent = at.length ? `${days.labels[n]}: ${at.join(", ")}` : "";
    });
    return drawing;
  };
  return figure(title, note, null, draw, () => {
    const byBin = found.map((line) => new Map(line.points));
    return table(title, [days.axis.head, ...found.map((line) => `${line.text}, ${unit}`)],
      days.bins.flatMap((_, n) => byBin.some((points) => points.has(n))
        ? [[days.labels[n], ...byBin.map((points) => points.has(n) ? String(points.get(n)) : "–")]]
        : []));
  });
}

// Through the points; broken where one is missing.
function path(points, x, y) {
  let before = null;
  return points.map(([n, value]) => {
    const command = before === n - 1 ? "L" : "M";
    before = n;
    return `${command}${x(n).toFixed(1)},${y(value).toFixed(1)}`;
  }).join("");
}
