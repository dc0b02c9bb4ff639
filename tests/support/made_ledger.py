"""A state folder whose databases say what a test wants, written by the real ledger."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format, Place

RATE = 1000
S = 10**9
T0 = 1_700_000_000 * S
"""2023-11-14T22:13:20Z"""

_OTHERS = """
CREATE TABLE IF NOT EXISTS privacy (
    stream INTEGER NOT NULL, first_frame INTEGER NOT NULL, n_frames INTEGER NOT NULL,
    PRIMARY KEY (stream, first_frame)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS health (
    boot INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL, name TEXT NOT NULL,
    value REAL NOT NULL, unit TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (boot, monotonic_ns, name)) STRICT, WITHOUT ROWID;
"""

_CHUNKS = """
CREATE TABLE IF NOT EXISTS bundle (
    bundle INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS chunk (
    bundle INTEGER NOT NULL, stream INTEGER NOT NULL, run_frame INTEGER NOT NULL,
    n INTEGER NOT NULL, channel INTEGER NOT NULL, first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT,
    PRIMARY KEY (bundle, stream, run_frame, n, channel)) STRICT, WITHOUT ROWID;
"""


class MadeState:
    """Boots, streams and their stretches, one call each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(path / "capture.sqlite")
        self.ledger._db.execute("PRAGMA synchronous = OFF")  # nobody cuts the power here
        self.boot = 0

    def reboot(self) -> int:
        self.boot = self.ledger.boot(f"kernel {self.boot + 1}")
        return self.boot

    def anchor(self, monotonic_ns: int, utc_ns: int, trust: str) -> None:
        self.ledger.add_anchor(self.boot, monotonic_ns, utc_ns, trust)

    def stream(self, opened_ns: int, n_channels: int = 1, rate_hz: int = RATE) -> int:
        format_ = Format(rate_hz, n_channels, 2)
        return self.ledger.add_stream(self.boot, "made", format_, opened_ns)

    def segment(
        self, stream: int, first_frame: int, n_frames: int, began_ns: int | None = None
    ) -> str:
        found = self.ledger.stream(stream)
        assert found
        place = Place(found.boot, stream, first_frame)
        if began_ns is None:
            began_ns = found.opened_ns + first_frame * S // found.format.rate_hz
        name = place.file_name("unset")
        self.ledger.begin_segment(place, began_ns, name)
        self.ledger.close_segment(place, n_frames)
        return name

    def gap(self, stream: int, first_frame: int, n_frames: int | None, cause: str) -> None:
        self.ledger.put_gap(stream, first_frame, n_frames, cause)

    def privacy(self, *rows: tuple[int, int, int]) -> None:
        self._insert("capture.sqlite", _OTHERS, "privacy", rows)

    def health(self, *rows: tuple[int, int, str]) -> None:
        """Boot, monotonic time, name."""
        self._insert("capture.sqlite", _OTHERS, "health", [(*row, 1.0, "1", "") for row in rows])

    def chunks(
        self, stream: int, rows: Iterable[tuple[int, int, str]], *, bundle: int = 1,
        channel: int = 0,
    ) -> None:  # fmt: skip
        """Of one run that begins with the stream: first frame, frames, state or ``gated``."""
        name = (bundle, f"bundle {bundle}")
        self._insert("detections.sqlite", _CHUNKS, "bundle", [name])
        self._insert("detections.sqlite", _CHUNKS, "chunk", [
            (bundle, stream, 0, n, channel, first_frame, n_frames,
             *(("skipped", "gated") if state == "gated" else (state, None)))
            for n, (first_frame, n_frames, state) in enumerate(rows)
        ])  # fmt: skip

    def _insert(
        self, file: str, tables: str, table: str, rows: Iterable[tuple[object, ...]]
    ) -> None:
        with sqlite3.connect(self.path / file) as db:
            db.execute("PRAGMA synchronous = OFF")
            db.executescript(tables)
            for row in rows:
                db.execute(
                    f"INSERT OR IGNORE INTO {table} VALUES ({','.join('?' * len(row))})", row
                )
        db.close()
