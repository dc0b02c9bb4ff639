"""What the recorder says of itself: ``status.json``, and ``edge_probe.prom`` for Prometheus.

Both are replaced atomically, so a reader never sees half of one. They are not synced to the disk:
after a power cut they are worth nothing, and the ledger knows better.
"""

import json
import logging
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_probe.alive.prometheus import exposition
from edge_probe.clock import Clock
from edge_probe.errors import StateError

_log = logging.getLogger(__name__)

JSON_NAME, PROMETHEUS_NAME = "status.json", "edge_probe.prom"

EVERY_S = 30.0
"""Between two writes; each costs the card 24 KiB, most of it the journal's (ext4, measured)."""

NEWS_S = 2.0
"""Between two writes, if there is news."""

RESTING = "off hours"
"""The state of a recorder that has nothing to record now, by its schedule."""

STATES = (
    "starting", "recording", RESTING, "no microphone", "disk fails", "disk full", "stopped"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disk:
    """Room for audio."""

    free_bytes: int
    used_bytes: int
    """By closed segments."""
    quota_bytes: int | None
    """What the state folder may use; None: no limit but the floor."""
    days_left: float | None
    """Until the disk fills, or audio is deleted to make room; None: never."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """Process B."""

    state: str
    """As `edge_probe.analysis.supervise.ClassifierState` says."""
    behind_s: float
    """Audio recorded that it has neither classified nor skipped."""
    n_restarts: int | None
    """None: it is a service of its own, whose restarts systemd counts."""


@dataclass(frozen=True, slots=True)
class LastDetection:
    """The newest one."""

    label: str
    score: float
    utc: str | None
    """RFC 3339; None where the time is not known."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a recorder is doing; counts are of this process, since its start."""

    version: str
    """Of edge-probe."""
    deployment_id: str | None
    state: str
    """One of `STATES`."""
    boot: int
    stream: int | None
    """The microphone's that is open."""
    device: str | None
    running_s: float
    """Since the process began."""
    recorded_s: float
    gap_s: Mapping[str, float]
    """By cause."""
    last_frame_age_s: float | None
    """Since the newest sample came; None: none has."""
    ring_fill: float
    """Of the memory between microphone and disk: 0 to 1."""
    disk: Disk
    classifier: Classifier | None
    """None: only audio is recorded."""
    last_detection: LastDetection | None
    clock_trust: str
    alarms: tuple[str, ...]
    """A few words each."""
    rss_mib: float | None


@dataclass(frozen=True, slots=True)
class Written:
    """A status as it was found."""

    status: Status
    utc: datetime
    """By the recorder's clock, as far as that is to be trusted."""
    monotonic_ns: int
    kernel_id: str
    """Boot of the machine that wrote it."""

    def age_s(self, clock: Clock) -> float | None:
        """Seconds since it was written; None where no clock can tell.

        Within one boot by the monotonic clock; otherwise by the wall clocks, if that of the
        recorder was set and the result is not negative.
        """
        if self.kernel_id == clock.boot():
            return (clock.monotonic_ns() - self.monotonic_ns) * 1e-9
        age_s = clock.utc_ns() * 1e-9 - self.utc.timestamp()
        return age_s if self.status.clock_trust != "unset" and age_s >= 0 else None


class StatusFiles:
    """Keeps both files up to date; a disk that fails is reported once and never raises.

    Parameters
    ----------
    state : Path
        State folder.
    clock : Clock
    """

    def __init__(self, state: Path, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._told_ns: int | None = None
        self._news: Hashable = None
        self._fails = False

    def update(
        self, fill: Callable[[], Status], news: Hashable = None, *, at_once: bool = False
    ) -> None:
        """Write what ``fill`` tells, unless the last time is less than `EVERY_S` ago.

        Parameters
        ----------
        fill : callable
            Not called when nothing is due. It may look at the disk: an OSError is as one of the
            write.
        news : hashable, optional
            What nobody should wait for: when it is another than the last time, `NEWS_S` are enough.
        at_once : bool
            Due in any case: at the end.
        """
        now_ns = self._clock.monotonic_ns()
        wait_s = EVERY_S if news == self._news else NEWS_S
        if self._told_ns is not None and now_ns < self._told_ns + wait_s * 1e9 and not at_once:
            return
        self._told_ns, self._news = now_ns, news
        try:
            status = fill()
            written = Written(status, _utc(self._clock), now_ns, self._clock.boot())
            _replace(self._state / JSON_NAME, as_json(written))
            _replace(self._state / PROMETHEUS_NAME, exposition(status, written.utc))
        except OSError as error:
            if not self._fails:
                _log.error("the status cannot be written: %s", error)
            self._fails = True
        else:
            self._fails = False


def as_json(written: Written) -> str:
    """One JSON object; a number that is not finite becomes null."""
    stamp = {
        "written_utc": written.utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "written_monotonic_ns": written.monotonic_ns,
        "kernel_id": written.kernel_id,
    }
    content = {**stamp, **as_fields(written.status)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def read_status(state: Path) -> Written | None:
    """The status in a state folder; None if there is none.

    Raises
    ------
    StateError
        It cannot be understood.
    """
    path = state / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _not_ours(path, error) from error
    try:
        moment = datetime.fromisoformat(content.pop("written_utc"))
        stamp = moment, int(content.pop("written_monotonic_ns")), str(content.pop("kernel_id"))
        nested = {
            "disk": Disk(**content["disk"]),
            "classifier": content["classifier"] and Classifier(**content["classifier"]),
            "last_detection": content["last_detection"]
            and LastDetection(**content["last_detection"]),
            "alarms": tuple(content["alarms"]),
        }
        return Written(Status(**content | nested), *stamp)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _not_ours(path, error) from error


def _not_ours(path: Path, error: Exception) -> StateError:
    return StateError(
        f"{path}: expected the status of this version of edge-probe, found another: {error!r}",
        hint="it is written anew every 30 s by a recorder that runs",
    )


def as_fields(record: object) -> dict[str, object]:
    """A dataclass as JSON takes it.

    Floats are as long as they are worth; one that is not finite becomes None.
    """
    return {field.name: _plain(getattr(record, field.name)) for field in fields(record)}  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if is_dataclass(value):
        return as_fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value


def _utc(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.utc_ns() * 1e-9, UTC)


def _replace(path: Path, text: str) -> None:
    """Put a file in the place of another in one step, and no half of it behind."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
