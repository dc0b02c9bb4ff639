"""Levels a second at a time, from a microphone or from the file that a recorder is writing."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO, NamedTuple

from edge_probe.capture.segment import PART, Format
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.clock import Clock
from edge_probe.database import read
from edge_probe.errors import DeviceError
from edge_probe.health.row import Row
from edge_probe.health.signal import Signal
from edge_probe.source.wav import HEADER_BYTES

_POLL_S = 0.25
_PATIENCE_S = 10.0
"""A file that does not grow for so long is not going to."""

_BAR = 24
"""Characters, from `_FLOOR_DBFS` to full scale."""
_FLOOR_DBFS = -72.0


class Block(NamedTuple):
    """Whole frames of one format, in order."""

    format: Format
    frames: bytes


class Levels(NamedTuple):
    """Of one second; 0 dBFS is the peak, or the power, of a sine of full scale."""

    peak_dbfs: float
    rms_dbfs: float
    """Of the loudest channel, like the peak."""


class Meter:
    """Takes blocks; tells of each second, and at the end of all of them.

    Parameters
    ----------
    format_ : Format
    clock : Clock
    """

    def __init__(self, format_: Format, clock: Clock) -> None:
        self._clock = clock
        self._second = Signal(format_, clock)
        self.whole = Signal(format_, clock)
        """Of all of it."""

    def feed(self, frames: bytes) -> Levels | None:
        """Take frames; levels if a second has become full."""
        self._second.feed(frames)
        self.whole.feed(frames)
        rows, _ = self._second.minute(self._clock.monotonic_ns())
        return levels(rows)


def levels(rows: Sequence[Row]) -> Levels | None:
    """Of the loudest channel, from rows as `Signal.minute` gives them; None if there are none."""
    peaks = [row.value for row in rows if row.name.startswith("peak.")]
    powers = [row.value for row in rows if row.name.startswith("rms.")]
    return Levels(max(peaks), max(powers)) if peaks and powers else None


def bar(level: Levels) -> str:
    """``######....|...``: power filled, the peak a line; as wide for any level."""
    filled, peak = (_place(dbfs) for dbfs in level[::-1])
    cells = ["#" if n < filled else "." for n in range(_BAR)]
    cells[max(0, peak - 1)] = "|"
    return "".join(cells)


def _place(dbfs: float) -> int:
    return min(_BAR, max(0, round(_BAR * (1 - dbfs / _FLOOR_DBFS))))


def from_growing_file(state: Path, seconds: float) -> Iterator[Block]:
    """What a recorder is writing now, for so long; its microphone is not touched.

    The newest bytes of a file that grows are only good for a level: whoever keeps audio waits for
    the file's name.

    Raises
    ------
    DeviceError
        Nothing is being written.
    """
    end_s = monotonic() + seconds
    grew_s = monotonic()
    place, file = None, None
    try:
        while monotonic() < end_s:
            frames = _whole_frames(file, place.format) if file and place else b""
            if frames and place:
                grew_s = monotonic()
                yield Block(place.format, frames)
                continue
            newest = read(state / "capture.sqlite", _growing, CAPTURE_VERSION)
            if newest and newest != place and (opened := _open(state, newest)):
                if file:
                    file.close()
                opened.seek(HEADER_BYTES if place else _behind_frames(opened, newest.format))
                place, file = newest, opened
            if monotonic() - grew_s > _PATIENCE_S:
                raise DeviceError(
                    f"the recorder has written no audio for {_PATIENCE_S:.0f} s",
                    hint="edge-probe status says what it does; is the microphone plugged in?",
                )
            sleep(_POLL_S)
    finally:
        if file:
            file.close()


class _Growing(NamedTuple):
    name: str
    format: Format


def _growing(capture: sqlite3.Connection) -> _Growing | None:
    row = capture.execute(
        "SELECT name, rate_hz, n_channels, sample_bytes FROM segment JOIN stream USING (stream)"
        " WHERE n_frames IS NULL ORDER BY stream DESC, first_frame DESC LIMIT 1"
    ).fetchone()
    return row and _Growing(row[0], Format(*row[1:]))


def _open(state: Path, growing: _Growing) -> BinaryIO | None:
    """The file, which may have got its name since, or not be there yet."""
    try:
        return (state / "audio" / (growing.name + PART)).open("rb", buffering=0)
    except FileNotFoundError:
        return None


def _behind_frames(file: BinaryIO, format_: Format) -> int:
    """Where the next frame will be, whole frames from the header on."""
    n_bytes = max(0, file.seek(0, 2) - HEADER_BYTES)
    return HEADER_BYTES + n_bytes // format_.frame_bytes * format_.frame_bytes


def _whole_frames(file: BinaryIO, format_: Format) -> bytes:
    """At most a second; the rest of a frame stays for the next time."""
    begin = file.tell()
    data = file.read(format_.rate_hz * format_.frame_bytes)
    n_bytes = len(data) // format_.frame_bytes * format_.frame_bytes
    file.seek(begin + n_bytes)
    return data[:n_bytes]
