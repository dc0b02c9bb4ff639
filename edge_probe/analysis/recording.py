"""What was recorded, seen from outside: gap-free runs of closed segments, read at random.

Nothing is written. Segments that still grow are not looked at.
"""

import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_probe.analysis.rows import Duty
from edge_probe.capture.tables import VERSION
from edge_probe.database import inode, open_to_read
from edge_probe.errors import AudioError, StateError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_SEGMENT_AT = (
    "coalesce((SELECT max(first_frame) FROM segment"
    " WHERE stream = :stream AND first_frame <= :{0}), 0)"
)
"""First frame of the segment that holds a frame."""

_BACKWARDS = (
    "SELECT stream, first_frame, n_frames * 1.0 / rate_hz FROM segment JOIN stream USING (stream)"
    " WHERE n_frames IS NOT NULL ORDER BY stream DESC, first_frame DESC"
)


@dataclass(frozen=True, slots=True)
class AudioRun:
    """Segments of one stream that follow each other without a gap, as far as they are closed."""

    stream: int
    first_frame: int
    n_frames: int
    is_finished: bool
    """Nothing follows: a gap does."""
    rate_hz: int
    n_channels: int


class LostAudioError(AudioError):
    """Audio that was recorded and cannot be read any more.

    Parameters
    ----------
    message : str
    reason : "deleted" or "unreadable"
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, hint="its chunks are skipped; the ledger says what was deleted")
        self.reason = reason


class Recording:
    """The segments of a state folder.

    Parameters
    ----------
    folder : Path
        State folder; it may be empty as yet.

    Raises
    ------
    StateError
        From any method: the ledger is of a newer version.
    sqlite3.Error
        From any method: the disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._audio = folder / "audio"
        self._path = folder / "capture.sqlite"
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    def close(self) -> None:
        """Let go of it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def next_run(self, stream: int, first_frame: int) -> AudioRun | None:
        """The first run that begins at this frame or later, once it has a closed segment."""
        found = self._rows(
            "SELECT stream, first_frame, n_frames, rate_hz, n_channels"
            " FROM segment JOIN stream USING (stream)"
            " WHERE (stream, first_frame) >= (?, ?) AND n_frames IS NOT NULL"
            " ORDER BY stream, first_frame LIMIT 1",
            stream, first_frame,
        )  # fmt: skip
        for stream, first_frame, n_frames, rate_hz, n_channels in found:
            run = AudioRun(stream, first_frame, n_frames, False, rate_hz, n_channels)
            return self.grown(run)
        return None

    def grown(self, run: AudioRun) -> AudioRun:
        """A run as it is by now."""
        end = run.first_frame + run.n_frames
        for first_frame, n_frames in self._rows(
            "SELECT first_frame, n_frames FROM segment WHERE stream = ? AND first_frame >= ?"
            " AND n_frames IS NOT NULL ORDER BY first_frame",
            run.stream, end,
        ):  # fmt: skip
            if first_frame != end:
                break
            end += n_frames
        gap = self._rows("SELECT 1 FROM gap WHERE (stream, first_frame) = (?, ?)", run.stream, end)
        return replace(run, n_frames=end - run.first_frame, is_finished=bool(gap))

    def waiting_s(self, stream: int, frame: int) -> float:
        """Seconds of audio in closed segments from a frame on."""
        found = self._rows(
            "SELECT total((n_frames - CASE WHEN stream = :stream"
            " THEN min(n_frames, max(0, :frame - first_frame)) ELSE 0 END) * 1.0 / rate_hz)"
            " FROM segment JOIN stream USING (stream) WHERE n_frames IS NOT NULL AND"
            f" (stream, first_frame) >= (:stream, {_SEGMENT_AT.format('frame')})",
            stream=stream, frame=frame,
        )  # fmt: skip
        return float(found[0][0]) if found else 0.0

    def newest_s(self) -> float:
        """Seconds of audio in the segment that was closed last."""
        found = self._rows(
            "SELECT n_frames * 1.0 / rate_hz FROM segment JOIN stream USING (stream)"
            " WHERE n_frames IS NOT NULL ORDER BY stream DESC, first_frame DESC LIMIT 1"
        )
        return float(found[0][0]) if found else 0.0

    def newest(self, seconds: float) -> Duty:
        """Where the newest closed segment begins, or one so many seconds before it.

        Parameters
        ----------
        seconds : float
            Of audio, at most: segments are not cut.
        """
        place, left_s = (0, 0), None
        db = self._ledger()
        for stream, first_frame, length_s in db.execute(_BACKWARDS) if db else ():
            if left_s is not None and left_s < length_s:
                break
            place, left_s = (stream, first_frame), seconds if left_s is None else left_s - length_s
        gap = self._rows(
            "SELECT first_frame + n_frames FROM gap WHERE stream = ? AND first_frame < ?"
            " ORDER BY first_frame DESC LIMIT 1",
            *place,
        )
        return Duty(place[0], gap[0][0] if gap else 0, place[1])

    def read(self, run: AudioRun, channel: int, begin: int, end: int) -> "NDArray[np.float32]":
        """Samples of one channel, across the borders of segments.

        Parameters
        ----------
        run : AudioRun
        channel : int
            Counted from 0.
        begin, end : int
            Frames counted from the first one of the run; they must be in it.

        Returns
        -------
        (end - begin,) float32
            Full scale ±1.

        Raises
        ------
        LostAudioError
            A segment was deleted, or cannot be read.
        """
        import numpy as np

        begin, end = run.first_frame + begin, run.first_frame + end
        parts = []
        for first_frame, n_frames, name in self._rows(
            "SELECT first_frame, n_frames, name FROM segment WHERE stream = :stream AND"
            f" first_frame >= {_SEGMENT_AT.format('begin')} AND first_frame < :end"
            " ORDER BY first_frame",
            stream=run.stream, begin=begin, end=end,
        ):  # fmt: skip
            cut = max(begin, first_frame) - first_frame, min(end, first_frame + n_frames)
            parts.append(self._read_segment(name, channel, cut[0], cut[1] - first_frame))
        return np.concatenate(parts)

    def _read_segment(self, name: str, channel: int, begin: int, end: int) -> "NDArray[np.float32]":
        """From the WAV, or from the FLAC that took its place."""
        from edge_probe.source.files import AudioFile

        for path in (self._audio / name, (self._audio / name).with_suffix(".flac")):
            try:
                with AudioFile(path, channel) as audio:
                    return audio.read(begin, end)
            except AudioError as error:
                if path.exists():
                    raise LostAudioError(error.message, "unreadable") from error
        raise LostAudioError(f"{name}: was deleted", "deleted")

    def _ledger(self) -> sqlite3.Connection | None:
        """Opened as soon as capture has made it, and anew when capture has begun another one."""
        found = inode(self._path)
        if found != self._inode:
            self.close()
            self._inode = found
        if self._db is None and found:
            db = open_to_read(self._path)
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise StateError(
                    f"{self._path}: expected version {VERSION} or older, found {version}",
                    hint="it was made by a newer edge-probe: install that one",
                )
            if version == 0:  # its tables are about to be made
                db.close()
            else:
                self._db = db
        return self._db

    def _rows(self, query: str, *places: int, **names: int) -> list[tuple[Any, ...]]:
        db = self._ledger()
        return db.execute(query, places or names).fetchall() if db else []
