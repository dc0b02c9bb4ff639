"""A ledger that cannot be read is put aside; the next one learns from the segments themselves.

Times, causes of gaps and health of before are lost with it; audio is not, and recording goes on.
"""

import sqlite3
import struct
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.recovery import Remains, recover
from edge_probe.capture.segment import PART, Format, Place, finish_part, frames_in
from edge_probe.database import is_damage, put_aside_if_damaged, settle_log
from edge_probe.source.wav import HEADER_BYTES


def open_ledger(folder: Path, remains: Remains) -> Ledger:
    """The ledger of a state folder, in order; one that is damaged or gone is replaced.

    All of it, half a gigabyte after a year, is read only once SQLite has met damage.

    Parameters
    ----------
    folder : Path
        Holds ``audio/``.
    remains : Remains

    Raises
    ------
    StateError
        It is of a newer version.
    sqlite3.Error, OSError
        The disk fails.
    """
    path = folder / "capture.sqlite"
    if not remains.is_suspect:
        try:
            return _in_order(path, remains)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
    put_aside_if_damaged(path)
    return _in_order(path, remains)


def _in_order(path: Path, remains: Remains) -> Ledger:
    audio, ledger = path.parent / "audio", Ledger(path)
    try:
        settle_log(ledger.connection, path)
        if ledger.last_stream() is None:
            with ledger.transaction():
                _adopt(audio, ledger, remains)
        recover(audio, ledger, remains)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _adopt(audio: Path, ledger: Ledger, remains: Remains) -> None:
    """Rows for all that files speak of; between them are gaps."""
    for stream in adopt_files(audio, ledger, remains):
        for first_frame, n_frames in ledger.holes(stream):
            ledger.put_gap(stream, first_frame, n_frames, "power")
        ledger.put_gap(stream, ledger.end_frame(stream), None, "power")


def adopt_files(audio: Path, ledger: Ledger, remains: Remains) -> set[int]:
    """Note boots, streams and segments that files speak of and the ledger does not know.

    Parameters
    ----------
    audio : Path
        Folder of the segments; those that grew are finished.
    ledger : Ledger
        In a transaction.
    remains : Remains

    Returns
    -------
    set of int
        Streams with new segments.

    Raises
    ------
    sqlite3.Error, OSError
        The disk fails.
    """
    streams = set()
    for name in sorted(path.name for path in audio.iterdir()):
        path, place = audio / name, Place.of(name)
        format_ = _format_of(path) if place else None
        if place is None or format_ is None or ledger.has_segment(place):
            continue
        if path.suffix == ".flac" and path.with_suffix(".wav").exists():
            continue  # a leftover
        n_frames = _frames(path, format_, remains.safe.get((place.stream, place.first_frame)))
        if n_frames == 0:
            continue
        if ledger.stream(place.stream) is None:
            ledger.adopt_stream(place, format_)
        streams.add(place.stream)
        ledger.begin_segment(place, 0, name.removesuffix(PART))
        ledger.close_segment(place, n_frames)
        if path.suffix == ".flac":
            ledger.adopt_flac(place, path.stat().st_size)
    return streams


def _frames(path: Path, format_: Format, n_safe: int | None) -> int:
    """Frames of a segment's file, which is finished if it grew; 0: nothing is in it."""
    if path.suffix == PART:
        return finish_part(path, format_, n_safe)
    return _flac_frames(path) if path.suffix == ".flac" else frames_in(path, format_)


def _format_of(path: Path) -> Format | None:
    """What the header of a segment says."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    if header[:4] == b"fLaC":
        bits = _flac_bits(header)
        return Format(bits >> 44, (bits >> 41 & 7) + 1, ((bits >> 36 & 31) + 1) // 8)
    if header[:4] != b"RIFF":
        return None
    n_channels, rate_hz, _, _, n_bits = struct.unpack_from("<HIIHH", header, 22)
    return Format(rate_hz, n_channels, n_bits // 8)


def _flac_bits(header: bytes) -> int:
    """Rate (20 bits), channels - 1 (3), bits - 1 (5) and frames (36) of STREAMINFO (RFC 9639)."""
    return int.from_bytes(header[18:26], "big")


def _flac_frames(path: Path) -> int:
    with path.open("rb") as file:
        return _flac_bits(file.read(HEADER_BYTES)) & (1 << 36) - 1
