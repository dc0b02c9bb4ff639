"""Process A: keep a microphone open for ever and let its frames reach the disk.

The main thread opens microphones and looks after everything that may be slow or odd; one writer
thread owns the disk and takes one stream after the other.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from edge_probe.capture.device import Input
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.clock import Clock
from edge_probe.errors import DeviceError
from edge_probe.source.portaudio import find_device, rescan

_log = logging.getLogger(__name__)

STEP_S = 0.25
"""Between looks into the ring: what a kill -9 can take is little more."""

TICK_S = 0.2
MAX_WAIT_S = 10.0
"""Between attempts to open a microphone."""

MAX_STREAMS = 3
"""Streams whose audio may wait in memory while the disk fails."""

END_S = 1.5
"""The writer's time to finish after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be recorded."""

    device: str | None
    """Name, part of it, or number; None: the system's first choice."""
    rate_hz: int | None
    """None: the device's own."""
    n_channels: int
    sample_bytes: int
    segment_s: float


class DiskThread(threading.Thread):
    """Writes streams to the disk, one after the other."""

    def __init__(self) -> None:
        super().__init__(name="disk")
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

    def step(self) -> None:
        """One step of the stream whose turn it is."""
        if not self._waiting:
            return
        writer = self._waiting[0]
        if writer not in self._causes:
            self.healthy = writer.step()
            return
        self.healthy = writer.end(self._causes[writer])
        if self.healthy:
            del self._causes[writer]
            self._waiting.popleft()


class Recorder:
    """Records until told to stop.

    Parameters
    ----------
    state : Path
        State folder.
    wanted : Wanted
    clock : Clock
    """

    def __init__(self, state: Path, wanted: Wanted, clock: Clock) -> None:
        self._state = state
        self._wanted = wanted
        self._clock = clock
        self._disk = DiskThread()
        self._disk.daemon = True  # a disk that hangs must not keep the process
        self._input: Input | None = None
        self._writer: Writer | None = None
        self._wait_s = 0.0
        self._retry_ns = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Record until ``stopped()``; then what came is written, within 2 s.

        Raises
        ------
        RuntimeError
            The writer thread died: a bug, and a reason to be started anew.
        """
        Store(self._state, self._clock).close()  # refuses a state folder that cannot be used
        self._disk.start()
        try:
            while not stopped():
                self.tick()
                sleep(TICK_S)
        finally:
            self._close("schedule")
            self._disk.stop()
            self._disk.join(END_S)
        if self._disk.is_alive():
            _log.error("the disk did not take the end of the recording; the next start rescues it")

    def tick(self) -> None:
        """Look after the microphone."""
        if not self._disk.is_alive():
            raise RuntimeError("the thread that writes to the disk has died")
        if self._input is None:
            self._open()
        elif reason := self._input.lost():
            _log.error("microphone lost: %s", reason)
            self._close("device")

    def _open(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_ns or self._disk.n_streams >= MAX_STREAMS:
            return
        try:
            self._begin()
        except DeviceError as error:
            if self._wait_s == 0:  # once, not every ten seconds for months
                _log.error("no microphone: %s (%s); trying for ever", error.message, error.hint)
            self._wait_s = min(MAX_WAIT_S, max(0.5, 2 * self._wait_s))
            self._retry_ns = self._clock.monotonic_ns() + round(self._wait_s * 1e9)
            rescan()

    def _begin(self) -> None:
        wanted = self._wanted
        device = find_device(wanted.device)
        rate_hz = wanted.rate_hz or int(device["default_samplerate"])
        format_ = Format(rate_hz, wanted.n_channels, wanted.sample_bytes)
        self._input = Input(device, format_, self._clock)
        self._writer = Writer(
            self._input.ring, format_, str(device["name"]), segment_s=wanted.segment_s,
            open_store=lambda safe: Store(self._state, self._clock, safe), clock=self._clock,
        )  # fmt: skip
        self._disk.add(self._writer)
        self._wait_s = 0.0
        _log.info("recording %s, %d Hz, %d channels", device["name"], rate_hz, wanted.n_channels)

    def _close(self, cause: str) -> None:
        if self._input is None or self._writer is None:
            return
        self._input.close()
        self._disk.end(self._writer, cause)
        self._input = self._writer = None
        rescan()
