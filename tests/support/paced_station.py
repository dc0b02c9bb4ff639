"""All of a station that writes to its state folder, in one thread and at a pace of its own."""

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from support.numbered_source import VirtualClock
from support.recorded_state import RECORDING

from edge_probe.alive.status import StatusFiles
from edge_probe.analysis.listener import Tools
from edge_probe.analysis.recording import Recording
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.store import Store as Detections
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import open_bundle
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.classify import ChunkAnalyser
from edge_probe.clock import SystemClock
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.disk.findings import Findings
from edge_probe.disk.room import Limits, Room
from edge_probe.disk.sample import Design, Sampler
from edge_probe.health.identity import Device
from edge_probe.health.mixer import Mixer
from edge_probe.health.monitor import Monitor
from edge_probe.source.ring import Ring

SCENE = DEMO_BUNDLE.parent / "demo_scene.ogg"
"""28 s with ten events: more than most places have in an hour."""

TICK_S = 0.1

Parts = Literal["capture", "station"]


class PacedStation:
    """The writer; and health, room, samples, status and the demonstration bundle's classifier.

    Parameters
    ----------
    state : Path
        Made here.
    format_ : Format
        One channel, 16 bit.
    segment_s : float
    pace : float
        Virtual seconds in a real one.
    parts : {"capture", "station"}
        The writer alone, or all.
    """

    def __init__(
        self, state: Path, format_: Format, segment_s: float, pace: float, parts: Parts
    ) -> None:
        state.mkdir()
        self._state, self._format, self._pace, self._parts = state, format_, pace, parts
        self._clock = VirtualClock()
        self._sound = scene(format_.rate_hz)
        self._n_ticks = 0
        self._ring = Ring(33 * format_.rate_hz, format_.frame_bytes)
        self._monitor = Monitor(state, self._clock, Mixer(None))
        self._monitor.opened(Device(0, "scene", 0, None), format_)
        self._findings = Findings(state / "detections.sqlite")
        sampler = Sampler(Design(0, 3.0, 0.05), self._findings)
        self._room = Room(state, Limits("all", 2**40, 0), self._clock, self._findings, sampler)
        self._writer = Writer(
            self._ring, format_, "scene", segment_s=segment_s, open_store=self._open_store,
            clock=self._clock, watch=self._monitor.feed,
        )  # fmt: skip
        self._status = StatusFiles(state, self._clock)
        self._classifier: Classifier | None = None

    def _open_store(self, remains: Remains) -> Store:
        if self._parts == "capture":
            return Store(self._state, self._clock, remains)
        self._room.prepare()
        return Store(
            self._state, self._clock, remains, make_room=self._room.make,
            health=self._monitor.waiting,
        )  # fmt: skip

    def run(self, duration_s: int) -> None:
        """Record and classify for so long."""
        began, n_ticks = time.monotonic(), round(duration_s / TICK_S)
        for number in range(n_ticks):
            self._tick()
            due = began + (number + 1) * TICK_S / self._pace
            time.sleep(max(0.0, due - time.monotonic()))

    def _tick(self) -> None:
        n_frames = round(TICK_S * self._format.rate_hz)
        self._clock.now_ns += round(TICK_S * 1e9)
        begin = self._n_ticks * n_frames % (len(self._sound) - n_frames)
        self._ring.push(self._sound[begin : begin + n_frames].tobytes(), self._clock.now_ns)
        self._n_ticks += 1
        assert self._writer.step()
        if self._parts == "station":
            self._do_the_rest()

    def _do_the_rest(self) -> None:
        self._monitor.step()
        self._status.update(
            lambda: replace(RECORDING, recorded_s=self._n_ticks * TICK_S), RECORDING.state
        )
        if self._classifier is not None:
            self._classifier.worker.step()
        elif (self._state / "capture.sqlite").exists():
            self._classifier = Classifier(self._state)

    def end(self) -> int:
        """Stop; returns how many detections there are."""
        assert self._writer.end("schedule")
        self._findings.close()
        if self._classifier is None:
            return 0
        self._classifier.end()
        with closing(sqlite3.connect(self._state / "detections.sqlite")) as db:
            return int(db.execute("SELECT count(*) FROM detection").fetchone()[0])


class Classifier:
    """What the process of that name has, but for the process."""

    def __init__(self, state: Path) -> None:
        bundle = open_bundle(DEMO_BUNDLE)
        self._recording = Recording(state)
        self._store = Detections(state / "detections.sqlite", bundle)
        self.worker = Worker(
            Tools(ChunkAnalyser(bundle), self._recording, Rules()), self._store, backlog_s=1e9,
            clock=SystemClock(), is_wanted=lambda: False,
        )  # fmt: skip

    def end(self) -> None:
        self.worker.rest()
        self._recording.close()
        self._store.close()


def scene(rate_hz: int) -> NDArray[np.int16]:
    """The demonstration scene as 16 bit PCM, with the hiss of a microphone in all bands."""
    sound, own_hz = soundfile.read(SCENE, dtype="float32")
    sound = soxr.resample(sound, own_hz, rate_hz)
    sound += np.random.default_rng(0).normal(0, 1e-3, len(sound))
    pcm: NDArray[np.int16] = np.rint(32767 * np.clip(sound, -1, 1)).astype("<i2")
    return pcm
