"""A state folder with segments and findings that were never recorded or heard."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from support.numbered_source import VirtualClock

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format, Place, header
from edge_probe.disk import rows
from edge_probe.source.wav import HEADER_BYTES

FINDINGS = """
CREATE TABLE bundle (bundle INTEGER PRIMARY KEY, chunk_s REAL, window_chunks INTEGER,
    hop_chunks INTEGER);
CREATE TABLE duty (duty INTEGER PRIMARY KEY, bundle INTEGER, stream INTEGER, first_frame INTEGER);
CREATE TABLE chunk (bundle INTEGER, stream INTEGER, run_frame INTEGER, n INTEGER, channel INTEGER,
    first_frame INTEGER, n_frames INTEGER, state TEXT,
    PRIMARY KEY (bundle, stream, run_frame, n, channel)) WITHOUT ROWID;
CREATE TABLE stint (bundle INTEGER, stream INTEGER, run_frame INTEGER, channel INTEGER,
    first_n INTEGER, next_n INTEGER, open TEXT);
CREATE TABLE detection (detection INTEGER PRIMARY KEY, stream INTEGER, span_frame INTEGER,
    span_n_frames INTEGER, private INTEGER);
CREATE TABLE score_cache (bundle INTEGER, stream INTEGER, run_frame INTEGER, first_n INTEGER,
    channel INTEGER, first_frame INTEGER, n_frames INTEGER, score REAL,
    PRIMARY KEY (bundle, stream, run_frame, first_n, channel)) WITHOUT ROWID;
INSERT INTO bundle VALUES (1, 1.0, 1, 1);
INSERT INTO duty VALUES (1, 1, 0, 0);
"""
"""The columns of detections.sqlite that are read here; chunks and windows of 1 s."""


@dataclass
class MadeSegments:
    """Segments of one stream, one after the other, and what was found in them."""

    state: Path
    format: Format
    clock: VirtualClock = field(default_factory=VirtualClock)
    stream: int = 1
    end_frame: int = 0
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.audio.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(self.state / "capture.sqlite")
        self.ledger.connection.execute("PRAGMA synchronous = OFF")  # faster; nothing is cut here
        boot = self.ledger.boot(self.clock.boot())
        if self.ledger.last_stream() is None:
            self.ledger.add_stream(boot, "made", self.format, 0)

    @property
    def audio(self) -> Path:
        return self.state / "audio"

    def add(self, n_frames: int, data: bytes | None = None) -> Path:
        """A closed segment; without data a sparse one."""
        path = self.begin(n_frames)
        with path.open("wb") as file:
            file.write(header(self.format, n_frames))
            if data is None:
                file.truncate(HEADER_BYTES + n_frames * self.format.frame_bytes)
            else:
                file.write(data)
        place = Place(1, self.stream, self.end_frame - n_frames)
        self.ledger.close_segment(place, n_frames)
        return path

    def begin(self, n_frames: int) -> Path:
        """Only the row of a segment that grows."""
        place = Place(1, self.stream, self.end_frame)
        path = self.audio / place.file_name("unset")
        self.ledger.begin_segment(place, self.clock.monotonic_ns(), path.name)
        self.end_frame += n_frames
        return path

    def add_noise(self, n_frames: int, seed: int = 0) -> tuple[Path, NDArray[np.uint8]]:
        """A closed segment of quiet noise: its path and its frames as bytes."""
        generator = np.random.default_rng([seed, self.end_frame])
        n_bytes = self.format.sample_bytes
        loud = 2 ** (8 * n_bytes - 4)
        values = generator.integers(-loud, loud, n_frames * self.format.n_channels, dtype="<i8")
        data = values.view(np.uint8).reshape(-1, 8)[:, :n_bytes]
        frames = data.reshape(n_frames, self.format.frame_bytes)
        return self.add(n_frames, frames.tobytes()), frames

    def segments(self) -> list[rows.Segment]:
        """Closed ones that were not deleted."""
        return list(rows.segments_after(self.ledger.connection, rows.ORIGIN))

    def deletions(self) -> list[tuple]:
        """First frame, reason and what was in them, in order of deletion."""
        return self.ledger.connection.execute(
            "SELECT first_frame, reason, held FROM deletion ORDER BY deletion"
        ).fetchall()


class MadeFindings:
    """What a classifier would have written."""

    def __init__(self, state: Path) -> None:
        self._db = sqlite3.connect(state / "detections.sqlite", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(FINDINGS)

    def classify(self, until_frame: int, rate_hz: int, stream: int = 1) -> None:
        """All chunks before a frame are done, and one behind it is."""
        n = until_frame // rate_hz
        self._db.execute(
            "INSERT OR REPLACE INTO chunk VALUES (1, ?, 0, ?, 0, ?, ?, 'done')",
            (stream, n, n * rate_hz, rate_hz),
        )

    def detect(self, first: int, n_frames: int, *, private: bool = False, stream: int = 1) -> None:
        self._db.execute(
            "INSERT INTO detection VALUES (NULL, ?, ?, ?, ?)", (stream, first, n_frames, private)
        )

    def hold_open(self, first_n: int, rate_hz: int, stream: int = 1) -> None:
        """A detection began with a window and has not ended."""
        self._db.execute("DELETE FROM stint")
        self._db.execute(
            "INSERT INTO stint SELECT 1, ?, 0, 0, 0, coalesce(max(n), 0) + 1, ? FROM chunk",
            (stream, f"[[0, {first_n}, 9, 0]]"),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO chunk VALUES (1, ?, 0, ?, 0, ?, 1, 'done')",
            (stream, first_n, first_n * rate_hz),
        )

    def score(self, n: int, value: float, rate_hz: int, stream: int = 1) -> None:
        self._db.execute(
            "INSERT INTO score_cache VALUES (1, ?, 0, ?, 0, ?, ?, ?)",
            (stream, n, n * rate_hz, rate_hz, value),
        )

    def close(self) -> None:
        self._db.close()


def decoded(path: Path, n_bytes: int) -> np.ndarray:
    """Frames as bytes, as they stood in the WAV."""
    samples, _ = sf.read(path, dtype="int32", always_2d=True)
    kept = samples.astype("<i4").view(np.uint8).reshape(*samples.shape, 4)[..., 4 - n_bytes :]
    frames: np.ndarray = kept.reshape(len(samples), -1)
    return frames
