"""What the classifier found, read from its detections.sqlite.

That file may be absent, locked or damaged without any harm to the recording.
"""

import logging
import sqlite3
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)

_PROGRESS = (
    "SELECT stream, first_frame + n_frames FROM chunk ORDER BY stream DESC, first_frame DESC"
    " LIMIT 1"
)
_DETECTED = (
    "SELECT EXISTS (SELECT 1 FROM detection"
    " WHERE stream = ? AND first_frame < ? AND first_frame + n_frames > ?)"
)
_SCORES = (
    "SELECT first_frame, n_frames, max(score) FROM score"
    " WHERE stream = ? AND first_frame >= ? AND first_frame < ? GROUP BY 1, 2 ORDER BY 1"
)
_PRIVATE = (
    "SELECT stream, first_frame, n_frames FROM private"
    " WHERE (stream, first_frame + n_frames) > (?, ?) ORDER BY 1, 2"
)

_TIMEOUT_S = 2


class Window(NamedTuple):
    """A window the classifier scored."""

    first_frame: int
    n_frames: int
    score: float
    """The highest of its classes."""


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
        self._complaint = ""

    def held(self, stream: int, begin: int, end: int) -> str:
        """What the frames [begin, end) of a stream hold.

        Returns
        -------
        str
            ``detections``, ``nothing``, or ``unknown``: not classified yet, or it cannot be read.
        """
        try:
            if not self.is_classified(stream, end):
                return "unknown"
            ((found,),) = self._ask(_DETECTED, stream, end, begin)
        except sqlite3.Error as error:
            self._complain(error)
            return "unknown"
        return "detections" if found else "nothing"

    def is_classified(self, stream: int, end: int) -> bool:
        """Whether the classifier is done with what lies before a frame of a stream.

        Raises
        ------
        sqlite3.Error
            Its database cannot be read.
        """
        newest = self._ask(_PROGRESS)
        return bool(newest) and (newest[0][0] > stream or newest[0] >= (stream, end))

    def scores(self, stream: int, begin: int, end: int) -> list[Window] | None:
        """Windows that begin within [begin, end) of a stream; None: not all are known yet."""
        try:
            if not self.is_classified(stream, end):
                return None
            return [Window(*row) for row in self._ask(_SCORES, stream, begin, end)]
        except sqlite3.Error as error:
            self._complain(error)
            return None

    def private(self, place: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Private intervals that end behind a place: stream, first frame, frames; in order.

        Raises
        ------
        sqlite3.Error
            The classifier's database cannot be read.
        """
        return self._ask(_PRIVATE, *place)

    def close(self) -> None:
        """Let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _ask(self, query: str, *values: int) -> list[tuple]:  # type: ignore[type-arg]
        """Rows; none as long as the classifier has not made its database."""
        if self._db is None:
            if not self._path.exists():
                return []
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S)
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error:
            self.close()
            raise

    def _complain(self, error: sqlite3.Error) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            _log.warning("%s: %s; its audio counts as not classified", self._path.name, error)
