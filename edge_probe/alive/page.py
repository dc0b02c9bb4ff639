"""A report as text: a page for people, and a line for a message over SMS or LoRa."""

import string
import unicodedata
from collections.abc import Mapping

from edge_probe.alive.duration import text_of
from edge_probe.alive.report import Report
from edge_probe.alive.status import Disk, LastDetection, as_fields

MAX_LINE = 160
"""Characters of one SMS."""

_NAME = 24
"""Of which a name may take so many."""

_ALARM = 30
_PLAIN = set(string.ascii_letters + string.digits + " .,:;!?'\"()+-*/%&#=<>@_")
"""Characters that cost one place each in an SMS and one byte anywhere else (3GPP TS 23.038)."""


def page(report: Report) -> str:
    """All of it, a fact a line, at most 80 columns for usual names."""
    lines = [("recorder", _verdict(report)), *_recorder(report), *_audio(report)]
    lines += _detections(report)
    lines += [("clock", report.clock_trust)] if report.clock_trust else []
    if status := report.fresh:
        lines += [("disk", _disk(status.disk))]
        lines += [("memory", f"{status.rss_mib:.1f} MiB")] if status.rss_mib is not None else []
        lines += [("alarm", alarm) for alarm in status.alarms]
    lines += [("note", note) for note in report.notes]
    return "".join(f"{name:<11}{text}\n" for name, text in lines)


def one_line(report: Report) -> str:
    """The most important first; what has no room left is left out, whole.

    Returns
    -------
    str
        At most `MAX_LINE` characters, each of which costs one in an SMS.
    """
    status, written = report.fresh, report.written
    name = (written and written.status.deployment_id) or "edge-probe"
    parts = [f"{_short(name, _NAME)} {'OK' if report.trouble is None else 'NOT RECORDING'}"]
    if report.trouble is not None:
        parts.append(_short(report.trouble, MAX_LINE - len(f"{parts[0]}; ; age 99999d")))
    parts.append("age ?" if report.age_s is None else f"age {text_of(report.age_s)}")
    if status:
        parts += [f"ALARM {_short(alarm, _ALARM)}" for alarm in status.alarms[:2]]
        parts.append(f"rec {text_of(status.recorded_s)}")
        parts.append(f"lost {_percent(status.gap_s, status.recorded_s)}")
        if status.disk.days_left is not None:
            parts.append(f"disk {text_of(status.disk.days_left * 86_400)}")
        if status.classifier:
            behind = text_of(status.classifier.behind_s)
            parts.append(f"class {_short(status.classifier.state, 12)} {behind} behind")
    elif report.facts:
        parts.append(f"rec {text_of(report.facts.recorded_s)} in all")
    if report.last_detection:
        parts.append(f"last {_short(_heard(report.last_detection), 2 * _NAME)}")
    if report.clock_trust:
        parts.append(f"clock {_short(report.clock_trust, 6)}")
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) <= MAX_LINE:
            line += f"; {part}"
    return line


def as_dict(report: Report) -> dict[str, object]:
    """The fields of ``status --json``, in order."""
    return {
        "recording": report.trouble is None and not report.is_resting,
        "trouble": report.trouble,
        "pid": report.pid,
        "age_s": None if report.age_s is None else round(report.age_s, 3),
        "status": as_fields(report.written.status) if report.written else None,
        "facts": as_fields(report.facts) if report.facts else None,
        "notes": list(report.notes),
    }


def _verdict(report: Report) -> str:
    if report.trouble is not None:
        return report.trouble
    return f"{'off hours' if report.is_resting else 'recording'}, process {report.pid}"


def _recorder(report: Report) -> list[tuple[str, str]]:
    if report.written is None:
        return [("status", "none: what follows is from the databases")]
    written = report.written
    age = "of an unknown age" if report.age_s is None else f"{text_of(report.age_s)} old"
    lines = [("status", age if report.fresh else f"{age}: what follows is from the databases")]
    if written.status.deployment_id:
        lines.append(("deployment", written.status.deployment_id))
    if status := report.fresh:
        lines.append(("version", f"{status.version}, running for {text_of(status.running_s)}"))
    return lines


def _audio(report: Report) -> list[tuple[str, str]]:
    lines = []
    if status := report.fresh:
        lines.append(("microphone", f"{status.device or 'none'} (stream {status.stream or '-'})"))
        lines.append(("recorded", f"{text_of(status.recorded_s)} since it runs"))
        lines.append(("missing", _gaps(status.gap_s, status.recorded_s)))
        if status.last_frame_age_s is not None:
            lines.append(("newest", f"sample {status.last_frame_age_s:.1f} s before the status"))
        lines.append(("waiting", f"{100 * status.ring_fill:.0f} % of the memory for audio is used"))
    if report.facts:
        found = report.facts
        boots = f"{found.n_boots} boot{'s' * (found.n_boots != 1)}"
        lines.append(("in all", f"{text_of(found.recorded_s)} recorded in {boots}"))
        lines.append(("", f"{_gaps(found.gap_s, found.recorded_s)} missing"))
    return lines


def _detections(report: Report) -> list[tuple[str, str]]:
    lines = []
    if report.fresh and (classifier := report.fresh.classifier):
        text = f"{classifier.state}, {text_of(classifier.behind_s)} behind"
        if classifier.n_restarts is not None:
            text += f", {classifier.n_restarts} restarts"
        lines.append(("classifier", text))
    if report.last_detection:
        lines.append(("last heard", _heard(report.last_detection)))
    return lines


def _heard(detection: LastDetection) -> str:
    return f"{detection.label} {detection.score:.2f} {detection.utc or 'at an unknown time'}"


def _disk(disk: Disk) -> str:
    quota = "" if disk.quota_bytes is None else f" of {disk.quota_bytes / 2**30:.1f} GiB"
    room = f"{disk.free_bytes / 2**30:.1f} GiB free, {disk.used_bytes / 2**30:.1f} GiB{quota} used"
    if disk.days_left is None:
        return room
    return f"{room}, full in {text_of(disk.days_left * 86_400)}"


def _gaps(gap_s: Mapping[str, float], recorded_s: float) -> str:
    causes = ", ".join(f"{cause} {text_of(length_s)}" for cause, length_s in gap_s.items())
    return f"{_percent(gap_s, recorded_s)}" + (f" ({causes})" if causes else "")


def _percent(gap_s: Mapping[str, float], recorded_s: float) -> str:
    """Share that is missing of what was due; rounded up, so that 0 means none."""
    lost_s = sum(length_s for cause, length_s in gap_s.items() if cause != "schedule")
    if lost_s <= 0:
        return "0%"
    return f"{-(-10_000 * lost_s // (lost_s + recorded_s)) / 100:.2f}%"


def _short(text: str, n_most: int) -> str:
    """Letters without marks, anything else that an SMS does not take as ``_``; cut to length."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = "".join(c if c in _PLAIN else "_" for c in " ".join(bare.split()))
    return text if len(text) <= n_most else text[: n_most - 2] + ".."
