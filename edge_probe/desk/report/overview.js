// Effort and gaps over time, deployments, and what was left out.

function showOverview(section) {
  const kinds = data.effort.kinds;
  const sums = new Map(); // bin to sums of the kinds, then classified
  let unknownGaps = 0;
  let gated = 0;
  const at = (bin) => {
    if (!sums.has(bin)) sums.set(bin, new Float64Array(kinds.length + 1));
    return sums.get(bin);
  };
  for (const [deployment, bin, ...values] of data.effort.time) {
    if (isShown(deployment)) values.forEach((value, n) => { at(bin)[n] += value; });
  }
  for (const [deployment, bundle, bin, value] of data.effort.heard) {
    if (isShown(deployment) && bundle === shown.bundle) at(bin)[kinds.length] += value;
  }
  for (const [deployment, bundle, value] of data.effort.gated) {
    if (isShown(deployment) && bundle === shown.bundle) gated += value;
  }
  for (const [deployment, , , unknown] of data.effort.gaps) {
    if (isShown(deployment)) unknownGaps += unknown;
  }
  const total = new Float64Array(kinds.length + 1);
  for (const values of sums.values()) values.forEach((value, n) => { total[n] += value; });
  const [, recorded, gap] = total;
  const classified = total[kinds.length];
  let n = 0;
  each(ALL, () => n++);
  const classes = classesShown();
  const heardOf = classes.filter((klass) => counts()[klass] > 0).length;
  fill(section,
    el("h2", null, "Effort and gaps"),
    el("dl", { class: "tiles" },
      tile("Recorded", hoursText(recorded), `of ${hoursText(recorded + gap)} that were to be recorded`),
      tile("Classified", hoursText(classified), recorded
        ? `${percent(classified / recorded)} of what was recorded${gated ? `; ${hoursText(gated)} of it too quiet for the gate` : ""}`
        : ""),
      tile("Missing", hoursText(gap), unknownGaps ? `and ${plural(unknownGaps, "gap")} of unknown length` : lostText(gap, recorded)),
      tile("Detections", count(n), shown.least ? `with a score from ${shown.least} on` : `of ${plural(data.deployments.filter((_, d) => isShown(d)).length, "deployment")}`),
      tile("Classes heard", count(heardOf), `of ${count(classes.length)} that the bundle knows`)),
    effortChart(sums, kinds.length),
    data.deployments.length > 1 ? deploymentTable() : placeOf(0),
    gapTables(),
    leftOut());
}

const tile = (term, value, note) =>
  el("div", { class: "tile" }, el("dt", null, term), el("dd", null, el("strong", null, value), el("small", null, note)));

// Never 100 % of what is not all, nor 0 % of what is not nothing.
function percent(share) {
  if (share > 0.99 && share < 1) return `${Math.floor(share * 1e4) / 100} %`;
  return `${share < 0.1 ? +(100 * share).toPrecision(2) : +(100 * share).toFixed(1)} %`;
}

const lostText = (gap, recorded) => gap > 0 ? `${percent(gap / (gap + recorded))} of what was to be recorded` : "nothing";

function effortChart(sums, last) {
  const days = timeAxis([...sums.keys()]);
  const undated = sums.get(NO_TIME);
  const note = undated
    ? el("p", { class: "notice" }, `${hoursText(undated[1])} have no date: the recorder's clock was never set (edge-probe retime puts that right).`)
    : null;
  if (!days.bins.length) return note || el("p", { class: "notice" }, "Nothing was to be recorded.");
  const hours = (pick) => days.bins.map((bin) => sums.has(bin) ? Math.max(0, pick(sums.get(bin))) / HOUR : 0);
  const name = data.bin_s < 24 * HOUR ? "Hours" : "Days";
  return [bars({
    title: `${name} of listening`,
    note: shown.deployment === ALL && data.deployments.length > 1
      ? "hours of all deployments together" : `hours, days in ${offsetText(Math.max(0, shown.deployment))}`,
    labels: days.labels, axis: days.axis, unit: "h",
    series: [
      { cls: "classified", text: "classified", values: hours((v) => v[last]) },
      { cls: "unheard", text: "recorded, not classified", values: hours((v) => v[1] - v[3] - v[last]) },
      { cls: "private", text: "private, silenced", values: hours((v) => v[3]) },
      { cls: "missing", text: "missing", values: hours((v) => v[2]) },
    ],
  }), note];
}

// One row for each deployment, with a strip of how much of each day was recorded.
function deploymentTable() {
  const all = timeAxis(data.effort.time.map(([, bin]) => bin));
  const sums = data.deployments.map(() => ({ recorded: 0, gap: 0, bins: new Map() }));
  for (const [deployment, bin, scheduled, recorded, gap] of data.effort.time) {
    const of = sums[deployment];
    of.recorded += recorded;
    of.gap += gap;
    of.bins.set(bin, scheduled ? recorded / scheduled : 0);
  }
  const n = new Uint32Array(data.deployments.length);
  for (let at = 0; at < heard.n; at++) {
    if (data.classes[heard.class[at]].bundle === shown.bundle) n[heard.deployment[at]]++;
  }
  return table("Deployments", ["Deployment", "Recorded", "Missing", "Detections", "When"],
    data.deployments.map((one, d) => [
      button(one.name, () => choose("filter-deployment", d), { class: "link" }),
      hoursText(sums[d].recorded), hoursText(sums[d].gap), n[d], strip(one, sums[d].bins, all),
    ]));
}

function strip(deployment, bins, all) {
  const width = 240;
  const step = width / Math.max(1, all.bins.length);
  let whole = "";
  let part = "";
  all.bins.forEach((bin, n) => {
    if (!bins.has(bin)) return;
    const share = bins.get(bin);
    const cell = (height) => `M${(n * step).toFixed(2)},${16 - height}h${step.toFixed(2)}V16h-${step.toFixed(2)}z`;
    if (share > 0.99) whole += cell(16);
    else part += cell(Math.max(1, 16 * share));
  });
  const dated = [...bins.keys()].filter((bin) => bin !== NO_TIME);
  const text = dated.length
    ? `${binText(Math.min(...dated))} to ${binText(Math.max(...dated))}` : "no date";
  return el("span", { class: "strip" },
    svg("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, role: "img", "aria-label": text },
      svg("rect", { width, height: 16, class: "ground" }),
      svg("path", { d: whole, class: "fill classified" }), svg("path", { d: part, class: "fill missing" })),
    el("small", null, text));
}

function placeOf(deployment) {
  const one = data.deployments[deployment];
  const facts = [
    one.latitude === null || one.longitude === null ? null : `${one.latitude.toFixed(5)}, ${one.longitude.toFixed(5)}`,
    one.habitat, one.microphone && `microphone ${one.microphone}`, one.setup_by && `set up by ${one.setup_by}`,
    `times in ${offsetText(deployment)}`,
  ].filter(Boolean);
  return el("p", { class: "facts" }, `${one.name}: ${facts.join(" · ")}`);
}

function gapTables() {
  const causes = new Map();
  const of = (cause) => {
    if (!causes.has(cause)) causes.set(cause, { n: 0, unknown: 0, seconds: 0 });
    return causes.get(cause);
  };
  for (const [deployment, cause, n, unknown] of data.effort.gaps) {
    if (!isShown(deployment)) continue;
    of(cause).n += n;
    of(cause).unknown += unknown;
  }
  for (const [deployment, cause, , seconds] of data.effort.lost) {
    if (isShown(deployment)) of(cause).seconds += seconds;
  }
  if (!causes.size) return el("p", { class: "notice" }, "There is no gap.");
  const longest = data.effort.longest.filter(([deployment]) => isShown(deployment))
    .sort((a, b) => b[2] - a[2]).slice(0, 100);
  return [
    el("h3", null, "Gaps"),
    table("Gaps by cause", ["Cause", "How many", "Together", "Unknown length"],
      [...causes].sort((a, b) => b[1].seconds - a[1].seconds).map(([cause, sum]) =>
        [causeText(cause), sum.n, durationText(sum.seconds), sum.unknown || "–"])),
    longest.length ? folded(`The longest ${longest.length === 1 ? "gap" : `${longest.length} gaps`}, off hours aside`, () =>
      table("Longest gaps", ["Begin", "Length", "Cause", "Deployment"],
        longest.map(([deployment, start, seconds, cause]) =>
          [timeText(start), durationText(seconds), causeText(cause), data.deployments[deployment].name]))) : null,
  ];
}

function leftOut() {
  if (!data.left_out.length) return null;
  return el("div", { class: "notice" }, el("h3", null, "Left out"),
    el("ul", null, data.left_out.map(([reason, n]) => el("li", null, `${count(n)} ${reason}`))));
}

// As if somebody had chosen it in the form.
function choose(id, value) {
  const select = byId(id);
  select.value = String(value);
  select.dispatchEvent(new Event("change"));
}
