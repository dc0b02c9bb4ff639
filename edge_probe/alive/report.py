"""What one finds who looks at a state folder from outside: whether it lives, and records."""

from dataclasses import dataclass
from pathlib import Path

from edge_probe.alive.duration import text_of
from edge_probe.alive.facts import Facts, facts
from edge_probe.alive.status import EVERY_S, RESTING, LastDetection, Status, Written, read_status
from edge_probe.clock import Clock
from edge_probe.errors import StateError
from edge_probe.lock import holder

STALE_S = 2 * EVERY_S
"""A status that is older says nothing of now."""

SILENT_S = 10.0
"""Without a sample for so long a recorder does not record, whatever it says."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known about a recorder."""

    state: Path
    pid: int | None
    """Of the recorder that lives there; None: none does."""
    trouble: str | None
    """Why it is not recording, in one line; None: it is, or has nothing to record now."""
    written: Written | None
    """What it last said of itself."""
    age_s: float | None
    """Since it said so; None: not known."""
    facts: Facts | None
    """From the databases."""
    notes: tuple[str, ...]
    """What could not be read, and why."""

    @property
    def fresh(self) -> Status | None:
        """What the recorder says, if it lives and said so just now."""
        is_fresh = self.pid is not None and self.age_s is not None and self.age_s <= STALE_S
        return self.written.status if self.written and is_fresh else None

    @property
    def is_resting(self) -> bool:
        """Whether there is nothing to record now, by its schedule."""
        return self.fresh is not None and self.fresh.state == RESTING

    @property
    def last_detection(self) -> LastDetection | None:
        """The newest one, from the database where there is one."""
        if self.facts and self.facts.last_detection:
            return self.facts.last_detection
        return self.written.status.last_detection if self.written else None

    @property
    def clock_trust(self) -> str | None:
        """How far the recorder's time may be trusted."""
        if status := self.fresh:
            return status.clock_trust
        return self.facts.clock_trust if self.facts else None


def look(state: Path, clock: Clock) -> Report:
    """Look at a state folder; nothing is written and nobody is disturbed.

    What cannot be read is a note, not an error: the rest may still tell.

    Parameters
    ----------
    state : Path
    clock : Clock

    Raises
    ------
    StateError
        There is no such folder.
    """
    if not state.is_dir():
        raise StateError(f"{state}: no such folder", hint="edge-probe status STATE says which")
    notes = []
    written = found = None
    try:
        written = read_status(state)
    except StateError as error:
        notes.append(error.message)
    try:
        found = facts(state)
    except StateError as error:
        notes.append(error.message)
    pid = holder(state)
    age_s = written.age_s(clock) if written else None
    if pid is None:
        trouble: str | None = _gone(written, age_s, found)
    elif written and age_s is not None and age_s <= STALE_S:
        trouble = _says(written.status, age_s)
    else:
        trouble = _mute(state, pid, found, age_s, clock)
    return Report(state, pid, trouble, written, age_s, found, tuple(notes))


def _gone(written: Written | None, age_s: float | None, found: Facts | None) -> str:
    """There is no process; say what became of it."""
    ago = "" if age_s is None else f", {text_of(age_s)} ago"
    if written and written.status.state == "stopped":
        return f"no recorder runs: it was stopped{ago}"
    if written or (found and found.stream is not None and found.ended != "schedule"):
        return f"no recorder runs: it went down without a word{ago and f', last sign{ago[1:]}'}"
    if found and found.stream is not None:
        return "no recorder runs: it was stopped"
    return "no recorder runs, and none has recorded here"


def _says(status: Status, age_s: float) -> str | None:
    """It lives and tells how it is."""
    if status.state == RESTING:
        return None
    if status.state != "recording":
        return f"the recorder runs but does not record: {status.state}"
    if status.last_frame_age_s is None:
        return "the recorder runs, but no sample has come"
    if status.last_frame_age_s > SILENT_S:
        silent = text_of(status.last_frame_age_s + age_s)
        return f"the recorder runs, but no sample has come for {silent}"
    return None


def _mute(
    state: Path, pid: int, found: Facts | None, age_s: float | None, clock: Clock
) -> str | None:
    """It lives and says nothing: then the file that grows tells."""
    since = "" if age_s is None else f" for {text_of(age_s)}"
    if found is None or found.growing is None:
        ended = f": {found.ended}" if found and found.ended else ""
        return f"process {pid} runs, says nothing{since} and records nothing{ended}"
    try:
        changed_s = (state / "audio" / f"{found.growing}.part").stat().st_mtime
    except FileNotFoundError:
        return f"process {pid} runs, says nothing{since}, and {found.growing} is gone"
    still_s = clock.utc_ns() * 1e-9 - changed_s
    if still_s > SILENT_S:
        return f"process {pid} runs, says nothing{since}; no audio for {text_of(still_s)}"
    return None
