// What is asked about, and how it looks and sounds.

const itemsOf = data.classes.map(() => []);
for (const one of data.items) itemsOf[one.class].push(one);
for (const items of itemsOf) items.sort((a, b) => b.logit - a.logit); // who begins hears it well

const windowsOf = data.bundles.map(() => []);
for (const one of data.windows) windowsOf[one.bundle].push({ ...one, logits: new Map(one.logits) });

// Everything that is asked about a class: detections first, then drawn windows in random order.
function asks(klass) {
  const { bundle, label, private: isPrivate } = data.classes[klass];
  if (isPrivate) return [];
  const sha256 = data.bundles[bundle].sha256;
  const ask = (clip, one, rest) => ({
    key: keyOf(data.clips[clip], sha256, label, one.start, one.end),
    class: klass, clip, start: one.start, end: one.end, ...rest,
  });
  const items = itemsOf[klass].map((one) => ask(one.clip, one, {
    draw: "detection", probability: null, logit: one.logit, score: one.score, whys: one.whys,
    boxes: [one.box],
  }));
  const windows = windowsOf[bundle].map((one) => ask(one.clip, one, {
    draw: one.kind, probability: one.probability, logit: one.logits.get(klass) ?? null, whys: [],
    boxes: one.boxes.filter(([of]) => of === klass).map(([, ...box]) => box),
  }));
  return [...items, ...windows];
}

function keyOf(clip, sha256, label, start, end) {
  const id = data.deployments[clip.deployment].id;
  return JSON.stringify([id, sha256, clip.boot, clip.stream, clip.channel, start, end, label]);
}

const DRAWS = {
  detection: "detection",
  random: "window of the random sample",
  stratified: "window of the stratified sample",
};
const WHYS = { best: "best", rare: "rarest", random: "random" };

// The picture of a clip; what is asked about is bright, boxes are drawn over it.
function spectrogram(ask, { boxes, lazy }) {
  const clip = data.clips[ask.clip];
  const x = (sample) => (1000 * (sample - clip.start)) / clip.n;
  const y = (hz) => 256 * (1 - hz / (clip.rate / 2));
  const [from, to] = [Math.max(0, x(ask.start)), Math.min(1000, x(ask.end))];
  const box = ([start, end, low, high]) => {
    const place = {
      x: x(start), width: Math.max(2, x(end) - x(start)),
      y: high === null ? 1 : y(high), height: high === null ? 254 : Math.max(2, y(low) - y(high)),
    };
    return [svg("rect", { class: "box under", ...place }), svg("rect", { class: "box", ...place })];
  };
  return el("div", { class: "spec", "data-clip": String(ask.clip) },
    el("img", { src: clip.picture, alt: describe(ask, boxes), loading: lazy ? "lazy" : "eager", decoding: "async", draggable: "false" }),
    svg("svg", { viewBox: "0 0 1000 256", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { class: "dim", x: 0, y: 0, width: from, height: 256 }),
      svg("rect", { class: "dim", x: to, y: 0, width: 1000 - to, height: 256 }),
      [from, to].filter((at) => at > 1 && at < 999).map((at) =>
        svg("line", { class: "edge", x1: at, x2: at, y1: 0, y2: 256 })),
      boxes ? ask.boxes.map(box) : [],
      svg("line", { class: "head", x1: -9, x2: -9, y1: 0, y2: 256 })));
}

function describe(ask, boxes) {
  const clip = data.clips[ask.clip];
  const told = boxes ? ask.boxes.map((box) => `box from ${((box[0] - clip.start) / clip.rate).toFixed(1)} to ${((box[1] - clip.start) / clip.rate).toFixed(1)} s, ${bandOf(box)}`) : [];
  return `Spectrogram of ${(clip.n / clip.rate).toFixed(1)} s${told.length ? `; ${told.join("; ")}` : ""}`;
}

const bandOf = ([, , low, high]) =>
  low === null || high === null ? "band not known" : `${(low / 1000).toFixed(1)}–${(high / 1000).toFixed(1)} kHz`;

function missingText(clip) {
  const parts = clip.missing.map(([start, seconds, cause]) => {
    const where = start < 0 ? "before it" : start >= clip.n / clip.rate ? "behind it" : "in it";
    return `${durationText(seconds)} ${where}: ${causeText(cause)}`;
  });
  if (clip.slowed > 1) parts.push(`played ${clip.slowed} times slower: it reaches ultrasound`);
  return parts.join(" · ");
}

// One sound at a time; a line goes over each picture of it.
const player = el("audio", { controls: true, preload: "none" });
let playing = -1;

function load(clip) {
  if (playing === clip) return;
  playing = clip;
  player.src = data.clips[clip].sound;
}

function play(clip) {
  load(clip);
  player.currentTime = 0;
  // a browser may want a click first: the controls are there
  player.play().catch((error) => {
    if (error.name === "NotSupportedError") say("This sound cannot be played: is its file still beside the page?");
  });
}

function toggle(clip) {
  if (playing === clip && !player.paused) player.pause();
  else play(clip);
}

function follow() {
  const at = player.duration > 0 ? (1000 * player.currentTime) / player.duration : -9;
  for (const head of document.querySelectorAll(`.spec[data-clip="${playing}"] .head`)) {
    head.setAttribute("x1", at);
    head.setAttribute("x2", at);
  }
  if (!player.paused) requestAnimationFrame(follow);
}

function showPlaying() {
  for (const one of document.querySelectorAll("[data-plays]")) {
    const is = Number(one.dataset.plays) === playing && !player.paused;
    one.textContent = is ? "Stop" : "Play";
    one.setAttribute("aria-pressed", String(is));
  }
}

player.addEventListener("play", () => { follow(); showPlaying(); });
player.addEventListener("pause", showPlaying);
player.addEventListener("seeked", follow);
player.addEventListener("error", () => {
  if (player.getAttribute("src")) say("This sound cannot be played: is its file still beside the page?");
});

// The page of one class: the best, the rarest, some at random, and windows to be asked about.
function showListen(section) {
  if (shown.class === ALL) {
    fill(section, el("h2", null, "Listen"), classChoice());
    return;
  }
  const klass = shown.class;
  const all = asks(klass).filter((one) => isShown(data.clips[one.clip].deployment));
  const group = (why, title, note) => {
    const some = all.filter((one) => one.whys.includes(why));
    return some.length ? [el("h3", null, title), el("p", { class: "facts" }, note),
      el("div", { class: "cards" }, some.map((one) => card(one)))] : null;
  };
  const few = all.filter((one) => one.draw === "detection").every((one) => one.whys.length === 3);
  const windows = ["random", "stratified"].map((kind) => [kind, all.filter((one) => one.draw === kind)]);
  fill(section,
    el("h2", null, "Listen to ", named(klass)),
    el("p", { class: "buttons" },
      all.length ? button(`Review ${plural(all.length, "sound")}`, () => review(klass, "all"), { class: "primary", id: "start-review" }) : null,
      button("All classes", () => choose("filter-class", ALL))),
    [
      all.some((one) => one.draw === "detection") ? null : noSound(klass),
      few ? group("best", "All of them", "So few that there is nothing to choose.") : null,
      few ? null : group("best", "The best", "Highest logits."),
      few ? null : group("rare", "The rarest", "Of deployments and hours of the day in which it is hardly heard."),
      few ? null : group("random", "At random", "Of all its detections that have sound."),
      el("h3", null, "Is it in these?"),
      windows.every(([, some]) => !some.length)
        ? el("p", { class: "notice" }, "No window of the recorder's samples can be listened to.")
        : [el("p", { class: "facts" }, "Windows that the recorder drew whatever was heard in them. What you say of them tells how much is missed, and how often it is wrong: edge-probe validate."),
          el("p", { class: "buttons" }, windows.filter(([, some]) => some.length).map(([kind, some]) =>
            button(`${plural(some.length, DRAWS[kind], DRAWS[kind].replace("window", "windows"))}`, () => review(klass, kind))))],
    ]);
  showPlaying();
}

function noSound(klass) {
  const n = counts()[klass];
  return el("p", { class: "notice" }, n === 0
    ? `No detection of ${name(klass)} is shown.`
    : `${plural(n, "detection")} of ${name(klass)}, and sound of none: it was deleted, lies elsewhere, or had no room in this report.`);
}

function card(ask) {
  const clip = data.clips[ask.clip];
  const said = verdictOf(ask.key);
  const missing = missingText(clip);
  return el("figure", { class: "card" },
    el("a", { href: "#review", class: "open", "aria-label": `Review ${name(ask.class)} of ${timeText(clip.time)}`,
      onclick: (event) => { event.preventDefault(); review(ask.class, "detection", ask.key); } },
      spectrogram(ask, { boxes: true, lazy: true })),
    el("figcaption", null,
      el("span", null, el("strong", null, scoreText(ask.score)), ` ${scoreWord(ask.class)}`),
      el("span", null, timeText(clip.time)),
      el("span", null, [...(data.deployments.length > 1 ? [data.deployments[clip.deployment].name] : []), bandOf(ask.boxes[0])].join(" · ")),
      missing ? el("small", null, missing) : null,
      el("span", { class: "row" },
        button("Play", () => toggle(ask.clip), { "data-plays": String(ask.clip), "aria-pressed": "false" }),
        el("span", { class: "said" }, said ? saidText(said) : "not reviewed"))));
}

// Which class to listen to, and how far it has come.
function classChoice() {
  const at = (one) => isShown(data.clips[one.clip].deployment);
  const nWindows = (windowsOf[shown.bundle] || []).filter(at).length;
  const nItems = (klass) => itemsOf[klass].filter(at).length;
  const sounds = classesShown().filter((klass) => nItems(klass));
  const others = nWindows ? classesShown().filter((klass) => !nItems(klass)) : [];
  const reviewed = saidOf();
  const row = (klass) => [
    classLink(klass),
    counts()[klass], nItems(klass), nWindows, (reviewed.get(klass) || []).length,
  ];
  const heads = ["Class", "Detections", "To listen to", "Windows", "Reviewed"];
  if (!sounds.length && !others.length) return el("p", { class: "notice" }, "There is nothing to listen to: no sound was kept, or nothing was heard.");
  return el("div", null, sounds.length ? table("Choose a class", heads, sounds.map(row)) : "",
    others.length ? folded(`${plural(others.length, "class", "classes")} without a detection to listen to, but with windows`, () =>
      table("Classes with windows only", heads, others.map(row))) : "");
}
