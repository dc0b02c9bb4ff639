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
        ledger.begin_segment(place, 0, path.name.removesuffix(".part"))
        if path.suffix == ".wav":
            ledger.close_segment(place, frames_in(path, format_))


def _format_of(path: Path) -> Format | None:
    """What the header of a segment says."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or header[:4] != b"RIFF":
        return None
    n_channels, rate_hz, _, _, n_bits = struct.unpack_from("<HIIHH", header, 22)
    return Format(rate_hz, n_channels, n_bits // 8)
