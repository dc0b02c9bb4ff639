"""What to look at before one leaves a site: points that are well, and points that are not."""

import sqlite3
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_probe.alive.duration import text_of
from edge_probe.alive.report import Report
from edge_probe.alive.status import Disk
from edge_probe.capture.segment import Format
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.database import read
from edge_probe.disk.reserve import free_bytes, nearest
from edge_probe.health.row import Alarm, Row

WIDTH = 60
"""Columns: a phone held upright."""

QUIET_DBFS = -60.0
"""A peak below it in half a minute with a person near by: hardly a microphone that works."""

_MIN_DAYS = 1.0
"""A disk that fills sooner fills before anybody is home."""

_RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that was looked at."""

    name: str
    text: str
    hint: str | None = None
    """What to do about it; None: it is well."""

    def __str__(self) -> str:
        mark = "ok" if self.hint is None else "LOOK"
        lines = textwrap.wrap(self.text, WIDTH - 17) or [""]
        first, *rest = lines + [f"> {line}" for line in textwrap.wrap(self.hint or "", WIDTH - 19)]
        head = f"{mark:<5} {self.name:<10} {first}"
        return "\n".join([head, *(f"{'':17}{line}" for line in rest)])


def sound_points(
    rows: Sequence[Row], alarms: Sequence[Alarm], peak_dbfs: float | None
) -> Sequence[Point]:
    """Of what the microphone gave.

    Parameters
    ----------
    rows, alarms : sequences
        As `Signal.minute` gives them.
    peak_dbfs : float or None
        Of all channels; None: less than a second came.
    """
    if peak_dbfs is None:
        return [Point("sound", "less than a second came", "is the microphone plugged in?")]
    points = [Point(_of(alarm.name), alarm.text, alarm.hint) for alarm in alarms]
    if not points and peak_dbfs < QUIET_DBFS:
        hint = "clap your hands near it; if the bar does not move, look at gain and cable"
        points = [Point("level", f"very quiet: peak {peak_dbfs:.1f} dBFS", hint)]
    clipped = max((row.value for row in rows if row.name.startswith("clipped.")), default=0.0)
    text = f"peak {peak_dbfs:.1f} dBFS, {clipped:.2%} clipped"
    return points or [Point("level", text)]


def gain_points(rows: Sequence[Row], alarms: Sequence[Alarm]) -> Sequence[Point]:
    """Of the sound card's mixer."""
    points = [Point("gain", alarm.text, alarm.hint) for alarm in alarms]
    told = [f"{row.name.split('.', 1)[1]} {row.text}" for row in rows if row.name[:5] == "gain."]
    return [*points, *(Point("gain", text) for text in told or ["the card does not tell it"])]


def gain_rows(state: Path) -> Sequence[Row]:
    """The gain that was read when the microphone was opened."""

    def look(capture: sqlite3.Connection) -> Sequence[Row]:
        found = capture.execute(
            "SELECT monotonic_ns, name, value, unit, text FROM health WHERE name GLOB 'gain.*'"
            " AND (boot, monotonic_ns) >= (SELECT boot, opened_ns - :around FROM stream"
            " ORDER BY stream DESC LIMIT 1) AND (boot, monotonic_ns) <="
            " (SELECT boot, opened_ns + :around FROM stream ORDER BY stream DESC LIMIT 1)"
            " ORDER BY monotonic_ns",
            {"around": _AROUND_NS},
        )
        newest = {row[1]: Row(*row) for row in found}
        return list(newest.values())

    return read(state / "capture.sqlite", look, CAPTURE_VERSION)


_AROUND_NS = 30 * 10**9
"""Between reading the mixer and the first frame."""


def report_points(report: Report) -> Sequence[Point]:
    """Of the recorder that runs."""
    if report.trouble is not None:
        return [Point("recorder", report.trouble, "edge-probe status tells more")]
    does = "has off hours by its schedule" if report.is_resting else "records"
    points = [Point("recorder", f"{does}, process {report.pid}")]
    if (status := report.fresh) is None:
        return points
    points += [Point("alarm", alarm, "see it mended before you leave") for alarm in status.alarms]
    if classifier := status.classifier:
        text = f"{classifier.state}, {text_of(classifier.behind_s)} behind"
        if classifier.n_restarts:
            text += f", started again {classifier.n_restarts} times"
        unit = "edge-probe-classifier" if classifier.n_restarts is None else "the recorder"
        well = classifier.state == _RUNNING
        points.append(Point("classifier", text, None if well else f"see the log of {unit}"))
    return points


def clock_point(trust: str) -> Point:
    """Of the time."""
    if trust == "unset":
        return Point("clock", "not set: the time means nothing",
                     "wait for network time, set a clock chip, or note the time of a clap for"
                     " edge-probe retime")  # fmt: skip
    return Point("clock", trust)


def disk_point(report: Report | None, state: Path, format_: Format | None) -> Point:
    """Of room for audio: by the recorder's plan, or else as if all audio were kept.

    Parameters
    ----------
    report : Report or None
    state : Path
        It need not exist yet.
    format_ : Format or None
        Of the audio; None: not known.
    """
    if report and report.fresh:
        return _disk_point(report.fresh.disk, "by its plan")
    n_bytes = free_bytes(nearest(state))
    a_day = format_.rate_hz * format_.frame_bytes * 86_400 if format_ else None
    days = n_bytes / a_day if a_day else None
    return _disk_point(Disk(n_bytes, 0, None, days), "if all is kept")


def _disk_point(disk: Disk, condition: str) -> Point:
    text = f"{disk.free_bytes / 2**30:.1f} GiB free"
    if disk.days_left is None:
        return Point("disk", text)
    text += f", full in {text_of(disk.days_left * 86_400)} {condition}"
    hint = "a larger card, a lower rate, or keep less" if disk.days_left < _MIN_DAYS else None
    return Point("disk", text, hint)


def detection_point(report: Report) -> Point:
    """Of what was heard last; hearing nothing is no fault."""
    if (last := report.last_detection) is None:
        return Point("heard", "nothing so far")
    return Point("heard", f"{last.label} {last.score:.2f}, {last.utc or 'time unknown'}")


def _of(alarm: str) -> str:
    """``flat_line.0`` as a short name."""
    return alarm.split(".", 1)[0].replace("_", " ")
