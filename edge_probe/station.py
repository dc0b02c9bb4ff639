"""Process A of the recorder as a whole: capture first, everything else when there is time.

```
 Recorder    microphone ─► ring ─► segments, ledger          capture/
 Monitor     is the sound sound, is the card obedient        health/
 Room        before each segment: quota and floor            disk/
 Chores      private audio to zeros, closed segments to FLAC disk/
 Supervisor  the classifier, a process of its own            analysis/
  or Neighbour               a service of its own
 Notifier, StatusFiles     is it alive                       alive/
```

Nothing here may make the recorder wait: what is slow is a thread or a process of its own.
"""

import logging
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shutil import disk_usage
from time import sleep

from edge_probe import __version__
from edge_probe.alive.facts import last_detection
from edge_probe.alive.notify import Notifier
from edge_probe.alive.status import Classifier, Disk, LastDetection, Status, StatusFiles
from edge_probe.analysis.backlog import behind_s
from edge_probe.analysis.neighbour import Neighbour
from edge_probe.analysis.supervise import Supervisor
from edge_probe.capture.recorder import Open, Recorder, Wanted, open_microphone
from edge_probe.capture.recovery import Remains
from edge_probe.capture.store import Store
from edge_probe.clock import Clock
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.chores import Chores
from edge_probe.disk.findings import Findings
from edge_probe.disk.room import Limits, Room
from edge_probe.disk.sample import Design, Sampler
from edge_probe.disk.transcode import is_loaded
from edge_probe.errors import EdgeProbeError
from edge_probe.health.mixer import Mixer
from edge_probe.health.monitor import Monitor
from edge_probe.measure import rss_mib
from edge_probe.schedule.calendar import Schedule
from edge_probe.schedule.hours import Hours

_log = logging.getLogger(__name__)

TICK_S = 0.2
EFFORT_S = 3600.0
"""Between two versions of effort.csv."""

BUSY_BEHIND_S = 300.0
"""A classifier so far behind needs the processor more than FLAC does."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What its owner wants of a station."""

    wanted: Wanted
    limits: Limits
    sample: Design
    flac: bool
    gain_db: float | None
    """Capture gain to set; None: leave it."""
    private_margin_s: float | None
    """Around windows of private classes; None: no class is private."""
    classifier: Sequence[str] | None
    """Command of process B; None: it is not ours to start."""
    deployment_id: str | None
    has_neighbour: bool = False
    """Whether process B is a service of its own."""
    schedule: Schedule | None = None
    """When to record; None: always."""


class Station:
    """A recorder that looks after itself.

    Parameters
    ----------
    state : StateFolder
        Locked by the caller.
    orders : Orders
    clock : Clock
    open_input : callable
        Opens the microphone.
    """

    def __init__(
        self,
        state: StateFolder,
        orders: Orders,
        clock: Clock,
        open_input: Open = open_microphone,
    ) -> None:
        self._state, self._orders, self._clock = state, orders, clock
        self._began_ns = clock.monotonic_ns()
        self._monitor = Monitor(state.path, clock, Mixer(orders.gain_db))
        findings = Findings(state.detections)
        sampler = Sampler(orders.sample, findings)
        self._room = Room(state.path, orders.limits, clock, findings, sampler)
        self._hours = Hours(orders.schedule, clock) if orders.schedule else None
        self._recorder = Recorder(
            orders.wanted, clock, self._open_store, self._monitor, open_input, self._hours
        )
        self._chores = Chores(
            state.path, margin_s=orders.private_margin_s, flac=orders.flac, is_busy=self._is_busy
        )
        self._supervisor = _supervisor(orders, state)
        self._status = StatusFiles(state.path, clock)
        self._effort: subprocess.Popen[bytes] | None = None
        self._effort_ns = self._began_ns + round(EFFORT_S * 1e9)

    def _open_store(self, remains: Remains) -> Store:
        self._room.prepare()
        return Store(
            self._state.path, self._clock, remains, make_room=self._room.make,
            health=self._monitor.waiting, hours=self._hours,
        )  # fmt: skip

    def run(self, stopped: Callable[[], bool]) -> None:
        """Record until ``stopped()``; what came is then written within 2 s.

        Raises
        ------
        StateError
            The state folder cannot be used.
        """
        with Notifier(os.environ, self._clock) as notifier:
            self._recorder.start()
            self._chores.start()
            try:
                while not stopped():
                    self._tick(notifier)
                    sleep(TICK_S)
            finally:
                notifier.stopping()
                self._stop()

    def _tick(self, notifier: Notifier) -> None:
        self._recorder.tick()
        self._monitor.step()
        if self._supervisor is not None:
            self._supervisor.poll(self._clock.monotonic_ns())
        self._count_effort()
        counts = self._recorder.counts
        if self._recorder.is_resting:  # nothing is to come: that somebody watches is enough
            notifier.ready()
            notifier.feed()
        notifier.progress(counts.n_settled)
        notifier.status(f"{self._state_word}, {counts.stored_s / 3600:.1f} h recorded")
        self._status.update(lambda: self._tell(self._state_word), (self._state_word, self._alarms))

    @property
    def _state_word(self) -> str:
        """One of `edge_probe.alive.status.STATES`: a card without room is no recording."""
        state = self._recorder.state
        return "disk full" if state == "recording" and self._room.is_full else state

    @property
    def _alarms(self) -> tuple[str, ...]:
        alarms = tuple(alarm.name for alarm in self._monitor.alarms)
        if self._hours is not None and not self._hours.is_known:
            alarms = (*alarms, "clock_not_set")
        return (*alarms, "disk_full") if self._room.is_full else alarms

    def _count_effort(self) -> None:
        """Every hour, by a process that nobody waits for: after months it takes a while."""
        if self._effort is not None and (code := self._effort.poll()) is not None:
            self._effort = None
            if code:
                _log.warning("effort.csv could not be written: status %d", code)
        if self._effort is None and self._clock.monotonic_ns() >= self._effort_ns:
            self._effort_ns = self._clock.monotonic_ns() + round(EFFORT_S * 1e9)
            command = [sys.executable, "-m", "edge_probe", "effort", str(self._state.path)]
            try:
                self._effort = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
                os.setpriority(os.PRIO_PROCESS, self._effort.pid, 19)
            except OSError as error:
                _log.warning("effort.csv is not written this hour: %s", error)

    def _stop(self) -> None:
        """Capture first; then nobody is waited for longer than it takes."""
        if self._supervisor is not None:
            self._supervisor.terminate()
        self._chores.end()
        self._recorder.stop()
        if self._supervisor is not None:
            self._supervisor.stop()
        self._status.update(lambda: self._tell("stopped"), at_once=True)

    def _is_busy(self) -> bool:
        """Whether FLAC has to wait."""
        return is_loaded() or (self._is_heard() and (self._behind_s() or 0.0) > BUSY_BEHIND_S)

    def _is_heard(self) -> bool:
        """Whether a classifier is at work: for one that is not, nobody waits."""
        return self._supervisor is not None and self._supervisor.state.state == "running"

    def _behind_s(self) -> float | None:
        """Of the classifier; None where there is none or nobody can tell now."""
        if self._supervisor is None:
            return None
        try:
            return behind_s(self._state.path)
        except (OSError, sqlite3.Error, EdgeProbeError) as error:
            _log.debug("how far the classifier is behind cannot be told: %s", error)
            return None

    def _tell(self, state: str) -> Status:
        counts, recorder = self._recorder.counts, self._recorder
        free_bytes = disk_usage(self._state.path).free
        quota_bytes = self._orders.limits.quota_bytes
        return Status(
            version=__version__,
            deployment_id=self._orders.deployment_id,
            state=state,
            boot=recorder.boot or 0,
            stream=recorder.writer.stream if recorder.writer else None,
            device=recorder.device,
            running_s=(self._clock.monotonic_ns() - self._began_ns) * 1e-9,
            recorded_s=counts.stored_s,
            gap_s=counts.lost_s,
            last_frame_age_s=recorder.last_frame_age_s,
            ring_fill=recorder.ring_fill,
            disk=Disk(free_bytes, self._room.n_bytes, quota_bytes, self._days_left(free_bytes)),
            classifier=self._classifier(),
            last_detection=self._last_detection(),
            clock_trust=self._clock.trust(),
            alarms=self._alarms,
            rss_mib=rss_mib(),
        )

    def _days_left(self, free_bytes: int) -> float | None:
        """Until the disk is as full as the owner allows, at the pace of this process."""
        age_s = (self._clock.monotonic_ns() - self._began_ns) * 1e-9
        limits, pace = self._orders.limits, self._recorder.bytes_per_s
        if not pace or age_s < 1:
            return None
        room = min(limits.quota_bytes - self._room.n_bytes, free_bytes - limits.floor_bytes)
        return max(0.0, room / pace / 86_400)

    def _classifier(self) -> Classifier | None:
        if self._supervisor is None:
            return None
        state = self._supervisor.state
        return Classifier(state.state, self._behind_s() or 0.0, state.n_restarts)

    def _last_detection(self) -> LastDetection | None:
        if self._supervisor is None:
            return None
        try:
            return last_detection(self._state.path)
        except (OSError, sqlite3.Error, EdgeProbeError) as error:
            _log.debug("the newest detection cannot be told: %s", error)
            return None


def _supervisor(orders: Orders, state: StateFolder) -> Supervisor | Neighbour | None:
    """Whoever knows about process B; None: there is none."""
    if orders.classifier is not None:
        return Supervisor(orders.classifier)
    return Neighbour(state.path) if orders.has_neighbour else None


def seed_of(deployment_id: str | None) -> int:
    """A seed for the sample of a deployment: another one for each."""
    return zlib.crc32((deployment_id or "").encode())
