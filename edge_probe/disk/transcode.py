"""Closed segments to FLAC, oldest first, when nobody else needs the machine.

The order makes every crash harmless: X.flac.part is written and proven, becomes X.flac, the row
says so, X.wav goes. Until the row, the WAV counts and a FLAC is only a leftover.
"""

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import PART, sync_folder
from edge_probe.disk import rows
from edge_probe.disk.encoder import Abandoned, Encoder
from edge_probe.disk.rows import Segment
from edge_probe.errors import AudioError

_log = logging.getLogger(__name__)

ATTEMPTS = 3
"""After them a segment stays as it is."""

_FLAC_BYTES = (2, 3)
"""Per sample; libsndfile writes no 32-bit FLAC."""


def is_loaded() -> bool:
    """Whether more programs want to run than there are processors, one of them being ours."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) + 1


def is_tight(audio: Path, segment: Segment) -> bool:
    """Whether a FLAC might not fit beside the file of a segment."""
    return shutil.disk_usage(audio).free < 2 * segment.n_bytes


def repair(audio: Path, ledger: Ledger) -> None:
    """Remove what an interrupted encoding left; before anything is encoded, once.

    Raises
    ------
    OSError, sqlite3.Error
        The disk fails.
    """
    db = ledger.connection
    leftovers = list(audio.glob(f"*.flac{PART}"))
    last = rows.last_transcode(db)
    for segment in rows.segments_between(db, *last, last[1] + 1):
        if segment.name.endswith(".flac"):
            leftovers.append((audio / segment.name).with_suffix(".wav"))
    if following := _next(db, last):
        leftovers.append((audio / following.name).with_suffix(".flac"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    sync_folder(audio)


def _next(db: sqlite3.Connection, place: tuple[int, int]) -> Segment | None:
    """The first segment behind a place that can become FLAC."""
    for segment in rows.segments_after(db, place):
        if segment.format.sample_bytes in _FLAC_BYTES and segment.name.endswith(".wav"):
            return segment
    return None


class Transcoder:
    """One segment at a time.

    Parameters
    ----------
    audio : Path
        Folder of the segments.
    encoder : Encoder
    must_stop : callable
        Whether something more important is to be done; asked before and while encoding.
    """

    def __init__(self, audio: Path, encoder: Encoder, must_stop: Callable[[], bool]) -> None:
        self._audio = audio
        self._encoder = encoder
        self._must_stop = must_stop
        self._failed: tuple[tuple[int, int], int] = rows.ORIGIN, 0  # where, how often
        self._looked = rows.ORIGIN  # nothing before it is of use
        self._said = False

    def step(self, ledger: Ledger, settled: tuple[int, int] | None = None) -> bool:
        """Encode the next segment.

        Parameters
        ----------
        ledger : Ledger
        settled : (int, int), optional
            Place of the last segment to encode: audio that may yet have to be overwritten waits.

        Returns
        -------
        bool
            Whether one was encoded; otherwise there is none, or no time or room for it.

        Raises
        ------
        OSError, sqlite3.Error
            The disk fails; nothing is lost by that.
        """
        segment = self._following(ledger.connection)
        waits = segment is None or (settled is not None and segment.place > settled)
        if waits or segment is None or self._must_stop() or is_tight(self._audio, segment):
            self._encoder.stop()  # its memory is of use to others
            return False
        flac = (self._audio / segment.name).with_suffix(".flac")
        part = flac.with_name(flac.name + PART)
        try:
            n_bytes = self._encoder.encode(self._audio / segment.name, part, (), self._must_stop)
        except Abandoned:
            part.unlink(missing_ok=True)
            return False
        except AudioError as error:
            part.unlink(missing_ok=True)
            self._give_up(ledger, segment, error)
            return False
        part.rename(flac)
        sync_folder(self._audio)
        self._swap(ledger, segment, flac, n_bytes)
        return True

    def _swap(self, ledger: Ledger, segment: Segment, flac: Path, n_bytes: int) -> None:
        with ledger.transaction():
            is_deleted = rows.is_deleted(ledger.connection, segment.place)
            if not is_deleted:
                rows.set_transcoded(ledger.connection, segment, flac.name, n_bytes)
        unwanted = flac if is_deleted else flac.with_suffix(".wav")
        unwanted.unlink(missing_ok=True)
        sync_folder(self._audio)

    def _following(self, db: sqlite3.Connection) -> Segment | None:
        place = max(self._looked, rows.last_transcode(db))
        for segment in rows.segments_after(db, place):
            if segment.format.sample_bytes in _FLAC_BYTES and segment.name.endswith(".wav"):
                return segment
            self._looked = segment.place
            if segment.format.sample_bytes not in _FLAC_BYTES and not self._said:
                self._said = True
                _log.info("32-bit segments stay WAV: FLAC holds at most 24 bits here")
        return None

    def _give_up(self, ledger: Ledger, segment: Segment, error: AudioError) -> None:
        where, n_times = self._failed
        self._failed = segment.place, n_times + 1 if where == segment.place else 1
        if self._failed[1] < ATTEMPTS:
            return
        _log.error("%s stays WAV: %s", segment.name, error.message)
        with ledger.transaction():
            rows.set_transcoded(ledger.connection, segment, segment.name, None)
