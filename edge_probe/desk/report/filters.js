// What is shown: one bundle, all or one deployment, all or one class, from a score on.

const ALL = -1;

const shown = { deployment: ALL, bundle: 0, class: ALL, least: 0 };

let counted = null; // detections by class, of what is shown but for the class

// Make the form; `onchange` is called after each change.
function makeFilters(onchange) {
  shown.bundle = busiestBundle();
  if (data.deployments.length === 1) shown.deployment = 0;
  const changed = () => {
    counted = null;
    onchange();
  };
  const form = byId("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  if (data.deployments.length > 1) {
    const options = data.deployments.map((one, n) => [n, one.name]);
    form.append(choice("filter-deployment", "Deployment",
      [[ALL, `all ${options.length}`], ...options], ALL,
      (value) => { shown.deployment = value; changed(); }));
  }
  if (data.bundles.length > 1) {
    const options = data.bundles.map((one, n) => [n, `${one.id} (${one.sha256.slice(0, 8)})`]);
    form.append(choice("filter-bundle", "Bundle", options, shown.bundle, (value) => {
      shown.bundle = value;
      shown.class = ALL;
      changed();
    }));
  }
  form.append(el("div", { class: "field", id: "filter-class-place" }));
  form.append(el("div", { class: "field" },
    el("label", { for: "filter-least" }, "Score from"),
    el("input", {
      id: "filter-least", type: "number", min: "0", max: "1", step: "0.05", value: "0",
      inputmode: "decimal",
      onchange: (event) => {
        const value = Number(event.target.value);
        shown.least = value >= 0 && value <= 1 ? value : 0;
        event.target.value = String(shown.least);
        changed();
      },
    })));
}

function showClassFilter(onchange) {
  const options = classesShown().map((klass) => [klass, `${name(klass)} (${count(counts()[klass])})`]);
  byId("filter-class-place").replaceChildren(
    ...choice("filter-class", "Class", [[ALL, "all classes"], ...options], shown.class,
      (value) => { shown.class = value; onchange(); }).children);
}

function busiestBundle() {
  const n = data.bundles.map(() => 0);
  for (let at = 0; at < heard.n; at++) n[data.classes[heard.class[at]].bundle]++;
  return n.length ? n.indexOf(Math.max(...n)) : 0;
}

// Classes of the bundle that is shown, those heard most first; private ones never.
function classesShown() {
  const found = data.classes.flatMap((one, n) =>
    one.bundle === shown.bundle && !one.private ? [n] : []);
  const n = counts();
  return found.sort((a, b) => n[b] - n[a] || name(a).localeCompare(name(b)));
}

function counts() {
  if (counted === null) {
    counted = new Uint32Array(data.classes.length);
    each(ALL, (at) => counted[heard.class[at]]++);
  }
  return counted;
}

// Call for each detection that is shown, of one class or of all.
function each(klass, call) {
  const least = Math.round(shown.least * SCORES);
  for (let at = 0; at < heard.n; at++) {
    const of = heard.class[at];
    if (klass === ALL ? data.classes[of].bundle !== shown.bundle : of !== klass) continue;
    if (shown.deployment !== ALL && heard.deployment[at] !== shown.deployment) continue;
    if (heard.score[at] < least) continue;
    call(at);
  }
}

const isShown = (deployment) => shown.deployment === ALL || shown.deployment === deployment;

const what = () => (shown.class === ALL ? "all classes" : name(shown.class));
