"""What the classifier found, read from its detections.sqlite.

That file may be absent, locked or damaged without any harm to the recording.
"""

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from edge_probe.database import inode, open_to_read
from edge_probe.disk.rows import ORIGIN, Segment

_log = logging.getLogger(__name__)

_DUTY = "SELECT bundle, stream, first_frame FROM duty ORDER BY duty DESC LIMIT 1"
_FIRST_DUTY = "SELECT stream, first_frame FROM duty ORDER BY duty LIMIT 1"
_NEWEST = (
    "SELECT stream, first_frame FROM chunk WHERE bundle = ? AND state != 'tried'"
    " ORDER BY stream DESC, run_frame DESC, n DESC LIMIT 1"
)
_OPEN = (
    "SELECT stream, run_frame, channel, first_n, hop_chunks, open"
    " FROM stint JOIN bundle USING (bundle) WHERE bundle = ? AND open != '[]'"
)
_STINTS = (
    "SELECT stream, run_frame, channel, max(first_n, next_n - window_chunks)"
    " FROM stint JOIN bundle USING (bundle) WHERE bundle = ?"
)
_CHUNK = (
    "SELECT first_frame FROM chunk WHERE (bundle, stream, run_frame, n, channel) = (?, ?, ?, ?, ?)"
)
_LONGEST = (
    "SELECT stream, max(span_n_frames), max(detection) FROM detection NOT INDEXED"
    " WHERE detection > ? GROUP BY stream"
)
_DETECTED = (
    "SELECT EXISTS (SELECT 1 FROM detection WHERE stream = ? AND span_frame < ?"
    " AND span_frame > ? AND span_frame + span_n_frames > ?)"
)
_PRIVATE = (
    "SELECT stream, span_frame, span_n_frames FROM detection WHERE private"
    " AND (stream, span_frame) > (?, ?) AND (stream, span_frame + span_n_frames) > (?, ?)"
    " ORDER BY 1, 2"
)
_RUNS = (
    "SELECT bundle, chunk_s, window_chunks, (SELECT max(run_frame) FROM score_cache AS one"
    " WHERE one.bundle = bundle.bundle AND stream = ? AND run_frame <= ?) FROM bundle"
)
_SCORES = (
    "SELECT first_frame, n_frames, max(score) FROM score_cache"
    " WHERE bundle = ? AND stream = ? AND run_frame = ? AND first_n BETWEEN ? AND ?"
    " AND first_frame >= ? AND first_frame < ? GROUP BY first_frame, n_frames ORDER BY 1"
)

_TIMEOUT_S = 0.5


class Window(NamedTuple):
    """A window the classifier scored."""

    first_frame: int
    n_frames: int
    score: float
    """The highest of its classes and channels."""


class Findings:
    """A read-only look at the classifier's database; for use in one thread.

    Parameters
    ----------
    path : Path
        It may come later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._complaint = ""
        self._is_blind = False
        self._longest: dict[int, int] = {}  # frames of a detection, by stream
        self._n_seen = 0  # detections that are in it

    def look_again(self) -> None:
        """Try to read a database that failed before; until then its audio stays unknown."""
        self._is_blind = False

    def held(self, segment: Segment) -> str:
        """What a segment holds.

        Returns
        -------
        str
            ``detections``, ``nothing``, or ``unknown``: not classified yet, lost, or it cannot be
            read.
        """
        if self._is_blind:
            return "unknown"
        begin, end = segment.first_frame, segment.end_frame
        try:
            if self._is_lost(segment) or not self.is_classified(segment.stream, end):
                return "unknown"
            earliest = begin - self._n_longest(segment.stream)
            ((found,),) = self._ask(_DETECTED, segment.stream, end, earliest, begin)
        except sqlite3.Error as error:
            self._complain(error)
            return "unknown"
        return "detections" if found else "nothing"

    def is_lost(self, segment: Segment) -> bool:
        """Whether a segment is ``unknown`` for ever: what was found is in a damaged database."""
        try:
            return not self._is_blind and self._is_lost(segment)
        except sqlite3.Error as error:
            self._complain(error)
            return False

    def _is_lost(self, segment: Segment) -> bool:
        return any(segment.place < began for began in self._ask(_FIRST_DUTY))

    def is_classified(self, stream: int, end: int) -> bool:
        """Whether the classifier has said all about what lies before a frame of a stream.

        It has not while a window to come looks at it, or a detection there has not ended.

        Raises
        ------
        sqlite3.Error
            Its database cannot be read.
        """
        bundle, _ = self._progress()
        # In this order: what is in no window to come may meanwhile be an open detection.
        return min([self.heard_again(), *self._open(bundle)]) >= (stream, end)

    def _progress(self) -> tuple[int, tuple[int, int]]:
        """The bundle on duty, and the place of its newest chunk: those before have results."""
        duty = self._ask(_DUTY)
        if not duty:
            return 0, ORIGIN
        bundle, *began = duty[0]
        newest = self._ask(_NEWEST, bundle)
        return bundle, max(tuple(began), newest[0] if newest else ORIGIN)

    def heard_again(self) -> tuple[int, int]:
        """Place from which on the classifier may read audio again; what is before it, never.

        The last chunks of a stint are read again by the next worker, if this one dies. A chunk
        reads a little of what lies before it (`edge_probe.chunk`); that is not counted here.

        Raises
        ------
        sqlite3.Error
            Its database cannot be read.
        """
        bundle, done = self._progress()
        places = [done]
        for stream, run_frame, channel, n in self._ask(_STINTS, bundle):
            places += [
                (stream, frame)
                for (frame,) in self._ask(_CHUNK, bundle, stream, run_frame, n, channel)
            ]
        return min(places)

    def _open(self, bundle: int) -> list[tuple[int, int]]:
        """Where detections begin that have not ended; they have no row yet."""
        found = []
        for stream, run_frame, channel, first_n, hop_chunks, text in self._ask(_OPEN, bundle):
            n = first_n + hop_chunks * _first_window(text)
            found += [
                (stream, frame)
                for (frame,) in self._ask(_CHUNK, bundle, stream, run_frame, n, channel)
            ]
        return found

    def scores(self, segment: Segment) -> list[Window] | None:
        """Windows that begin within a segment; None: not all are known yet."""
        if self._is_blind:
            return None
        rate_hz, begin, end = segment.format.rate_hz, segment.first_frame, segment.end_frame
        found: dict[tuple[int, int], float] = {}
        try:
            runs = self._ask(_RUNS, segment.stream, begin)
            longest = max((round(s * chunks * rate_hz) for _, s, chunks, _ in runs), default=0)
            if self._progress()[1] < (segment.stream, end + longest):
                return None
            for bundle, chunk_s, _, run_frame in runs:
                if run_frame is None:
                    continue
                first_n = int((begin - run_frame) / (chunk_s * rate_hz)) - 1
                last_n = int((end - run_frame) / (chunk_s * rate_hz)) + 1
                for first, n_frames, score in self._ask(
                    _SCORES, bundle, segment.stream, run_frame, first_n, last_n, begin, end
                ):
                    found[first, n_frames] = max(score, found.get((first, n_frames), score))
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return [Window(*place, score) for place, score in sorted(found.items())]

    def private(self, place: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Private intervals that end behind a place: stream, first frame, frames; in order.

        They are all windows of a detection, not only what it points at.

        Raises
        ------
        sqlite3.Error
            The classifier's database cannot be read.
        """
        stream, frame = place
        return self._ask(_PRIVATE, stream, frame - self._n_longest(stream), stream, frame)

    def _n_longest(self, stream: int) -> int:
        """Frames of the longest detection of a stream: one that began earlier does not reach.

        Without it each look would go through the detections of all the months before.
        """
        for among, n_frames, newest in self._ask(_LONGEST, self._n_seen):
            self._longest[among] = max(n_frames, self._longest.get(among, 0))
            self._n_seen = max(self._n_seen, newest)
        return self._longest.get(stream, 0)

    def close(self) -> None:
        """Let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _ask(self, query: str, *values: int) -> list[tuple[Any, ...]]:
        """Rows; none as long as the classifier has not made its database."""
        found = inode(self._path)
        if found != self._inode:
            self.close()  # it was damaged, and begun anew
            self._inode = found
        if self._db is None:
            if not found:
                return []
            self._longest, self._n_seen = {}, 0  # it may be another one
            self._db = open_to_read(self._path, _TIMEOUT_S)
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error:
            self.close()
            raise

    def _complain(self, error: sqlite3.Error) -> None:
        self._is_blind = True
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.warning("%s: %s; its audio counts as not classified", self._path.name, error)


def _first_window(text: str) -> int:
    """Of the detections that are open in a stint.

    Raises
    ------
    sqlite3.DatabaseError
        A bit of it has flipped, which SQLite does not see.
    """
    try:
        return min(int(one[1]) for one in json.loads(text))
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise sqlite3.DatabaseError(f"open detections: {error!r}") from error
