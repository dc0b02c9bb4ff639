"""A station and its classifier that live for virtual days and look at themselves every hour.

A program of its own, so that what grows is its. Usage: ``soak.py FOLDER DAYS``; it prints a line of
JSON for every hour and goes on when it is answered with a line.

Everything of `edge-probe run` is real but what would take real time: the microphone, the threads of
the disk and of the chores, which are stepped here, and the supervisor. The classifier is in the
same process, with an encoder that looks at 16 samples of each chunk.
"""

import ctypes
import json
import logging
import os
import random
import sqlite3
import sys
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from support.analysed_state import work_off
from support.numbered_source import NumberedSource, VirtualClock
from support.onnx_bytes import glancing_encoder
from support.sound import sound
from support.tiny_bundle import ENCODER, write_tiny_bundle

from edge_probe import station
from edge_probe.alive import status
from edge_probe.alive.notify import Notifier
from edge_probe.analysis.listener import Tools
from edge_probe.analysis.recording import Recording
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.store import Store as Detections
from edge_probe.analysis.supervise import ClassifierState
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import Bundle
from edge_probe.capture import recorder
from edge_probe.capture import writer as writer_module
from edge_probe.capture.recorder import DiskThread, Wanted
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import PART
from edge_probe.capture.store import Store
from edge_probe.classify import ChunkAnalyser
from edge_probe.clock import Clock
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.room import Limits
from edge_probe.disk.sample import Design, Stratum
from edge_probe.health import monitor
from edge_probe.health.identity import Device
from edge_probe.health.monitor import Monitor
from edge_probe.source.ring import Ring
from edge_probe.spec import WindowSpec

RATE = 1000
"""The lowest that a classifier takes."""

BLOCK = 80 * RATE
SEGMENT_S = 120.0
CHUNK = 120 * RATE
RING = 150 * RATE
"""Longer than in the field, and fewer: a virtual day is to take seconds."""

QUOTA_BYTES = 96 << 20
"""Of the 165 MiB of a day: full before it ends."""

LISTENS = 2 * RATE
"""Frames of each block that the monitor hears, which would take half of all the time: as many as
its rows need."""

HEALTH_S, STATUS_S, EFFORT_S = 600.0, 1800.0, 86_400.0
"""Less often than in the field: each takes longer than to record and classify as much."""

CHORES_PER_HOUR = 2
BACKLOG_S = 7200.0
STANDS_STILL_H = (10, 11)
"""Hours of a day in which the classifier does nothing, and skips some of them afterwards."""

PERIOD = 1_000_003
_SOUND = (sound(0, PERIOD) >> 16).astype("<i2")
_TWICE = np.concatenate([_SOUND, _SOUND])


def frames(begin: int, end: int) -> NDArray[np.int16]:
    """16-bit frames of the numbers [begin, end), at most `PERIOD`: that of `sound`, repeated."""
    at = begin % PERIOD
    return _TWICE[at : at + end - begin]


class Microphone:
    """Numbered frames when they are due; in place of `InputStream`."""

    def __init__(
        self, _device: dict[str, Any], ring: Ring, clock: VirtualClock, **_format: int
    ) -> None:
        self.ring = ring
        self.source = NumberedSource(ring, clock, RATE, BLOCK, frames=frames)
        self.is_pulled_out = False

    def lost(self, _silent_s: float) -> str | None:
        return "pulled out" if self.is_pulled_out else None

    def close(self) -> None:
        """Nothing is open."""


class Disk(DiskThread):
    """Steps when it is told to."""

    def start(self) -> None:
        """There is no thread."""

    def is_alive(self) -> bool:
        return True


class Ear(Monitor):
    """Hears the begin of each block."""

    def feed(self, frames: bytes | memoryview) -> None:
        super().feed(frames[:LISTENS])


class Beside:
    """A supervisor whose classifier is in this process."""

    state = ClassifierState("running", 0, None)

    def __init__(self, _command: list[str]) -> None:
        pass

    def poll(self, _now_ns: int) -> None:
        """It lives."""


class Month(station.Station):
    """A station in virtual time; there is no thread but the caller's."""

    def __init__(self, state: Path) -> None:
        self.clock = VirtualClock()
        self.fails_until_ns = 0
        limits = Limits("sample+detections", QUOTA_BYTES, 0)
        orders = station.Orders(
            Wanted(None, RATE, 1, 2, SEGMENT_S), limits,
            Design(1, 10.0, 0.001, (Stratum(0.5, 0.001),)), flac=True, gain_db=None,
            private_margin_s=0.5, classifier=["beside"], deployment_id="month",
        )  # fmt: skip
        super().__init__(StateFolder(state), orders, self.clock)
        self._notifier = Notifier({}, self.clock)
        self.ended_at = 0
        """Frames of the last stream that ended."""
        self._recorder.start()

    @property
    def microphone(self) -> Microphone:
        while self._recorder._input is None:
            self.clock.now_ns += 10**9
            self.step()
        opened = self._recorder._input
        assert isinstance(opened, Microphone)
        return opened

    def _open_store(self, remains: Remains) -> Store:
        if self.clock.now_ns < self.fails_until_ns:
            raise sqlite3.OperationalError("disk I/O error")
        return super()._open_store(remains)

    def step(self) -> None:
        self._recorder._disk.step()
        self._tick(self._notifier)
        if self._effort is not None:
            self._effort.wait()

    def hour(self) -> None:
        for _ in range(3600 * RATE // BLOCK):
            self.microphone.source.deliver()
            self.step()

    def do_chores(self) -> None:
        for _ in range(CHORES_PER_HOUR):
            self._chores.step()

    def fail(self, for_ns: int) -> None:
        self.fails_until_ns = self.clock.now_ns + for_ns
        assert self._recorder.writer is not None
        self._recorder.writer._give_up()

    def lose_microphone(self) -> None:
        self.ended_at = self.microphone.source.next_frame
        self.microphone.is_pulled_out = True
        self.step()

    def end(self) -> None:
        self.ended_at = self.microphone.source.next_frame
        self.clock.now_ns = max(self.clock.now_ns, self.fails_until_ns) + 2 * 10**9
        self._recorder.stop()
        while self._recorder._disk.n_streams:
            self._recorder._disk.step()
        self._chores.close()


def glancing_bundle(folder: Path) -> Bundle:
    """The tiny bundle on chunks that are as long as a segment."""
    grid = replace(ENCODER.grid, step_samples=CHUNK / 2, band_edges_hz=(0.0, RATE / 4, RATE / 2))
    spec = replace(ENCODER, sample_rate_hz=RATE, chunk_samples=CHUNK, grid=grid)
    graph = folder / "glancing.onnx"
    graph.write_bytes(glancing_encoder(CHUNK))
    return write_tiny_bundle(
        folder / "bundle", encoder=spec, graph=graph, windows=WindowSpec(1, 1, 0.2),
        threshold_on=[0.6, 0.7], threshold_off=[0.45, 0.2], conformance_audio=frames(0, CHUNK),
    )  # fmt: skip


def worker_of(state: Path, bundle: Bundle, clock: Clock) -> Worker:
    """Process B as `run_worker` makes it."""
    rules = Rules(private=frozenset([bundle.labels[1].text]))
    tools = Tools(ChunkAnalyser(bundle), Recording(state), rules)
    detections = Detections(state / "detections.sqlite", bundle)
    return Worker(
        tools, detections, backlog_s=BACKLOG_S, clock=clock, is_wanted=lambda: False
    )  # fmt: skip


def live(folder: Path, days: int) -> None:
    """The month."""
    state, chance = folder / "state", random.Random(days)
    state.mkdir()
    month = Month(state)
    worker = worker_of(state, glancing_bundle(folder), month.clock)
    for hour in range(24 * days):
        month.hour()
        match hour % 24:
            case 3 | 9 | 15 | 21:
                month.microphone.source.lose(chance.randrange(RATE, 100 * RATE))
            case 5 | 11 | 17 | 23:
                month.fail(chance.randrange(100 * 10**9))
            case 19:
                month.lose_microphone()
        if hour % 24 not in STANDS_STILL_H:
            work_off(worker)
        month.do_chores()
        tell(month, folder)
    month.end()
    work_off(worker)
    tell(month, folder)


def tell(month: Month, folder: Path) -> None:
    """Say what there is, and wait until it was looked at."""
    writer = month._recorder.writer
    told = {
        "stream": (writer and writer.stream) or 0,
        "frames": month.microphone.source.next_frame if writer else month.ended_at,
        "ended_at": month.ended_at,
    }
    print(json.dumps(told | look(folder)), flush=True)
    sys.stdin.readline()


def look(folder: Path) -> dict[str, int]:
    """What must not grow, and the databases, which may."""
    ctypes.CDLL(None).malloc_trim(0)  # holes between what is in use are no growth
    tasks, process = Path("/proc/self/task"), Path("/proc/self")
    pages = int((process / "statm").read_text(encoding="ascii").split()[1])
    files = {path: path.stat().st_size for path in (folder / "state").rglob("*")}
    return {
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "descriptors": len(list((process / "fd").iterdir())),
        "threads": threading.active_count(),
        "tasks": len(list(tasks.iterdir())),
        "children": sum(len(path.read_text().split()) for path in tasks.glob("*/children")),
        "files": sum(path.suffix not in (".wav", ".flac", PART) for path in files),
        "temporary": sum(path.suffix == PART for path in files)
        + len(list(Path(gettempdir()).iterdir())),
        "wal_kib": sum(n for path, n in files.items() if path.suffix == ".sqlite-wal") // 1024,
        "database_kib": sum(n for path, n in files.items() if path.suffix == ".sqlite") // 1024,
        "all_kib": sum(n for path, n in files.items() if path.is_file()) // 1024,
    }


def main() -> None:
    logging.disable()
    chosen = Device(0, "numbered", 0, None), RATE
    with (
        mock.patch.multiple(
            recorder, choose=lambda _: chosen, InputStream=Microphone, rescan=lambda: None,
            DiskThread=Disk, ring_for=lambda of: Ring(RING, of.frame_bytes),
        ),
        mock.patch.multiple(
            station, Supervisor=Beside, Monitor=Ear, EFFORT_S=EFFORT_S, is_loaded=lambda: False
        ),
        mock.patch.object(status, "EVERY_S", STATUS_S),
        mock.patch.object(monitor, "MINUTE_NS", round(HEALTH_S * 1e9)),
        mock.patch.object(writer_module, "_WRITE_S", BLOCK / RATE),
    ):  # fmt: skip
        live(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
