// Health of the microphones over time, and their alarms.

const MEANS = 3; // in a row of readings
const LARGEST = 4;

function showHealth(section) {
  const rows = data.microphone.readings.filter(([deployment]) => isShown(deployment));
  const alarms = data.microphone.alarms.filter(([deployment]) => isShown(deployment));
  const single = shown.deployment !== ALL ? shown.deployment : rows.length ? rows[0][0] : 0;
  const several = data.deployments.length > 1;
  fill(section,
    el("h2", null, "Health of the microphones"),
    alarmTable(alarms),
    several ? healthTable() : "",
    ...(rows.length ? [
      several ? el("h3", null, data.deployments[single].name) : "",
      ...channelFigures(single),
    ] : [el("p", { class: "notice" }, "The recorder kept no readings of the microphone.")]));
}

function alarmTable(alarms) {
  if (!alarms.length) return el("p", { class: "notice good" }, "No alarm.");
  return table("Alarms", ["Alarm", "Minutes", "First", "Last", "Deployment", "What it said"],
    [...alarms].sort((a, b) => b[2] - a[2]).map(([deployment, alarm, minutes, first, last, text]) =>
      [alarm.replaceAll("_", " "), minutes, timeText(first), timeText(last),
        data.deployments[deployment].name, text || "–"]));
}

// One row for each deployment and channel: how it was on the whole.
function healthTable() {
  const found = new Map();
  for (const [deployment, reading, , mean, largest] of data.microphone.readings) {
    if (!isShown(deployment)) continue;
    const dot = reading.lastIndexOf(".");
    const key = `${deployment}\n${reading.slice(dot + 1)}`;
    if (!found.has(key)) found.set(key, { floor: [], rms: [], clipped: 0, dc: 0 });
    const of = found.get(key);
    const kind = reading.slice(0, dot);
    if (kind.startsWith("floor_")) of.floor.push(mean);
    else if (kind === "rms") of.rms.push(mean);
    else if (kind === "clipped") of.clipped = Math.max(of.clipped, largest);
    else if (kind === "dc") of.dc = Math.max(of.dc, largest);
  }
  const mean = (values) => values.length ? (values.reduce((a, b) => a + b) / values.length).toFixed(1) : "–";
  return table("Each microphone as a whole",
    ["Deployment", "Channel", "Mean level, dBFS", "Mean noise floor, dBFS", "Most clipped", "Largest DC"],
    [...found].map(([key, of]) => {
      const [deployment, channel] = key.split("\n");
      return [button(data.deployments[deployment].name, () => choose("filter-deployment", deployment), { class: "link" }),
        channel, mean(of.rms), mean(of.floor), percent(of.clipped), percent(of.dc)];
    }));
}

function channelFigures(deployment) {
  const rows = data.microphone.readings.filter((row) => row[0] === deployment);
  const days = timeAxis(rows.map((row) => row[2]));
  if (!days.bins.length) return [el("p", { class: "notice" }, "The readings have no date.")];
  const channels = [...new Set(rows.map((row) => row[1].slice(row[1].lastIndexOf(".") + 1)))].sort();
  return channels.flatMap((channel) => {
    const of = (kind, column) => rows
      .filter((row) => row[1] === `${kind}.${channel}` && row[2] !== NO_TIME)
      .map((row) => [days.at.get(row[2]), row[column]]);
    const bands = [...new Set(rows.map((row) => row[1]))]
      .filter((reading) => reading.startsWith("floor_") && reading.endsWith(`.${channel}`))
      .map((reading) => Number(reading.split("_")[1])).sort((a, b) => a - b);
    const chart = (title, note, unit, zero, found) => {
      const some = found.filter((line) => line.points.length);
      return some.length ? [lines({ title, note, days, unit, zero, lines: some })] : [];
    };
    const suffix = channels.length > 1 ? `, channel ${channel}` : "";
    const share = (points) => points.map(([n, value]) => [n, +(100 * value).toFixed(4)]);
    return [
      ...chart(`Noise floor${suffix}`, "dBFS in octaves; a microphone that goes deaf falls", "dBFS", false,
        bands.map((hz) => ({ text: bandText(hz), points: of(`floor_${hz}_hz`, MEANS) }))),
      ...chart(`Level${suffix}`, "dBFS", "dBFS", false, [
        { text: "peak", points: of("peak", LARGEST) }, { text: "mean", points: of("rms", MEANS) }]),
      ...chart(`Clipped samples${suffix}`, "percent, worst minute", "%", true, [
        { text: "clipped", points: share(of("clipped", LARGEST)) }]),
      ...chart(`DC offset${suffix}`, "percent of full scale", "%", true, [
        { text: "mean", points: share(of("dc", MEANS)) }]),
    ];
  });
}

const bandText = (hz) => (hz >= 1000 ? `${+(hz / 1000).toFixed(1)} kHz` : `${hz} Hz`);
