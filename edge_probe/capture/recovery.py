"""What a crash or a power cut left in a state folder, put in order before anything is written.

Afterwards every file with a segment's name has a closed row, no stream has frames that are neither
in a segment nor in a gap, and what the ledger calls deleted is deleted.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import PART, Place, finish_part, frames_in, remove_audio

_log = logging.getLogger(__name__)

Safe = Mapping[tuple[int, int], int]
"""Frames known to be safe, by stream and first frame of the file."""


def recover(audio: Path, ledger: Ledger, safe: Safe) -> None:
    """Put things in order.

    Parameters
    ----------
    audio : Path
        Folder of the segments.
    ledger : Ledger
    safe : mapping
        Of files this process wrote and a disk failed on: nothing beyond is to be trusted. Files
        of another process are taken as they are: the kernel kept what it was given, and a power
        cut leaves what reached the card.

    Raises
    ------
    OSError, sqlite3.Error
        The disk fails; it can be called again.
    """
    remove_audio(audio, ledger.newest_deletions())
    for part in sorted(audio.glob(f"*.wav{PART}")):
        _finish(part, ledger, safe)
    last = ledger.last_stream()
    with ledger.transaction():
        streams = {last.stream} if last else set()
        for place, name in ledger.growing():
            path, stream = audio / name, ledger.stream(place.stream)
            if path.exists() and stream is not None:
                ledger.close_segment(place, frames_in(path, stream.format))
            else:
                ledger.drop_segment(place)
            streams.add(place.stream)
        for number in streams:
            for first_frame, n_frames in ledger.holes(number):  # it died before it could say why
                ledger.put_gap(number, first_frame, n_frames, "power")


def _finish(part: Path, ledger: Ledger, safe: Safe) -> None:
    place = Place.of(part.name)
    stream = ledger.stream(place.stream) if place else None
    if place is None or stream is None:
        _log.warning("%s: not in the ledger; left alone", part)
        return
    n_frames = finish_part(part, stream.format, safe.get((place.stream, place.first_frame)))
    _log.info("%s: %d frames rescued", part.name, n_frames)
