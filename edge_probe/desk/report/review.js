// One sound after the other: is it in it?

const QUEUES = {
  all: "everything",
  detection: "detections",
  random: "random windows",
  stratified: "windows by score",
};

const queue = { class: null, kind: "all", list: [], at: 0, open: false };
const option = { auto: true, keys: true };

// Begin with what has no verdict yet, or with the item of that key.
function review(klass, kind, key) {
  queue.class = klass;
  queue.kind = kind;
  fillQueue(key);
  if (location.hash === "#review") showReview(byId("view-review"));
  else location.hash = "#review";
}

function fillQueue(key) {
  const wanted = asks(queue.class).filter((one) =>
    isShown(data.clips[one.clip].deployment) && (queue.kind === "all" || one.draw === queue.kind));
  const seen = new Set();
  queue.list = wanted.filter((one) => !seen.has(one.key) && seen.add(one.key));
  const at = queue.list.findIndex((one) => (key ? one.key === key : !verdictOf(one.key)));
  queue.at = Math.max(0, at);
}

function showReview(section) {
  if (queue.class === null) {
    fill(section, el("h2", null, "Review"), el("p", { class: "notice" }, "Choose a class under ",
      el("a", { href: "#listen" }, "Listen"), " first."));
    return;
  }
  fill(section,
    el("div", { class: "review-head" },
      el("a", { href: "#listen", class: "back" }, "← Back"),
      el("span", { id: "progress", class: "progress", role: "status" }),
      choiceOfQueue()),
    el("h2", { id: "question", tabindex: "-1" }),
    el("div", { id: "picture", class: "picture" }),
    el("p", { id: "item-facts", class: "facts" }),
    el("div", { class: "player" }, player, el("label", { class: "check" },
      el("input", { type: "checkbox", id: "auto-play", checked: option.auto,
        onchange: (event) => { option.auto = event.target.checked; } }), " play by itself")),
    el("div", { class: "verdicts", role: "group", "aria-labelledby": "question" },
      Object.entries(VERDICTS).map(([verdict, text], n) =>
        el("button", { type: "button", class: `verdict ${verdict}`, "data-verdict": verdict, "aria-pressed": "false",
          onclick: () => answer(verdict) }, el("kbd", { "aria-hidden": "true" }, String(n + 1)), el("span", null, text)))),
    otherForm(),
    el("div", { class: "buttons steps" },
      button("← Before", () => step(-1), { id: "before" }),
      button("Take back", takeBack, { id: "take-back" }),
      button("Boxes", () => { queue.open = !queue.open; showItem(false); }, { id: "show-boxes" }),
      button("Next →", () => step(1), { id: "next" })),
    folded("Keys", () => el("div", null,
      table("Keys", ["Key", "What it does"], KEYS.map(([key, , text]) => [el("kbd", null, key), text])),
      el("label", { class: "check" }, el("input", { type: "checkbox", checked: option.keys,
        onchange: (event) => { option.keys = event.target.checked; } }), " keys are listened to"))));
  showItem(true);
  byId("question").focus({ preventScroll: true });
}

function choiceOfQueue() {
  const kinds = Object.keys(QUEUES);
  const all = asks(queue.class);
  const some = kinds.filter((kind) => kind === "all" || all.some((one) => one.draw === kind));
  return choice("queue", "Show", some.map((kind) => [kinds.indexOf(kind), QUEUES[kind]]),
    kinds.indexOf(queue.kind), (value) => { queue.kind = kinds[value]; fillQueue(); showItem(true); });
}

function otherForm() {
  const input = el("input", { id: "other-label", list: "labels", maxlength: "200", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); closeOther(); } } });
  const { bundle } = data.classes[queue.class];
  return el("form", { id: "other", class: "other-form", hidden: true, onsubmit: (event) => {
    event.preventDefault();
    const label = cleanLabel(input.value);
    if (label === null || label === data.classes[queue.class].label) {
      byId("other-error").textContent = label === null
        ? "A label is one line of up to 200 characters, with nothing empty before or behind its first _."
        : "That is the class in question.";
      input.focus();
      return;
    }
    closeOther();
    put("other", label);
  } },
  el("label", { for: "other-label" }, "What is it instead?"),
  el("div", { class: "row" }, input, el("button", { type: "submit", class: "primary" }, "That it is"),
    button("Cancel", closeOther)),
  el("p", { id: "other-error", role: "alert" }),
  el("datalist", { id: "labels" }, data.classes.filter((one, n) => one.bundle === bundle && n !== queue.class && !one.private)
    .map((one) => el("option", { value: one.label }))));
}

function closeOther() {
  byId("other").hidden = true;
  byId("question").focus({ preventScroll: true });
}

const current = () => queue.list[queue.at];

// Windows are asked about without a hint: boxes come with the answer.
function showItem(isNew) {
  const ask = current();
  const drawn = ask.draw !== "detection";
  const one = verdictOf(ask.key);
  if (isNew) {
    queue.open = !drawn || Boolean(one);
    byId("other").hidden = true;
  }
  const clip = data.clips[ask.clip];
  const done = queue.list.filter((item) => verdictOf(item.key)).length;
  byId("progress").textContent = `${count(queue.at + 1)} of ${count(queue.list.length)} · ${count(done)} reviewed`;
  byId("question").replaceChildren("Is ", named(queue.class), " in it?");
  const picture = spectrogram(ask, { boxes: queue.open });
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    load(ask.clip);
    const seek = () => { player.currentTime = ((event.clientX - box.left) / box.width) * player.duration; };
    if (player.readyState > 0) seek();
    else player.addEventListener("loadedmetadata", seek, { once: true });
    player.play().catch(() => say("This sound cannot be played."));
  });
  byId("picture").replaceChildren(frequencyMarks(clip), picture, timeMarks(clip));
  const facts = [
    DRAWS[ask.draw] + (ask.whys.length ? ` (${ask.whys.map((why) => WHYS[why]).join(", ")})` : ""),
    queue.open && ask.score !== undefined ? `${scoreWord(ask.class)} ${scoreText(ask.score)}` : "",
    `${timeText(clip.time)} ${offsetText(clip.deployment)}`,
    data.deployments[clip.deployment].name,
    queue.open && drawn ? (ask.boxes.length ? plural(ask.boxes.length, "detection") : "nothing detected") : "",
    missingText(clip),
  ];
  byId("item-facts").textContent = facts.filter(Boolean).join(" · ");
  for (const node of document.querySelectorAll(".verdict")) {
    node.setAttribute("aria-pressed", String(Boolean(one) && node.dataset.verdict === one.verdict));
  }
  byId("before").disabled = queue.at === 0;
  byId("next").disabled = queue.at === queue.list.length - 1;
  byId("take-back").disabled = !one;
  byId("show-boxes").disabled = drawn && !one;
  byId("show-boxes").setAttribute("aria-pressed", String(queue.open));
  if (one && one.verdict === "other") byId("item-facts").append(` · you said: ${one.other}`);
  if (isNew) {
    player.pause();
    load(ask.clip);
    if (option.auto) play(ask.clip);
    say("");
    preload(queue.list[queue.at + 1]);
  }
}

function preload(ask) {
  if (ask) new Image().src = data.clips[ask.clip].picture;
}

function frequencyMarks(clip) {
  const top = clip.rate / 2000;
  return el("div", { class: "khz", "aria-hidden": "true" },
    [top, top / 2, 0].map((khz, n) => el("span", null, n === 0 ? `${+khz.toFixed(1)} kHz` : String(+khz.toFixed(1)))));
}

function timeMarks(clip) {
  const seconds = clip.n / clip.rate;
  return el("div", { class: "seconds", "aria-hidden": "true" },
    [0, 0.25, 0.5, 0.75, 1].map((part) => el("span", null, `${+(part * seconds).toFixed(1)}${part === 1 ? " s" : ""}`)));
}

function answer(verdict) {
  if (verdict === "other") {
    byId("other").hidden = false;
    byId("other-error").textContent = "";
    byId("other-label").value = verdictOf(current().key)?.other || "";
    byId("other-label").focus();
    return;
  }
  put(verdict, null);
}

function put(verdict, other) {
  setVerdict(current().key, verdict, other);
  if (queue.at < queue.list.length - 1) {
    step(1);
  } else {
    showItem(false);
    player.pause();
    const left = queue.list.filter((one) => !verdictOf(one.key)).length;
    say(left ? `That was the last one; ${left} before it are open.` : "That was the last one. Save what you said.");
  }
}

function step(by) {
  const at = queue.at + by;
  if (at < 0 || at >= queue.list.length) return;
  queue.at = at;
  showItem(true);
}

function takeBack() {
  clearVerdict(current().key);
  showItem(false);
}

const KEYS = [
  ["1", ["1"], "yes, correct", () => answer("correct")],
  ["2", ["2"], "no, wrong", () => answer("wrong")],
  ["3", ["3"], "no, it is something else", () => answer("other")],
  ["4", ["4"], "unsure", () => answer("unsure")],
  ["0", ["0"], "take the verdict back", () => { if (verdictOf(current().key)) takeBack(); }],
  ["Space", [" "], "play, stop", () => toggle(current().clip)],
  ["→ or J", ["ArrowRight", "j"], "next", () => step(1)],
  ["← or K", ["ArrowLeft", "k"], "before", () => step(-1)],
  ["B", ["b"], "boxes on, off", () => byId("show-boxes").click()],
  ["Esc", ["Escape"], "back to the class", () => { location.hash = "#listen"; }],
];

document.addEventListener("keydown", (event) => {
  if (byId("view-review").hidden || !option.keys || !queue.list.length) return;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const on = event.target.closest("input, select, textarea, audio");
  if (on && on.type !== "checkbox") return;
  if (event.key === " " && event.target.closest("button, a, summary, input")) return;
  const found = KEYS.find(([, keys]) => keys.includes(event.key) || keys.includes(event.key.toLowerCase()));
  if (!found) return;
  event.preventDefault();
  found[3]();
});
