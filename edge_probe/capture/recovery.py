"""What a crash or a power cut left in a state folder, put in order before anything is written.

Afterwards no segment of the ledger grows, no stream has frames that are neither in a segment nor in
a gap, and what the ledger calls deleted is deleted. What is looked at does not grow with the
months.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import PART, Format, finish_part, frames_in, remove_audio

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Remains:
    """What is known of the store before; by default nothing."""

    safe: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Frames that may be trusted, by stream and first frame of the file."""
    is_suspect: bool = False
    """SQLite said that the ledger is damaged."""


def recover(audio: Path, ledger: Ledger, remains: Remains) -> None:
    """Put things in order.

    Parameters
    ----------
    audio : Path
        Folder of the segments.
    ledger : Ledger
    remains : Remains
        Of a file this process wrote and a disk failed on nothing beyond what is safe is to be
        trusted. Files of another process are taken as they are: the kernel kept what it was given,
        and a power cut leaves what reached the card.

    Raises
    ------
    OSError, sqlite3.Error
        The disk fails; it can be called again.
    """
    remove_audio(audio, ledger.newest_deletions())
    for place, format_, name in ledger.growing():
        n_safe = remains.safe.get((place.stream, place.first_frame))
        n_frames = _finish(audio / name, format_, n_safe)
        with ledger.transaction():
            if n_frames:
                ledger.close_segment(place, n_frames)
            else:
                ledger.drop_segment(place)
            if n_safe and n_safe > n_frames:  # the writer goes on behind what it believes safe
                end = place.first_frame + n_frames
                ledger.put_gap(place.stream, end, n_safe - n_frames, "disk")


def _finish(path: Path, format_: Format, n_safe: int | None) -> int:
    """Give a segment its header and its name; the frames it holds, none if there is no file."""
    part = path.with_name(path.name + PART)
    if part.exists():
        n_frames = finish_part(part, format_, n_safe)
        _log.info("%s: %d frames rescued", part.name, n_frames)
        return n_frames
    return frames_in(path, format_) if path.exists() else 0
