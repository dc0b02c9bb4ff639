"""capture.sqlite: what was recorded, what is missing and why (`SCHEMA.md` is normative).

Only the capture process writes it; others attach it read-only.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from edge_probe.capture.segment import Format, Place
from edge_probe.capture.tables import TABLES, VERSION
from edge_probe.database import bound_log, connect, stay_small, transaction
from edge_probe.errors import StateError
from edge_probe.health.row import Row

CAUSES = ("overflow", "stall", "device", "disk", "power", "schedule")

_PAGE_BYTES = 1024
"""A segment touches half a dozen places; smaller pages, fewer bytes to the card."""

_STRETCHES = (
    "SELECT first_frame, n_frames, NULL AS cause, name FROM segment WHERE stream = :stream"
    " UNION ALL SELECT first_frame, n_frames, cause, NULL FROM gap WHERE stream = :stream"
)

DELETIONS_AT_ONCE = 64
"""Rows of ``deletion`` in one transaction; their files are gone before the next one begins."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment or a gap, as frames of one stream."""

    first_frame: int
    n_frames: int | None
    """None: a segment that grows, or a gap that lasts until the next stream."""
    cause: str | None
    """Of a gap."""
    name: str | None
    """Of a segment's file."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A microphone from its opening to its end."""

    stream: int
    boot: int
    format: Format
    opened_ns: int
    """Monotonic time of frame 0."""
    drift: float
    """Fraction by which the sound card is slower than the clock."""


class Ledger:
    """The open database.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    StateError
        It is of a newer version.
    OSError, sqlite3.Error
        From any method: the disk failed, or the database is damaged. Nothing is acknowledged
        then; open it anew.
    """

    def __init__(self, path: Path) -> None:
        self._db = _open(path)

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def shorten_log(self) -> None:
        """Empty the ``-wal`` file, if nobody looks at it now: the next one has less to do."""
        self._db.execute("PRAGMA busy_timeout = 0")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def connection(self) -> sqlite3.Connection:
        """For `edge_probe.disk`, whose tables these are as well."""
        return self._db

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; safe from a power cut at its end."""
        return transaction(self._db)

    def boot(self, kernel_id: str) -> int:
        """Number of a boot; a new one is counted on."""
        self._db.execute("INSERT OR IGNORE INTO boot (kernel_id) VALUES (?)", (kernel_id,))
        found = self._db.execute("SELECT boot FROM boot WHERE kernel_id = ?", (kernel_id,))
        return int(found.fetchone()[0])

    def add_stream(self, boot: int, device: str, format_: Format, opened_ns: int) -> int:
        """Note a microphone that was opened; returns the number of the stream."""
        added = self._db.execute(
            "INSERT INTO stream (boot, device, rate_hz, n_channels, sample_bytes, opened_ns)"
            " VALUES (?, ?, ?, ?, ?, ?) RETURNING stream",
            (boot, device, format_.rate_hz, format_.n_channels, format_.sample_bytes, opened_ns),
        )
        return int(added.fetchone()[0])

    def adopt_stream(self, place: Place, format_: Format) -> None:
        """Note a stream, and its boot, of which only files are left."""
        self._db.execute(
            "INSERT OR IGNORE INTO boot VALUES (?, ?)", (place.boot, f"unknown {place.boot}")
        )
        self._db.execute(
            "INSERT INTO stream VALUES (?, ?, 'unknown', ?, ?, ?, 0, 0)",
            (place.stream, place.boot, format_.rate_hz, format_.n_channels, format_.sample_bytes),
        )

    def take_up_stream(
        self, stream: int, boot: int, device: str, format_: Format, opened_ns: int
    ) -> None:
        """Note a stream that goes on although it, or its end, is all that is known of it."""
        self._db.execute(
            "INSERT INTO stream VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (stream) DO UPDATE"
            " SET boot = excluded.boot, device = excluded.device, opened_ns = excluded.opened_ns",
            (stream, boot, device, format_.rate_hz, format_.n_channels, format_.sample_bytes,
             opened_ns),
        )  # fmt: skip
        self._db.execute("DELETE FROM gap WHERE stream = ? AND n_frames IS NULL", (stream,))

    def set_timing(self, stream: int, opened_ns: int, drift: float) -> None:
        """Keep what is known better by now of a stream: time of frame 0, drift."""
        self._db.execute(
            "UPDATE stream SET opened_ns = ?, drift = ? WHERE stream = ?",
            (opened_ns, drift, stream),
        )

    def add_anchor(self, boot: int, monotonic_ns: int, utc_ns: int, trust: str) -> None:
        """Note that both clocks were read at one moment."""
        self._db.execute(
            "INSERT OR REPLACE INTO clock_anchor VALUES (?, ?, ?, ?)",
            (boot, monotonic_ns, trust, utc_ns),
        )

    def add_health(self, boot: int, rows: Iterable[Row]) -> None:
        """Keep readings of health."""
        self._db.executemany(
            "INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?, ?, ?)",
            ((boot, row.monotonic_ns, row.name, row.value, row.unit, row.text) for row in rows),
        )

    def forget_anchors(self, boot: int, trust: str) -> None:
        """Forget readings of one level of trust."""
        self._db.execute("DELETE FROM clock_anchor WHERE boot = ? AND trust = ?", (boot, trust))

    def begin_segment(self, place: Place, began_ns: int, name: str) -> None:
        """Note a segment that grows from now on."""
        self._db.execute(
            "INSERT OR REPLACE INTO segment VALUES (?, ?, NULL, ?, ?)",
            (place.stream, place.first_frame, began_ns, name),
        )

    def close_segment(self, place: Place, n_frames: int) -> None:
        """Note that a segment has so many frames for good."""
        self._db.execute(
            "UPDATE segment SET n_frames = ? WHERE stream = ? AND first_frame = ?",
            (n_frames, place.stream, place.first_frame),
        )

    def drop_segment(self, place: Place) -> None:
        """Forget a segment of which not a frame was kept."""
        self._db.execute(
            "DELETE FROM segment WHERE stream = ? AND first_frame = ?",
            (place.stream, place.first_frame),
        )

    def put_gap(self, stream: int, first_frame: int, n_frames: int | None, cause: str) -> None:
        """Note frames that are missing; without ``n_frames`` until the next stream begins."""
        self._db.execute(
            "INSERT OR REPLACE INTO gap VALUES (?, ?, ?, ?)",
            (stream, first_frame, n_frames, cause),
        )

    def last_stream(self) -> Stream | None:
        """The newest stream."""
        (newest,) = self._db.execute("SELECT max(stream) FROM stream").fetchone()
        return self.stream(newest)

    def stream(self, number: int) -> Stream | None:
        """A stream by its number."""
        found = self._db.execute(
            "SELECT stream, boot, rate_hz, n_channels, sample_bytes, opened_ns, drift"
            " FROM stream WHERE stream = ?",
            (number,),
        ).fetchone()
        return found and Stream(found[0], found[1], Format(*found[2:5]), found[5], found[6])

    def growing(self) -> list[tuple[Place, Format, str]]:
        """Segments that were not closed: where, how, and the name of the file.

        In a stream only the last one can be; the others, half a million after a year, are not
        looked at.
        """
        found = self._db.execute(
            "SELECT boot, stream, first_frame, rate_hz, n_channels, sample_bytes, name"
            " FROM stream CROSS JOIN segment USING (stream)"  # in this order
            " WHERE n_frames IS NULL AND first_frame ="
            " (SELECT max(first_frame) FROM segment AS one WHERE one.stream = stream.stream)"
        )
        return [(Place(*row[:3]), Format(*row[3:6]), row[6]) for row in found]

    def has_segment(self, place: Place) -> bool:
        """Whether a segment is noted."""
        found = self._db.execute(
            "SELECT 1 FROM segment WHERE (stream, first_frame) = (?, ?)",
            (place.stream, place.first_frame),
        )
        return found.fetchone() is not None

    def adopt_flac(self, place: Place, n_bytes: int) -> None:
        """Note the size of a segment's file that was found as FLAC."""
        self._db.execute(
            "INSERT INTO transcode VALUES (?, ?, ?)", (place.stream, place.first_frame, n_bytes)
        )

    def newest_deletions(self) -> list[str]:
        """Names of files that may still be there although their deletion was noted."""
        found = self._db.execute(
            "SELECT name FROM deletion ORDER BY deletion DESC LIMIT ?", (DELETIONS_AT_ONCE,)
        )
        return [name for (name,) in found]

    def last_stretch(self, stream: int) -> Stretch | None:
        """The last segment or gap of a stream."""
        found = self._db.execute(
            f"{_STRETCHES} ORDER BY first_frame DESC LIMIT 1", {"stream": stream}
        ).fetchone()
        return found and Stretch(*found)

    def end_frame(self, stream: int) -> int:
        """Behind the last segment or gap of a stream whose frames are known."""
        last = self.last_stretch(stream)
        return last.first_frame + (last.n_frames or 0) if last else 0

    def newest_time(self, stream: Stream) -> tuple[int, int]:
        """A frame of a stream and when it came: the first of its last segment, or frame 0."""
        found = self._db.execute(
            "SELECT first_frame, began_ns FROM segment WHERE stream = ?"
            " ORDER BY first_frame DESC LIMIT 1",
            (stream.stream,),
        ).fetchone()
        return found or (0, stream.opened_ns)

    def utc_ns(self, boot: int, monotonic_ns: int) -> int | None:
        """UTC of a moment of a boot, by its newest reading of a clock that was set, or None.

        For what is decided at once: `edge_probe.deployment.wall` looks at all readings.
        """
        found = self._db.execute(
            "SELECT utc_ns - monotonic_ns FROM clock_anchor WHERE boot = ? AND trust != 'unset'"
            " ORDER BY monotonic_ns DESC LIMIT 1",
            (boot,),
        ).fetchone()
        return found and monotonic_ns + int(found[0])

    def holes(self, stream: int) -> list[tuple[int, int]]:
        """First frame and frames of what lies between two stretches of a stream and is in neither.

        The stretches, hundreds of thousands after a year, are never all in memory.
        """
        found, end = [], 0
        for first_frame, n_frames, *_ in self._db.execute(
            f"{_STRETCHES} ORDER BY first_frame", {"stream": stream}
        ):
            if first_frame > end:
                found.append((end, first_frame - end))
            end = first_frame + (n_frames or 0)
        return found


def _open(path: Path) -> sqlite3.Connection:
    db = connect(path, isolation_level=None, timeout=5)
    try:
        stay_small(db)
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StateError(
                f"{path}: expected version {VERSION} or older, found {version}",
                hint="it was made by a newer edge-probe: install that one",
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        bound_log(db)
        db.execute("PRAGMA foreign_keys = ON")
        if version == 0:
            with transaction(db):
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.close()
        raise
    return db
