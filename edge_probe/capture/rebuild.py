"""A ledger that cannot be read is put aside; the next one learns from the segments themselves.

Times, causes of gaps and health of before are lost with it; audio is not, and recording goes on.
"""

import logging
import struct
from pathlib import Path

from edge_probe.capture.ledger import DamagedError, Ledger
from edge_probe.capture.segment import Format, Place, frames_in
from edge_probe.source.wav import HEADER_BYTES

_log = logging.getLogger(__name__)


def open_ledger(folder: Path) -> Ledger:
    """The ledger of a state folder; one that is damaged or gone is replaced.

    Raises
    ------
    StateError
        It is of a newer version.
    sqlite3.Error, OSError
        The disk fails.
    """
    path = folder / "capture.sqlite"
    try:
        ledger = Ledger(path)
    except DamagedError as error:
        _log.error("%s; kept as %s", error.message, _put_aside(path).name)
        ledger = Ledger(path)
    try:
        if ledger.last_stream() is None:
            with ledger.transaction():
                _adopt(folder / "audio", ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return path.rename(aside)


def _adopt(audio: Path, ledger: Ledger) -> None:
    """Rows for boots, streams and segments that files speak of."""
    seen = set()
    for path in sorted(audio.iterdir()):
        place, format_ = Place.of(path.name), _format_of(path)
        if place is None or format_ is None:
            continue
        if place.stream not in seen:
            ledger.adopt_stream(place, format_)
            seen.add(place.stream)
        if path.suffix == ".flac" and path.with_suffix(".wav").exists():
            continue  # a leftover
        ledger.begin_segment(place, 0, path.name.removesuffix(".part"))
        if path.suffix == ".flac":
            ledger.close_segment(place, _flac_frames(path))
            ledger.adopt_flac(place, path.stat().st_size)
        elif path.suffix == ".wav":
            ledger.close_segment(place, frames_in(path, format_))


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
