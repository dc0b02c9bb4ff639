// What was said, kept in this browser, saved as a corrections file, and loaded again.

const VERDICTS = { correct: "Yes, correct", wrong: "No, wrong", other: "Other label", unsure: "Unsure" };
const STORE = `edge-probe report ${about.id}`;
const FORMAT = "edge-probe corrections";

const said = new Map(); // key to {verdict, other, at, saved}
let carried = []; // entries of loaded files about what this report does not show
let reviewer = "";
let isKept = true; // false: this browser keeps nothing

const verdictOf = (key) => said.get(key);

const saidText = (one) =>
  one.verdict === "other" ? `✎ ${one.other}` : { correct: "✓ correct", wrong: "✗ wrong", unsure: "? unsure" }[one.verdict];

function setVerdict(key, verdict, other) {
  said.set(key, { verdict, other: other || null, at: Date.now(), saved: false });
  keep();
}

function clearVerdict(key) {
  said.delete(key);
  keep();
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify({ reviewer, carried, said: [...said] }));
    isKept = true;
  } catch {
    isKept = false;
  }
  warn(isKept ? "" : "This browser does not keep what you say: save the corrections before you close the page.");
  showUnsaved();
}

function recall() {
  try {
    const text = localStorage.getItem(STORE);
    if (text === null) return;
    const found = JSON.parse(text);
    said.clear();
    for (const [key, one] of found.said) if (Object.hasOwn(VERDICTS, one.verdict)) said.set(key, one);
    carried = found.carried;
    reviewer = found.reviewer;
  } catch (error) {
    isKept = false;
    warn(`What was kept in this browser cannot be read (${error.message}): load your last corrections file.`);
  }
}

const classOfKey = (key) => {
  const [, sha256, , , , , , label] = JSON.parse(key);
  return classOf.get(`${sha256}\n${label}`);
};

// Verdicts by class.
function saidOf() {
  const found = new Map();
  for (const [key, one] of said) {
    const klass = classOfKey(key);
    found.set(klass, [...(found.get(klass) || []), one]);
  }
  return found;
}

const unsaved = () => [...said.values()].filter((one) => !one.saved).length;

function showUnsaved() {
  const n = unsaved();
  const badge = byId("unsaved");
  badge.hidden = n === 0;
  badge.textContent = count(n);
  badge.setAttribute("aria-label", `${plural(n, "verdict")} in no file yet`);
}

// A label as the bundle's rule has it; null: it is none.
function cleanLabel(text) {
  const label = text.trim();
  const cut = label.indexOf("_");
  const parts = cut < 0 ? [label] : [label.slice(0, cut), label.slice(cut + 1)];
  const good = parts.every((part) => part !== "" && part === part.trim());
  return good && [...label].length <= 200 && !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(label) ? label : null;
}

const utcText = (ms) => `${new Date(ms).toISOString().slice(0, 19)}Z`;

// Entries of what was said, in the order in which it was said; one for each draw of an item.
function entries() {
  const known = asksByKey();
  const found = [...carried];
  for (const [key, one] of [...said].sort((a, b) => a[1].at - b[1].at)) {
    const draws = new Set();
    for (const ask of known(key)) {
      if (draws.has(ask.draw)) continue;
      draws.add(ask.draw);
      found.push(entry(ask, one));
    }
  }
  return found;
}

// What is asked about under a key, once for each draw; nothing where this report has no such key.
function asksByKey() {
  const byClass = new Map();
  return (key) => {
    const klass = classOfKey(key);
    if (klass === undefined) return [];
    if (!byClass.has(klass)) {
      const found = new Map();
      for (const ask of asks(klass)) found.set(ask.key, [...(found.get(ask.key) || []), ask]);
      byClass.set(klass, found);
    }
    return byClass.get(klass).get(key) || [];
  };
}

function entry(ask, one) {
  const clip = data.clips[ask.clip];
  const { bundle, label } = data.classes[ask.class];
  return {
    deployment_id: data.deployments[clip.deployment].id,
    bundle_sha256: data.bundles[bundle].sha256,
    boot: clip.boot, stream: clip.stream, channel: clip.channel,
    start_sample: ask.start, end_sample: ask.end, rate_hz: clip.rate,
    label, verdict: one.verdict, other_label: one.other,
    logit: ask.logit, draw: ask.draw, probability: ask.probability,
    reviewed_utc: utcText(one.at),
  };
}

function saveFile() {
  const now = Date.now();
  const text = JSON.stringify({
    format: FORMAT, version: 1, made_utc: utcText(now), reviewer, corrections: entries(),
  }, null, 1);
  const link = el("a", {
    href: URL.createObjectURL(new Blob([`${text}\n`], { type: "application/json" })),
    download: `corrections_${utcText(now).replace(/[-:]/g, "").replace("T", "_").slice(0, 15)}.json`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  for (const one of said.values()) one.saved = true;
  keep();
  return link.download;
}

// Take up a corrections file; what it did, for people. Throws what is wrong with it.
function loadText(text) {
  const found = JSON.parse(text);
  if (found === null || found.format !== FORMAT) throw new Error("it is no corrections file of edge-probe");
  if (found.version !== 1) throw new Error(`expected version 1, found ${found.version}`);
  if (!Array.isArray(found.corrections)) throw new Error("it has no list of corrections");
  found.corrections.forEach(checkEntry);
  const known = asksByKey();
  const last = new Map(); // of an item the last entry of a file counts
  for (const one of found.corrections) last.set(JSON.stringify(PLACE.map((part) => one[part])), one);
  let taken = 0;
  let older = 0;
  for (const [key, one] of last) {
    const at = Date.parse(one.reviewed_utc);
    if (!known(key).length) {
      carried = carried.filter((old) => !same(old, one));
      carried.push(...found.corrections.filter((other) => same(other, one)));
    } else if (!said.has(key) || utcText(said.get(key).at) <= utcText(at)) {
      said.set(key, { verdict: one.verdict, other: one.verdict === "other" ? one.other_label : null, at, saved: true });
      taken++;
    } else {
      older++;
    }
  }
  if (!reviewer) reviewer = String(found.reviewer || "");
  keep();
  return [
    `${plural(taken, "verdict")} taken up`,
    older ? `${older} older than what you said here, and not taken` : "",
    carried.length ? `${plural(carried.length, "verdict")} of what this report does not show: saved again with yours` : "",
  ].filter(Boolean).join("; ");
}

const PLACE = ["deployment_id", "bundle_sha256", "boot", "stream", "channel", "start_sample", "end_sample", "label"];
const same = (a, b) => PLACE.every((key) => a[key] === b[key]);

function checkEntry(one, n) {
  const wrong = (why) => { throw new Error(`entry ${n + 1}: ${why}`); };
  if (one === null || typeof one !== "object") wrong("expected an object");
  if (!Object.hasOwn(VERDICTS, one.verdict)) wrong(`unknown verdict ${one.verdict}`);
  if (typeof one.label !== "string") wrong("it has no label");
  if (one.verdict === "other" && !(typeof one.other_label === "string" && cleanLabel(one.other_label) === one.other_label)) wrong("other_label is no label");
  if (!Object.hasOwn(DRAWS, one.draw)) wrong(`unknown draw ${one.draw}`);
  if (Number.isNaN(Date.parse(one.reviewed_utc))) wrong("reviewed_utc is no time");
  if (!data.deployments.some((deployment) => deployment.id === one.deployment_id)) wrong(`it is of another archive: deployment ${one.deployment_id} is not in this report`);
  if (!data.bundles.some((bundle) => bundle.sha256 === one.bundle_sha256)) wrong(`it is of another bundle, ${String(one.bundle_sha256).slice(0, 12)}`);
}

function showSave(section) {
  const byClass = [...saidOf()].sort((a, b) => name(a[0]).localeCompare(name(b[0])));
  const told = el("p", { role: "status", id: "saved" });
  const again = (text) => { showSave(section); byId("saved").textContent = text; };
  fill(section,
    el("h2", null, "Save what you said"),
    el("p", { class: "facts" }, isKept
      ? "This browser keeps your verdicts for this report, also when you close it. A corrections file takes them to edge-probe validate and edge-export refit, or to another browser."
      : "This browser keeps nothing: save before you close the page."),
    el("div", { class: "field wide" }, el("label", { for: "reviewer" }, "Your name (may stay empty)"),
      el("input", { id: "reviewer", value: reviewer, maxlength: "200", autocomplete: "name",
        oninput: (event) => { reviewer = event.target.value; keep(); } })),
    el("p", { class: "buttons" },
      button("Save corrections file", () => {
        if (!said.size && !carried.length) { told.textContent = "You have not said anything yet."; return; }
        again(`${saveFile()} went to your downloads.`);
        byId("save-file").focus();
      }, { class: "primary", id: "save-file" })),
    el("div", { class: "field wide" }, el("label", { for: "load-file" }, "Load an earlier corrections file"),
      el("input", { id: "load-file", type: "file", accept: ".json,application/json", onchange: (event) => {
        const [file] = event.target.files;
        if (!file) return;
        file.text().then(loadText).then(again, (error) => again(`${file.name}: not loaded: ${error.message}`));
      } })),
    told,
    said.size ? table(`${plural(said.size, "verdict")}, ${count(unsaved())} in no file yet`,
      ["Class", "Correct", "Wrong", "Other label", "Unsure"],
      byClass.map(([klass, all]) => [named(klass),
        ...Object.keys(VERDICTS).map((verdict) => all.filter((one) => one.verdict === verdict).length)])) : el("p", { class: "notice" }, "No verdict yet: choose a class under Listen."),
    said.size ? forget(again) : "");
}

// Two presses, so that none is by mistake.
function forget(again) {
  const one = button("Forget all verdicts here", () => {
    one.replaceWith(el("span", { class: "buttons" },
      button("Yes, forget them", () => { said.clear(); carried = []; keep(); again("Forgotten."); }, { class: "danger", id: "forget" }),
      button("Keep them", () => again("Kept."))));
    byId("forget").focus();
  }, { class: "quiet" });
  return el("p", null, one);
}
