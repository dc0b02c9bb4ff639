// Detections by class, time, hour and score, and the list of them.

const PAGE = 50;
const FEW = 40;

let perHour = false;
let order = { by: "count", down: true };
let listFrom = 0;

function showDetections(section) {
  listFrom = 0;
  const figures = el("div", { class: "figures" });
  const list = el("div");
  const redraw = () => {
    forgetFigures(figures);
    fill(figures, detectionFigures());
  };
  fill(section,
    el("h2", null, shown.class === ALL ? "Detections" : ["Detections of ", named(shown.class)]),
    shown.class === ALL ? classTable() : classLine(shown.class),
    el("label", { class: "check" },
      el("input", { type: "checkbox", checked: perHour, id: "per-hour",
        onchange: (event) => { perHour = event.target.checked; redraw(); } }),
      " for each hour of listening, instead of counts"),
    figures, el("h3", null, "List"), list);
  redraw();
  showList(list);
}

function detectionFigures() {
  const byBin = new Map();
  const byHour = new Float64Array(24);
  const byScore = new Float64Array(20);
  const cells = new Map();
  let n = 0;
  let undated = 0;
  each(shown.class, (at) => {
    n++;
    byScore[Math.min(19, Math.floor((heard.score[at] / SCORES) * 20 + 1e-4))]++;
    const time = heard.time[at];
    if (time === NO_TIME) { undated++; return; }
    const bin = binOf(time);
    byBin.set(bin, (byBin.get(bin) || 0) + 1);
    byHour[Math.floor(time / HOUR) % 24]++;
    const cell = Math.floor(time / HOUR);
    cells.set(cell, (cells.get(cell) || 0) + 1);
  });
  if (n === 0) {
    return [el("p", { class: "notice" }, `No detection of ${what()}${shown.least ? ` with a score from ${shown.least} on` : ""}${shown.deployment === ALL ? "" : ` at ${data.deployments[shown.deployment].name}`}.`)];
  }
  const listened = new Map();
  const listenedByHour = new Float64Array(24);
  for (const [deployment, bundle, bin, seconds] of data.effort.heard) {
    if (isShown(deployment) && bundle === shown.bundle) listened.set(bin, (listened.get(bin) || 0) + seconds / HOUR);
  }
  for (const [deployment, bundle, ...seconds] of data.effort.heard_by_hour) {
    if (isShown(deployment) && bundle === shown.bundle) seconds.forEach((value, hour) => { listenedByHour[hour] += value / HOUR; });
  }
  const rate = (value, hours) => (perHour ? (hours > 0 ? value / hours : 0) : value);
  const unit = perHour ? "detections / h" : "detections";
  const note = perHour ? "detections for each hour of listening" : "detections";
  const days = timeAxis([...byBin.keys(), ...listened.keys()]);
  const found = [];
  if (days.bins.length) {
    found.push(bars({
      title: data.bin_s < 24 * HOUR ? "By time" : "By day", note, labels: days.labels, axis: days.axis, unit,
      series: [{ cls: "classified", text: "", values: days.bins.map((bin) => rate(byBin.get(bin) || 0, listened.get(bin))) }],
    }), bars({
      title: "By hour of the day", note: `${note}; in each deployment's own fixed offset`, labels: HOURS, axis: hourAxis, unit,
      series: [{ cls: "classified", text: "", values: HOURS.map((_, hour) => rate(byHour[hour], listenedByHour[hour])) }],
    }));
  }
  found.push(bars({
    title: scoreTitle(), note: "detections", unit: "detections",
    labels: Array.from({ length: 20 }, (_, at) => `${(at / 20).toFixed(2)}–${((at + 1) / 20).toFixed(2)}`),
    axis: { head: "Score", room: 36, every: (least) => [1, 2, 4, 10].find((k) => k >= least) || 10, text: (at) => (at / 20).toFixed(2) },
    series: [{ cls: "classified", text: "", values: [...byScore] }],
  }));
  if (days.bins.length && data.bin_s === 24 * HOUR) {
    const shifted = new Map();
    let most = 1;
    for (const [cell, value] of cells) {
      shifted.set(days.at.get(Math.floor(cell / 24)) * 24 + (cell % 24), value);
      most = Math.max(most, value);
    }
    found.push(hoursAndDays("Hours and days", `detections; up to ${count(most)} in an hour`, days, shifted, most));
  }
  if (undated) found.push(el("p", { class: "notice" }, `${plural(undated, "detection")} without a date: the recorder's clock was never set.`));
  return found;
}

function scoreTitle() {
  const kinds = new Set((shown.class === ALL ? classesShown().filter((k) => counts()[k]) : [shown.class]).map(scoreWord));
  return kinds.size > 1 ? "Scores (of some classes a probability)" : `By ${[...kinds][0]}`;
}

function classLine(klass) {
  const one = data.classes[klass];
  return el("p", { class: "facts" },
    `${plural(counts()[klass], "detection")}; detected from a logit of ${one.threshold === null ? "?" : one.threshold.toFixed(2)} on; `,
    button("all classes", () => choose("filter-class", ALL), { class: "link" }), " · ",
    el("a", { href: "#listen" }, "listen"));
}

// Classes with bars; those without a detection are named below.
function classTable() {
  const all = classesShown();
  const some = all.filter((klass) => counts()[klass] > 0);
  const none = all.filter((klass) => counts()[klass] === 0);
  const best = new Uint16Array(data.classes.length);
  const first = new Float64Array(data.classes.length).fill(NO_TIME);
  const last = new Float64Array(data.classes.length).fill(-1);
  each(ALL, (at) => {
    const klass = heard.class[at];
    best[klass] = Math.max(best[klass], heard.score[at]);
    if (heard.time[at] === NO_TIME) return;
    first[klass] = Math.min(first[klass], heard.time[at]);
    last[klass] = Math.max(last[klass], heard.time[at]);
  });
  const keys = {
    class: { head: "Class", of: (klass) => name(klass), text: true },
    count: { head: "Detections", of: (klass) => counts()[klass] },
    best: { head: "Best score", of: (klass) => best[klass] },
    first: { head: "First", of: (klass) => first[klass] },
    last: { head: "Last", of: (klass) => last[klass] },
  };
  const most = some.length ? Math.max(...some.map((klass) => counts()[klass])) : 1;
  let limit = FEW;
  const place = el("div");
  const show = () => {
    const { of, text } = keys[order.by];
    some.sort((a, b) => (text ? of(a).localeCompare(of(b)) : of(a) - of(b)) * (order.down ? -1 : 1));
    fill(place, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Classes" },
      el("table", { class: "classes" },
        el("caption", null, `${plural(some.length, "class", "classes")} heard`),
        el("thead", null, el("tr", null, Object.entries(keys).map(([key, column]) =>
          el("th", { scope: "col", class: key === "count" || key === "best" ? "number" : null, "aria-sort": key === order.by ? (order.down ? "descending" : "ascending") : "none" },
            button([column.head, key === order.by ? (order.down ? " ↓" : " ↑") : ""].join(""), () => {
              order = { by: key, down: key === order.by ? !order.down : !column.text };
              show();
              place.querySelectorAll("th button")[Object.keys(keys).indexOf(key)].focus();
            }, { class: "sort" }))))),
        el("tbody", null, some.slice(0, limit).map((klass) => el("tr", null,
          el("th", { scope: "row" }, classLink(klass)),
          el("td", { class: "number" }, el("span", { class: "bar" }, meter(counts()[klass] / most)), count(counts()[klass])),
          el("td", { class: "number" }, scoreText(best[klass] / SCORES)),
          el("td", null, dayText(first[klass])),
          el("td", null, last[klass] < 0 ? "no date" : dayText(last[klass]))))))),
      some.length > limit ? button(`Show all ${count(some.length)}`, () => { limit = Infinity; show(); }) : "");
  };
  show();
  return [place, none.length ? folded(`${plural(none.length, "class", "classes")} without a detection`, () =>
    el("ul", { class: "names" }, none.map((klass) => el("li", null, named(klass))))) : null];
}

const meter = (share) => svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
  svg("rect", { width: Math.max(1, 100 * share), height: 10, class: "fill classified" }));

// Detections that are shown, newest last, fifty at a time.
function showList(place) {
  const all = [];
  each(shown.class, (at) => all.push(at));
  const several = data.deployments.length > 1;
  const show = (focus) => {
    const rows = all.slice(listFrom, listFrom + PAGE).map((at) => [
      timeText(heard.time[at]), named(heard.class[at]), scoreText(heard.score[at] / SCORES),
      ...(several ? [data.deployments[heard.deployment[at]].name] : []),
      heard.audible[at] ? "kept" : "gone",
    ]);
    const end = Math.min(all.length, listFrom + PAGE);
    const turn = (text, from, able) => button(text, () => { listFrom = from; show(text); }, { disabled: !able });
    const turns = [
      turn("First", 0, listFrom > 0), turn("Before", Math.max(0, listFrom - PAGE), listFrom > 0),
      turn("Next", listFrom + PAGE, end < all.length),
      turn("Last", Math.floor((all.length - 1) / PAGE) * PAGE, end < all.length),
    ];
    fill(place, ...(all.length ? [
      table(`${count(listFrom + 1)} to ${count(end)} of ${plural(all.length, "detection")}`,
        ["Begin", "Class", "Score", ...(several ? ["Deployment"] : []), "Sound"], rows),
      el("div", { class: "buttons", role: "group", "aria-label": "Pages of the list" }, turns),
    ] : [el("p", { class: "notice" }, "Nothing is shown.")]));
    if (focus) (turns.find((one) => one.textContent === focus && !one.disabled) || turns.find((one) => !one.disabled))?.focus();
  };
  show(null);
}
