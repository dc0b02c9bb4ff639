"""State folders as the recorder's own parts make them, with detections beside."""

import sqlite3
from pathlib import Path

from support.numbered_source import NumberedSource, VirtualClock

from edge_probe.alive.status import Classifier, Disk, LastDetection, Status
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.source.ring import Ring

RATE = 1000
BLOCK = 100
MONO = Format(RATE, 1, 4)

DETECTIONS = """
CREATE TABLE bundle (bundle INTEGER PRIMARY KEY, id TEXT NOT NULL) STRICT;
CREATE TABLE chunk (
    bundle INTEGER NOT NULL, stream INTEGER NOT NULL, run_frame INTEGER NOT NULL,
    n INTEGER NOT NULL, channel INTEGER NOT NULL, first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT,
    PRIMARY KEY (bundle, stream, run_frame, n, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE detection (
    detection INTEGER PRIMARY KEY, bundle INTEGER NOT NULL, stream INTEGER NOT NULL,
    channel INTEGER NOT NULL, label TEXT NOT NULL, first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL, low_hz REAL, high_hz REAL, score REAL NOT NULL,
    logit REAL NOT NULL, suppressed INTEGER NOT NULL, private INTEGER NOT NULL
) STRICT;
"""
"""The columns of the classifier's tables that are read here (`edge_probe/SCHEMA.md`)."""

RECORDING = Status(
    version="1.2", deployment_id="forest-07", state="recording", boot=3, stream=5,
    device="USB mic", running_s=7200.0, recorded_s=7190.0, gap_s={"stall": 0.7, "device": 9.3},
    last_frame_age_s=0.1, ring_fill=0.02, disk=Disk(30 * 2**30, 2**30, None, 41.5),
    classifier=Classifier("running", 4.0, 1), last_detection=LastDetection("Wren", 0.93, None),
    clock_trust="ntp", alarms=(), rss_mib=29.5,
)  # fmt: skip


class Recording:
    """A numbered source, a ring and a writer; every step is a block of 0.1 s."""

    def __init__(self, state: Path, clock: VirtualClock | None = None) -> None:
        self.state = state
        self.clock = clock or VirtualClock()
        self._ring = Ring(33 * RATE, MONO.frame_bytes)
        self.source = NumberedSource(self._ring, self.clock, RATE, BLOCK)
        self._writer = Writer(
            self._ring, MONO, "numbered", segment_s=5,
            open_store=lambda safe: Store(state, self.clock, safe), clock=self.clock,
        )  # fmt: skip

    def record(self, n_blocks: int) -> None:
        for _ in range(n_blocks):
            self.source.deliver()
            self._writer.step()

    def end(self, cause: str = "schedule") -> None:
        assert self._writer.end(cause)


class Detections:
    """The writer of detections.sqlite, as durable as the real one."""

    def __init__(self, state: Path) -> None:
        path = state / "detections.sqlite"
        new = not path.exists()
        self.db = sqlite3.connect(path, isolation_level=None, timeout=5)
        self.db.execute("PRAGMA journal_mode = WAL")
        if new:
            self.db.executescript(DETECTIONS + "INSERT INTO bundle VALUES (1, 'demo-1');")

    def detect(self, label: str, first_frame: int = 0, *, suppressed: bool = False) -> None:
        self.db.execute(
            "INSERT INTO detection VALUES (NULL, 1, 1, 0, ?, ?, 500, 2000, NULL, 0.9, 2.2, ?, 0)",
            (label, first_frame, suppressed),
        )

    def leave_out(self, n: int, state: str, reason: str, bundle: int = 1) -> None:
        self.db.execute(
            "INSERT INTO chunk VALUES (?, 1, 0, ?, 0, ?, 1000, ?, ?)",
            (bundle, n, 1000 * n, state, reason),
        )
