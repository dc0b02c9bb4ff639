"""Zeros where somebody spoke: private intervals of the classifier, widened, in kept segments.

Overwriting comes before the row that says so: after a crash it is done again, with the same result.
Nothing is overwritten that the classifier may still hear, or hear again after a crash: zeros would
hide from it what else there is.
It reduces what is kept of people; it does not guarantee anything. What the classifier does not
hear stays, and flash memory may hold old copies of overwritten blocks.
"""

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import PART, sync_folder
from edge_probe.disk import rows
from edge_probe.disk.encoder import Encoder
from edge_probe.disk.findings import Findings
from edge_probe.disk.rows import Segment
from edge_probe.disk.transcode import ATTEMPTS, is_tight
from edge_probe.errors import AudioError
from edge_probe.source.wav import HEADER_BYTES

_log = logging.getLogger(__name__)

Pieces = list[tuple[int, int]]
"""Frames [begin, end) of a stream, in order, without overlap."""

_ZEROS = bytes(1 << 16)
_SEGMENTS_AT_ONCE = 500

_CONTEXT_S = 0.5
"""A chunk is resampled from audio that begins a little before it (`edge_probe.chunk`), at most
0.26 s where recorder and encoder have 8 kHz or more."""


def merged(intervals: Iterable[tuple[int, int]]) -> Pieces:
    """The union of intervals [begin, end)."""
    union: Pieces = []
    for begin, end in sorted(intervals):
        if union and begin <= union[-1][1]:
            union[-1] = union[-1][0], max(union[-1][1], end)
        elif begin < end:
            union.append((begin, end))
    return union


def without(pieces: Pieces, done: Pieces) -> Pieces:
    """What of some pieces is not in others."""
    left: Pieces = []
    for begin, end in pieces:
        for done_begin, done_end in done:
            if begin < done_begin < end:
                left.append((begin, done_begin))
            if done_begin < end and done_end > begin:
                begin = max(begin, done_end)
        if begin < end:
            left.append((begin, end))
    return left


def overwrite(path: Path, segment: Segment, pieces: Pieces) -> None:
    """Zeros into a WAV, to the frame, safe from a power cut.

    Raises
    ------
    OSError
        The disk fails, or the file is not there.
    """
    size = segment.format.frame_bytes
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for begin, end in pieces:
            at = HEADER_BYTES + (begin - segment.first_frame) * size
            stop = HEADER_BYTES + (end - segment.first_frame) * size
            while at < stop:
                at += os.pwrite(fd, _ZEROS[: stop - at], at)
        os.fdatasync(fd)
    finally:
        os.close(fd)


class Privacy:
    """Overwrites what the classifier calls private, in every segment that is still there.

    Parameters
    ----------
    audio : Path
        Folder of the segments.
    findings : Findings
    encoder : Encoder
    margin_s : float
        Added on both sides: speech begins before and ends after what a classifier hears of it.
    must_stop : callable
        Whether the program is about to end.
    """

    def __init__(
        self,
        audio: Path,
        findings: Findings,
        encoder: Encoder,
        margin_s: float,
        must_stop: Callable[[], bool],
    ) -> None:
        self._audio = audio
        self._findings = findings
        self._encoder = encoder
        self._margin_s = margin_s
        self._must_stop = must_stop
        self._n_failed: Counter[tuple[int, int]] = Counter()
        self._done = rows.ORIGIN  # beyond what is kept where a file resists

    def step(self, ledger: Ledger) -> tuple[int, int]:
        """Overwrite what is known to be private by now.

        Returns
        -------
        (int, int)
            Place of the last segment in which nothing more can become private.

        Raises
        ------
        OSError, sqlite3.Error
            The disk fails, or the classifier's database cannot be read.
        Abandoned
            ``must_stop`` said so.
        """
        db = ledger.connection
        rates = dict(db.execute("SELECT stream, rate_hz FROM stream").fetchall())
        margins = {stream: round(self._margin_s * rate_hz) for stream, rate_hz in rates.items()}
        done = max(rows.progress(db, "privacy"), self._done)
        stream, frame = self._findings.heard_again()
        heard = stream, frame - round(_CONTEXT_S * rates.get(stream, 0))
        settled = self._settled(db, done, margins, heard)
        waits = [not self._is_through(ledger, *one) for one in self._due(db, done, margins, heard)]
        if any(waits):
            return done
        if settled != done and not self._n_failed:
            with ledger.transaction():
                rows.set_progress(db, "privacy", settled)
        self._done = settled
        return settled

    def _is_through(self, ledger: Ledger, segment: Segment, pieces: Pieces) -> bool:
        """Overwrite pieces; False: try again. A file that resists does not hold up the others."""
        if self._n_failed[segment.place] == ATTEMPTS:
            return True  # until the next start
        if segment.name.endswith(".flac") and is_tight(self._audio, segment):
            return False
        try:
            self._silence(ledger, segment, pieces)
        except AudioError as error:
            self._n_failed[segment.place] += 1
            if self._n_failed[segment.place] == ATTEMPTS:
                _log.error("what is private in %s stays in it: %s", segment.name, error.message)
                return True
            return False
        self._n_failed.pop(segment.place, None)
        return True

    def _settled(
        self,
        db: sqlite3.Connection,
        done: tuple[int, int],
        margins: dict[int, int],
        heard: tuple[int, int],
    ) -> tuple[int, int]:
        """The last segment whose surroundings are classified; asked before what is private."""
        for segment in islice(rows.segments_after(db, done), _SEGMENTS_AT_ONCE):
            end = segment.end_frame + margins[segment.stream]
            is_heard = heard >= (segment.stream, segment.end_frame)
            if not is_heard or not self._findings.is_classified(segment.stream, end):
                break
            done = segment.place
        return done

    def _due(
        self,
        db: sqlite3.Connection,
        done: tuple[int, int],
        margins: dict[int, int],
        heard: tuple[int, int],
    ) -> Iterator[tuple[Segment, Pieces]]:
        """Segments with what can be overwritten in them now: all before a place."""
        intervals: dict[int, list[tuple[int, int]]] = {}
        for stream, first, n_frames in self._findings.private(
            (done[0], done[1] - margins.get(done[0], 0))
        ):
            margin = margins.get(stream, 0)
            begin, end = first - margin, first + n_frames + margin
            if stream == heard[0]:
                end = min(end, heard[1])
            if stream <= heard[0] and begin < end:
                intervals.setdefault(stream, []).append((begin, end))
        for stream, found in intervals.items():
            private = merged(found)
            for segment in {
                segment.place: segment
                for piece in private
                for segment in rows.segments_between(db, stream, *piece)
            }.values():
                inside = merged(
                    (max(begin, segment.first_frame), min(end, segment.end_frame))
                    for begin, end in private
                    if begin < segment.end_frame and end > segment.first_frame
                )
                if left := without(inside, rows.private_pieces(db, segment)):
                    yield segment, left

    def _silence(self, ledger: Ledger, segment: Segment, pieces: Pieces) -> None:
        path, n_bytes = self._audio / segment.name, None
        try:
            if path.suffix == ".flac":
                n_bytes = self._encode_again(path, segment, pieces)
            else:
                overwrite(path, segment, pieces)
        except FileNotFoundError:
            _log.warning("%s is not there, and so nothing private of it", path.name)
        with ledger.transaction():
            is_deleted = rows.is_deleted(ledger.connection, segment.place)
            if not is_deleted:
                rows.add_private_pieces(ledger.connection, segment.stream, pieces)
                if n_bytes is not None:
                    rows.set_transcoded(ledger.connection, segment, path.name, n_bytes)
        if is_deleted:
            path.unlink(missing_ok=True)

    def _encode_again(self, path: Path, segment: Segment, pieces: Sequence[tuple[int, int]]) -> int:
        part = path.with_name(path.name + PART)
        first = segment.first_frame
        silences = [(begin - first, end - first) for begin, end in pieces]
        try:
            n_bytes = self._encoder.encode(path, part, silences, self._must_stop)
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(self._audio)
        return n_bytes
