"""Keep a microphone open for ever and let its frames reach the disk.

The main thread opens microphones; one thread owns the disk and takes one stream after the other.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import sleep
from typing import NamedTuple, Protocol

from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import HEALTH_S, Writer, ring_for
from edge_probe.clock import Clock
from edge_probe.errors import DeviceError, EdgeProbeError
from edge_probe.health.identity import Device, devices, match
from edge_probe.schedule.hours import OFF, Hours
from edge_probe.source.portaudio import InputStream, find_device, input_devices, rescan
from edge_probe.source.ring import Ring

_log = logging.getLogger(__name__)

STEP_S = 0.2
"""Between looks into the ring: what a kill -9 can take is little more."""

SILENT_S = 2.2
"""No block for so long: the microphone is lost, whatever PortAudio believes."""

MAX_WAIT_S = 4.0
"""Between attempts to open a microphone: one that is back records within 5 s."""

MAX_STREAMS = 3
"""Streams whose audio may wait in memory while the disk fails."""

END_S = 1.5
"""The writer's time to finish after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded."""

    device: str | None
    """As `edge_probe.health.identity.match` takes it; None: the system's first choice."""
    rate_hz: int | None
    """None: the device's own."""
    n_channels: int
    sample_bytes: int
    segment_s: float


class DiskThread(threading.Thread):
    """Writes streams to the disk, one after the other.

    Parameters
    ----------
    keep_health : callable
        Writes, while there is no stream, what else there is; False while the disk fails.
    """

    def __init__(self, keep_health: Callable[[], bool]) -> None:
        super().__init__(name="disk")
        self._keep_health = keep_health
        self._waiting: deque[Writer] = deque()
        self._causes: dict[Writer, str] = {}
        self._stopping = False
        self.healthy = True
        """Whether the last step succeeded."""

    @property
    def n_streams(self) -> int:
        """Streams that are not finished."""
        return len(self._waiting)

    def add(self, writer: Writer) -> None:
        """Take a stream on; it begins when those before it have ended."""
        self._waiting.append(writer)

    def end(self, writer: Writer, cause: str) -> None:
        """Let a stream end: no more frames come."""
        self._causes[writer] = cause

    def stop(self) -> None:
        """End when all streams are finished."""
        self._stopping = True

    def run(self) -> None:
        """Step until stopped."""
        while self._waiting or not self._stopping:
            self.step()
            if not self._stopping:
                sleep(STEP_S)
        self._keep_health()

    def step(self) -> None:
        """One step of the stream whose turn it is."""
        if not self._waiting:
            self.healthy = self._keep_health()
            return
        writer = self._waiting[0]
        if writer not in self._causes:
            self.healthy = writer.step()
            return
        self.healthy = writer.end(self._causes[writer])
        if self.healthy:
            del self._causes[writer]
            self._waiting.popleft()


class Watch(Protocol):
    """What looks at a microphone and its sound while it is open."""

    def opened(self, device: Device, format_: Format) -> None:
        """A device was opened; DeviceError if it is the wrong one."""

    def closed(self) -> None:
        """No device is open."""

    def lost(self) -> str | None:
        """Why the device that is open is good for nothing and is to be opened anew, or None."""

    def feed(self, frames: memoryview) -> None:
        """Frames of the open device, in order, in the thread of the disk."""


class Input(Protocol):
    """A microphone that fills a ring, as `edge_probe.source.portaudio.InputStream` does."""

    ring: Ring

    def lost(self, silent_s: float) -> str | None:
        """Why nothing more is to be expected of it, or None."""

    def close(self) -> None:
        """No more frames come."""


class Opened(NamedTuple):
    """A microphone that was opened."""

    input: Input
    device: Device
    format: Format


Open = Callable[[Wanted, Clock], Opened]
"""Opens a microphone; DeviceError if there is none."""


def open_microphone(wanted: Wanted, clock: Clock) -> Opened:
    """Open the microphone that is wanted, with a list of those that are there now.

    Raises
    ------
    DeviceError
        There is none, or it cannot be opened so.
    """
    rescan()
    device, own_rate_hz = choose(wanted.device)
    format_ = Format(wanted.rate_hz or own_rate_hz, wanted.n_channels, wanted.sample_bytes)
    stream = InputStream(
        {"index": device.index, "name": device.name}, ring_for(format_), clock,
        rate_hz=format_.rate_hz, n_channels=format_.n_channels, sample_bytes=format_.sample_bytes,
    )  # fmt: skip
    return Opened(stream, device, format_)


class Recorder:
    """Keeps a microphone open; `tick` is called several times a second.

    Parameters
    ----------
    wanted : Wanted
    clock : Clock
    open_store : callable
        Opens a `Store`, given what remains of the one before.
    watch : Watch
    open_input : callable
        Opens the microphone.
    hours : Hours, optional
        When; without them always. In between the microphone is closed.
    """

    def __init__(
        self,
        wanted: Wanted,
        clock: Clock,
        open_store: Callable[[Remains], Store],
        watch: Watch,
        open_input: Open = open_microphone,
        hours: Hours | None = None,
    ) -> None:
        self._wanted = wanted
        self._clock = clock
        self._open_store = open_store
        self._watch = watch
        self._open_input = open_input
        self._hours = hours
        self.is_resting = False
        """Whether there is nothing to record now."""
        self._turn: str | None = None  # why there is no stream, if the ledger does not know it yet
        self._disk = DiskThread(self._keep_health)
        self._disk.daemon = True  # a disk that hangs must not keep the process
        self._input: Input | None = None
        self._is_heard = False  # whether the open one has given anything
        self._wait_s = 0.0
        self._retry_ns = 0
        self._noted_ns = clock.monotonic_ns()  # when health was kept last, but for streams
        self._past = Counts()  # of streams that have ended
        self.boot = 0
        """Number of this boot of the machine; 0 until `start`."""
        self.writer: Writer | None = None
        """Of the open microphone."""
        self.device: str | None = None
        """Identity of the open microphone."""

    @property
    def state(self) -> str:
        """A word or two: starting, recording, off hours, no microphone, disk fails."""
        if not self._disk.healthy:
            return "disk fails"
        if self.is_resting:
            return "off hours"
        if self.writer is None:
            return "no microphone"
        return "recording" if self.writer.stream is not None else "starting"

    @property
    def counts(self) -> "Counts":
        """What became of the frames of this process."""
        return self._past + Counts.of(self.writer)

    @property
    def bytes_per_s(self) -> int:
        """Of the open microphone, as PCM; 0 while there is none."""
        return self.writer.format.frame_bytes * self.writer.rate_hz if self.writer else 0

    @property
    def ring_fill(self) -> float:
        """Of the memory between microphone and disk, 0 to 1."""
        return self._input.ring.fill if self._input else 0.0

    @property
    def last_frame_age_s(self) -> float | None:
        """Since the newest sample came; None: none has from this microphone."""
        if self._input is None or not self._input.ring.last_stamp_ns:
            return None
        return (self._clock.monotonic_ns() - self._input.ring.last_stamp_ns) * 1e-9

    def start(self) -> None:
        """Begin; refuses a state folder that cannot be used.

        Raises
        ------
        StateError
        """
        store = self._open_store(Remains())
        self.boot = store.boot
        store.close()
        self._disk.start()

    def tick(self) -> None:
        """Look after the microphone.

        Raises
        ------
        RuntimeError
            The writer thread died: a bug, and a reason to be started anew.
        """
        if not self._disk.is_alive():
            raise RuntimeError("the thread that writes to the disk has died")
        self._keep_hours()
        if self.is_resting:
            return
        if self._input is None:
            self._open()
        elif reason := self._input.lost(SILENT_S) or self._watch.lost():
            if self._is_heard:
                _log.error("microphone lost: %s", reason)
            else:
                self._fail(reason)
            self._close("device")
        elif self._input.ring.last_stamp_ns and not self._is_heard:
            self._is_heard, self._wait_s = True, 0.0
            _log.info("recording %s", self.device)

    def _keep_hours(self) -> None:
        """Close the microphone for the time in which nothing is to be recorded."""
        is_resting = self._hours is not None and not self._hours.is_on
        if is_resting == self.is_resting:
            return
        self.is_resting = is_resting
        _log.info("off hours begin" if is_resting else "off hours end")
        self._wait_s, self._retry_ns, self._turn = 0.0, 0, None
        self._close(OFF)

    def stop(self) -> None:
        """Let what came be written, within `END_S`."""
        if self._input is None:
            self._noted_ns -= round(HEALTH_S * 1e9)  # no stream takes what waits
        is_waiting = self.writer is None or self.writer.stream is None
        self._close(OFF)
        self._disk.stop()
        if self._disk.ident is not None:
            self._disk.join(END_S)
        if self._disk.is_alive():
            _log.error("the disk did not take the end of the recording; the next start rescues it")
        elif is_waiting:
            self._end_waiting()

    def _end_waiting(self) -> None:
        """There was no microphone; from now on that is not why nothing is recorded."""
        try:
            store = self._open_store(Remains())
            try:
                store.turn(OFF)
            finally:
                store.close()
        except (OSError, sqlite3.Error, EdgeProbeError) as error:
            _log.error("the ledger counts on as if a microphone were missing: %s", error)

    def _keep_health(self) -> bool:
        """Without a stream nobody else brings to the disk why there is none."""
        now_ns = self._clock.monotonic_ns()
        turn = self._turn
        if now_ns - self._noted_ns < HEALTH_S * 1e9:
            return self._disk.healthy
        self._noted_ns = now_ns
        try:
            store = self._open_store(Remains())
            if turn is not None:
                store.turn(turn)
                self._turn = None
            store.keep_health()
            store.close()
        except (OSError, sqlite3.Error) as error:
            if self._disk.healthy:
                _log.error("the disk fails, health is kept in memory meanwhile: %s", error)
            return False
        return True

    def _open(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_ns or self._disk.n_streams >= MAX_STREAMS:
            return
        try:
            self._begin()
        except DeviceError as error:
            self._fail(f"{error.message} ({error.hint})")

    def _fail(self, problem: str) -> None:
        """Try again later; said once, not every few seconds for months."""
        if self._wait_s == 0:
            _log.error("no microphone: %s; trying for ever", problem)
            self._turn = "device"
            self._noted_ns -= round(HEALTH_S * 1e9)  # the ledger is to know at once
        self._wait_s = min(MAX_WAIT_S, max(0.5, 2 * self._wait_s))
        self._retry_ns = self._clock.monotonic_ns() + round(self._wait_s * 1e9)

    def _begin(self) -> None:
        opened, device, format_ = self._open_input(self._wanted, self._clock)
        try:
            self._watch.opened(device, format_)
        except DeviceError:
            opened.close()
            raise
        self._input, self.device = opened, device.identity
        self.writer = Writer(
            opened.ring, format_, device.identity, segment_s=self._wanted.segment_s,
            open_store=self._open_store, clock=self._clock, watch=self._watch.feed,
        )  # fmt: skip
        self._disk.add(self.writer)
        self._is_heard = False

    def _close(self, cause: str) -> None:
        if self._input is None or self.writer is None:
            return
        self._input.close()
        self._disk.end(self.writer, cause)
        self._past += Counts.of(self.writer)
        self._input = self.writer = self.device = None
        self._noted_ns = self._clock.monotonic_ns()
        self._watch.closed()


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of frames."""

    n_settled: int = 0
    """Stored, or booked as lost because the disk had no room: of those that came, none waits."""
    stored_s: float = 0.0
    lost_s: Mapping[str, float] = field(default_factory=dict)
    """By cause."""

    @classmethod
    def of(cls, writer: Writer | None) -> "Counts":
        """Those of a stream so far."""
        if writer is None:
            return cls()
        n_lost = dict(writer.lost)  # at one go: the thread of the disk may add a cause
        n_stored = writer.n_frames - sum(n_lost.values())
        lost_s = {cause: n / writer.rate_hz for cause, n in n_lost.items()}
        return cls(n_stored + n_lost.get("disk", 0), n_stored / writer.rate_hz, lost_s)

    def __add__(self, other: "Counts") -> "Counts":
        causes = self.lost_s.keys() | other.lost_s.keys()
        lost_s = {c: self.lost_s.get(c, 0.0) + other.lost_s.get(c, 0.0) for c in sorted(causes)}
        return Counts(self.n_settled + other.n_settled, self.stored_s + other.stored_s, lost_s)


def choose(wanted: str | None) -> tuple[Device, int]:
    """A microphone that is there, and its own sample rate in Hz.

    Raises
    ------
    DeviceError
        None matches, or several do.
    """
    listed = {int(entry["index"]): entry for entry in input_devices()}
    among = devices((index, str(entry["name"])) for index, entry in listed.items())
    if wanted is None:
        index = int(find_device(None)["index"])
        device = next(device for device in among if device.index == index)
    else:
        device = match(wanted, among)
    return device, int(listed[device.index]["default_samplerate"])
