// What the report holds: `about` and `data` of the page, unpacked.

const about = JSON.parse(byId("about").textContent);
const data = JSON.parse(byId("data").textContent);

const NO_TIME = 2 ** 32 - 1;
const SCORES = 2 ** 16 - 1;
const HOUR = 3600;

const heard = {
  n: data.detections.n,
  deployment: unpacked(data.detections.deployment, 2),
  class: unpacked(data.detections.class, 2),
  time: unpacked(data.detections.time, 4),
  score: unpacked(data.detections.score, 2),
  audible: unpacked(data.detections.audible, 1),
};

const classOf = new Map(
  data.classes.map((one, n) => [`${data.bundles[one.bundle].sha256}\n${one.label}`, n]),
);

// Little-endian whole numbers of that many bytes, on any machine.
function unpacked(text, bytes) {
  const view = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const [kind, get] = {
    1: [Uint8Array, (at) => view.getUint8(at)],
    2: [Uint16Array, (at) => view.getUint16(at, true)],
    4: [Uint32Array, (at) => view.getUint32(at, true)],
  }[bytes];
  const found = new kind(view.byteLength / bytes);
  for (let n = 0; n < found.length; n++) found[n] = get(n * bytes);
  return found;
}

const name = (klass) => data.classes[klass].common;

// Common name, and the scientific one where there is another.
function named(klass) {
  const one = data.classes[klass];
  return el(
    "span",
    { class: "species" },
    el("span", { class: "common" }, one.common),
    one.scientific === one.common ? null : [" ", el("i", null, one.scientific)],
  );
}

const classLink = (klass) =>
  button(named(klass), () => choose("filter-class", klass), { class: "link" });

const two = (n) => String(n).padStart(2, "0");

function dayText(seconds) {
  if (seconds === NO_TIME) return "no date";
  const day = new Date(seconds * 1000);
  return `${day.getUTCFullYear()}-${two(day.getUTCMonth() + 1)}-${two(day.getUTCDate())}`;
}

function clockText(seconds) {
  const day = new Date(seconds * 1000);
  return `${two(day.getUTCHours())}:${two(day.getUTCMinutes())}:${two(day.getUTCSeconds())}`;
}

const timeText = (seconds) =>
  seconds === NO_TIME ? "no date" : `${dayText(seconds)} ${clockText(seconds)}`;

// A bin of the page as text; a bin is a day, or an hour of what lasted few days.
function binText(bin) {
  if (bin === NO_TIME) return "no date";
  const start = bin * data.bin_s;
  return data.bin_s < 24 * HOUR ? `${dayText(start)} ${clockText(start).slice(0, 5)}` : dayText(start);
}

const binOf = (seconds) => (seconds === NO_TIME ? NO_TIME : Math.floor(seconds / data.bin_s));

function offsetText(deployment) {
  const offset = data.deployments[deployment].utc_offset_s;
  if (offset === null || offset === 0) return "UTC";
  const minutes = Math.abs(offset) / 60;
  return `UTC${offset < 0 ? "−" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

const CAUSES = {
  overflow: "sound card lost samples",
  stall: "sound card stalled",
  device: "microphone lost",
  disk: "disk failed or full",
  power: "no power, or down",
  schedule: "off by schedule",
  deleted: "deleted on the recorder",
  edge: "nothing was recorded",
  private: "private, silenced",
};
const causeText = (cause) => (Object.hasOwn(CAUSES, cause) ? CAUSES[cause] : cause);

function durationText(seconds) {
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 2 * HOUR) return `${(seconds / 60).toFixed(0)} min`;
  if (seconds < 48 * HOUR) return `${(seconds / HOUR).toFixed(1)} h`;
  return `${(seconds / HOUR / 24).toFixed(1)} days`;
}

const hoursText = (seconds) =>
  seconds > 0 && seconds < HOUR
    ? durationText(seconds)
    : `${(seconds / HOUR).toLocaleString("en", { maximumFractionDigits: seconds < 100 * HOUR ? 1 : 0 })} h`;

const scoreText = (score) => (score > 0.9995 ? "> 0.999" : score.toFixed(3));

const scoreWord = (klass) => (data.classes[klass].calibrated ? "probability" : "score");
