"""What this package asks of capture.sqlite, and notes in it (`../SCHEMA.md`)."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edge_probe.capture.segment import Format
from edge_probe.source.wav import HEADER_BYTES

ORIGIN = (0, 0)
"""Before every segment; places here are (stream, first frame)."""

MAX_WINDOW_S = 120
"""Sampled windows are not longer."""

_FEW, _MANY = 4, 128
"""Rows that are read at a time, the first time and at last: most callers want one or two segments,
some want all of months."""

_SEGMENTS = f"""
SELECT segment.stream, segment.first_frame, n_frames, name, rate_hz, n_channels, sample_bytes,
    coalesce(n_bytes, {HEADER_BYTES} + n_frames * n_channels * sample_bytes)
FROM segment JOIN stream USING (stream) LEFT JOIN transcode USING (stream, first_frame)
WHERE n_frames IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM deletion AS gone
    WHERE (gone.stream, gone.first_frame) = (segment.stream, segment.first_frame))
"""
_PLACE = "(segment.stream, segment.first_frame)"


class Segment(NamedTuple):
    """A closed segment whose file is there."""

    stream: int
    first_frame: int
    n_frames: int
    name: str
    format: Format
    n_bytes: int
    """Of its file."""

    @property
    def place(self) -> tuple[int, int]:
        """Its key."""
        return self.stream, self.first_frame

    @property
    def end_frame(self) -> int:
        """Behind its last frame."""
        return self.first_frame + self.n_frames


def _segments(rows: Iterable[tuple[int, int, int, str, int, int, int, int]]) -> list[Segment]:
    return [Segment(*row[:4], Format(*row[4:7]), row[7]) for row in rows]


def segments_after(db: sqlite3.Connection, place: tuple[int, int]) -> Iterator[Segment]:
    """Segments behind a place, in order; rows may change meanwhile."""
    query = f"{_SEGMENTS} AND {_PLACE} > (?, ?) ORDER BY 1, 2 LIMIT ?"
    n_rows = _FEW
    while found := _segments(db.execute(query, (*place, n_rows))):
        yield from found
        place = found[-1].place
        n_rows = min(2 * n_rows, _MANY)


def segments_between(db: sqlite3.Connection, stream: int, begin: int, end: int) -> list[Segment]:
    """Segments of a stream that hold any of the frames [begin, end), in order."""
    query = (
        f"{_SEGMENTS} AND segment.stream = ? AND segment.first_frame < ?"
        " AND segment.first_frame >= coalesce((SELECT max(first_frame) FROM segment"
        " WHERE stream = ? AND first_frame <= ?), 0) ORDER BY 2"
    )
    found = _segments(db.execute(query, (stream, end, stream, begin)))
    return [segment for segment in found if segment.end_frame > begin]


def newest_segment(db: sqlite3.Connection) -> tuple[tuple[int, int], str, bool] | None:
    """Place, file name and whether it is closed, of the segment begun last."""
    found = db.execute(
        "SELECT stream, first_frame, name, n_frames IS NOT NULL FROM segment"
        " ORDER BY stream DESC, first_frame DESC LIMIT 1"
    ).fetchone()
    return found and ((found[0], found[1]), found[2], bool(found[3]))


def is_deleted(db: sqlite3.Connection, place: tuple[int, int]) -> bool:
    """Whether a segment's deletion was noted."""
    query = "SELECT 1 FROM deletion WHERE (stream, first_frame) = (?, ?)"
    return db.execute(query, place).fetchone() is not None


def add_deletions(
    db: sqlite3.Connection,
    segments: Iterable[Segment],
    reason: str,
    held: str,
    moment: tuple[str, int, int],
) -> None:
    """Note that segments are deleted; their files go afterwards.

    Parameters
    ----------
    db : sqlite3.Connection
        In a transaction.
    segments : iterable of Segment
        At most `DELETIONS_AT_ONCE`.
    reason : str
        ``quota`` or ``floor``.
    held : str
        What was in them: ``nothing``, ``detections``, ``unknown`` or ``sample``.
    moment : (str, int, int)
        Boot by the kernel's name of it, monotonic ns, UTC ns.
    """
    db.executemany(
        "INSERT INTO deletion (stream, first_frame, n_frames, name, n_bytes, reason, held, boot,"
        " monotonic_ns, utc_ns) VALUES (?, ?, ?, ?, ?, ?, ?,"
        " (SELECT boot FROM boot WHERE kernel_id = ?), ?, ?)",
        [
            (*s.place, s.n_frames, s.name, s.n_bytes, reason, held, *moment) for s in segments
        ],
    )  # fmt: skip


def progress(db: sqlite3.Connection, chore: str) -> tuple[int, int]:
    """Place up to which a chore is done, with the segment there."""
    query = "SELECT stream, first_frame FROM progress WHERE chore = ?"
    found: tuple[int, int] | None = db.execute(query, (chore,)).fetchone()
    return found or ORIGIN


def set_progress(db: sqlite3.Connection, chore: str, place: tuple[int, int]) -> None:
    """Note how far a chore came."""
    db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", (chore, *place))


def holds_sample(db: sqlite3.Connection, segment: Segment) -> bool:
    """Whether a segment holds frames of a sampled window."""
    (found,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM sample WHERE stream = ? AND first_frame < ?"
        " AND first_frame > ? AND first_frame + n_frames > ?)",
        (
            segment.stream,
            segment.end_frame,
            segment.first_frame - MAX_WINDOW_S * segment.format.rate_hz,
            segment.first_frame,
        ),
    ).fetchone()
    return bool(found)


def last_transcode(db: sqlite3.Connection) -> tuple[int, int]:
    """Place of the segment that was dealt with last."""
    found: tuple[int, int] | None = db.execute(
        "SELECT stream, first_frame FROM transcode ORDER BY stream DESC, first_frame DESC LIMIT 1"
    ).fetchone()
    return found or ORIGIN


def set_transcoded(
    db: sqlite3.Connection, segment: Segment, name: str, n_bytes: int | None
) -> None:
    """Note a segment's new file, or, without ``n_bytes``, that it stays as it is."""
    db.execute(
        "UPDATE segment SET name = ? WHERE (stream, first_frame) = (?, ?)", (name, *segment.place)
    )
    db.execute("INSERT OR REPLACE INTO transcode VALUES (?, ?, ?)", (*segment.place, n_bytes))


def private_pieces(db: sqlite3.Connection, segment: Segment) -> list[tuple[int, int]]:
    """Stretches [begin, end) of a segment that were overwritten, in order."""
    return db.execute(
        "SELECT first_frame, first_frame + n_frames FROM privacy"
        " WHERE stream = ? AND first_frame >= ? AND first_frame < ? ORDER BY first_frame",
        (*segment.place, segment.end_frame),
    ).fetchall()


def add_private_pieces(
    db: sqlite3.Connection, stream: int, pieces: Iterable[tuple[int, int]]
) -> None:
    """Note that stretches [begin, end) are overwritten."""
    db.executemany(
        "INSERT OR REPLACE INTO privacy VALUES (?, ?, ?)",
        [(stream, begin, end - begin) for begin, end in pieces],
    )
