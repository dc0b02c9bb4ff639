"""Whether the recorder lives, by what it says of itself.

The databases are not opened: SQLite makes files even to read what somebody else writes.
``edge-probe status`` does look there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_probe.alive.duration import text_of
from edge_probe.alive.report import SILENT_S, STALE_S
from edge_probe.alive.status import RESTING, Status, Written, read_status
from edge_probe.clock import SystemClock
from edge_probe.lock import CLASSIFIER_LOCK, holder
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host

MORE = "edge-probe status tells more"


@dataclass(frozen=True, slots=True)
class RecorderFacts:
    """Who holds the state folder, and the last word of it."""

    pid: int | None
    written: Written | None
    age_s: float | None
    """Of the last word."""
    classifier_pid: int | None
    """Of a classifier that lives now; the last word may be older than it."""

    @property
    def fresh(self) -> Status | None:
        """What the recorder says, if it lives and said so just now."""
        is_fresh = self.pid is not None and self.age_s is not None and self.age_s <= STALE_S
        return self.written.status if self.written and is_fresh else None


def look_recorder(host: Host) -> RecorderFacts:
    """Look at lock and status.

    Raises
    ------
    StateError
        The status cannot be understood.
    """
    written = read_status(host.state)
    age_s = written.age_s(SystemClock()) if written else None
    return RecorderFacts(
        holder(host.state), written, age_s, holder(host.state, CLASSIFIER_LOCK)
    )  # fmt: skip


def judge_recorder(facts: RecorderFacts) -> Finding:
    """Whether sound is being recorded now."""
    if facts.pid is None:
        last = "" if facts.age_s is None else f", last sign {text_of(facts.age_s)} ago"
        was_stopped = facts.written is None or facts.written.status.state == "stopped"
        return Finding("warn" if was_stopped else "fail", f"no recorder runs{last}",
                       "sudo systemctl start edge-probe-recorder")  # fmt: skip
    if (status := facts.fresh) is None:
        return Finding("warn", f"process {facts.pid} holds the folder and says nothing new", MORE)
    if status.state == RESTING:
        return Finding("ok", f"process {facts.pid} has off hours by its schedule")
    if status.state != "recording":
        return Finding("fail", f"process {facts.pid} does not record: {status.state}", MORE)
    age_s = status.last_frame_age_s
    if age_s is None or age_s > SILENT_S:
        return Finding("fail", f"process {facts.pid}: no sample came for"
                       f" {'ever' if age_s is None else text_of(age_s)}", MORE)  # fmt: skip
    what = f"process {facts.pid} records, {text_of(status.recorded_s)} so far"
    what += f", lost {_lost(status.gap_s)}"
    if status.alarms:
        return Finding("warn", f"{what}; alarms: {', '.join(status.alarms)}", MORE)
    return Finding("ok", what)


def _lost(gap_s: Mapping[str, float]) -> str:
    lost_s = sum(length_s for cause, length_s in gap_s.items() if cause != "schedule")
    return text_of(lost_s) if lost_s else "nothing"


def judge_classifier(facts: RecorderFacts) -> Finding:
    """What the recorder knows of it; of a service of its own, whether it lives."""
    if (status := facts.fresh) is None or (classifier := status.classifier) is None:
        return Finding("unknown", "no recorder that tells of a classifier", MORE)
    state = classifier.state
    if classifier.n_restarts is None:
        state = "not running" if facts.classifier_pid is None else "running"
    what = f"{state}, {text_of(classifier.behind_s)} behind"
    if classifier.n_restarts:
        what += f", started again {classifier.n_restarts} times"
    if state == "running" and not classifier.n_restarts:
        return Finding("ok", what)
    return Finding("warn", what, "journalctl -u edge-probe-classifier; edge-probe selftest BUNDLE")
