"""What a recorder that died left behind, held against what it had said."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.journal import Said
from support.numbered_source import account, samples, stretches
from support.victim import FORMAT, RATE, RUN_FRAMES

from edge_probe.capture.ledger import CAUSES
from edge_probe.capture.segment import Place, header
from edge_probe.source.wav import HEADER_BYTES

Found = tuple[int, int | None, str | None, str | None]
"""First frame, frames, cause of a gap, name of a segment."""


def check_visible(audio: Path) -> int:
    """Every file with a segment's name holds what its name and its header say; returns how many."""
    paths = sorted(audio.glob("*.wav"))
    for path in paths:
        place, frames = Place.of(path.name), samples(path)
        assert place is not None, path.name
        assert len(frames) > 0, path.name
        with path.open("rb") as file:
            assert file.read(HEADER_BYTES) == header(FORMAT, len(frames)), path.name
        assert frames[0] % RUN_FRAMES == place.first_frame, path.name
        assert (np.diff(frames) == 1).all(), path.name
    return len(paths)


@dataclass(slots=True)
class Aftermath:
    """A state folder, and what was said by those who died there: tell `add`, then `check`."""

    state: Path
    _synced: dict[tuple[int, int], int] = field(default_factory=dict)
    _closed: dict[tuple[int, int], int] = field(default_factory=dict)
    _gaps: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    _delivered: dict[int, int] = field(default_factory=dict)
    """Frames the sound card gave, by run; those that were not looked at yet."""

    def add(self, rows: NDArray[np.int64], run: int) -> None:
        """Believe what a victim said before it died."""
        self._delivered[run] = 0
        for _, what, *numbers in rows.tolist():
            match what:
                case Said.DELIVERED:
                    self._delivered[run] = numbers[0]
                case Said.SYNCED:
                    self._synced[numbers[0], numbers[1]] = numbers[2]
                case Said.CLOSED:
                    self._closed[numbers[0], numbers[1]] = numbers[2]
                case Said.GAP:
                    self._gaps[numbers[0], numbers[1]] = numbers[2], CAUSES[numbers[3]]

    def check(self) -> list[float]:
        """After a recovery: what was acknowledged is there, streams are whole, nothing lies about.

        Returns
        -------
        list of float
            Of each victim since the last call, seconds of audio that the sound card gave and that
            are in no segment.
        """
        with closing(sqlite3.connect(self.state / "capture.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            names = {name for (name,) in db.execute("SELECT name FROM segment")}
            streams = db.execute(
                "SELECT stream, device, boot, opened_ns FROM stream ORDER BY stream"
            ).fetchall()
        files = {path.name for path in (self.state / "audio").iterdir()}
        assert files == names, f"files without a row, or rows without a file: {files ^ names}"
        check_visible(self.state / "audio")
        for this, after in pairwise([*streams, None]):
            stream, device, *_ = this
            run = int(device.removeprefix("run "))
            account(self.state, stream, first_number=run * RUN_FRAMES)
            found = list(stretches(self.state, stream))
            self._compare(stream, found)
            if after:
                _check_bridge(this, found, after)
            if run in self._delivered:
                self._delivered[run] -= sum(n or 0 for _, n, cause, _ in found if not cause)
        lost = [n_frames / RATE for n_frames in self._delivered.values()]
        self._delivered.clear()
        return lost

    def _compare(self, stream: int, found: list[Found]) -> None:
        """Acknowledged frames and rows of a stream; an open gap may have been closed since."""
        segments = {first: n for first, n, cause, _ in found if not cause}
        gaps = {first: (n, cause) for first, n, cause, _ in found if cause}
        for (of, first), n_frames in self._synced.items():
            if of == stream and n_frames:
                assert (segments.get(first) or 0) >= n_frames, f"segment {stream}, {first}"
        for (of, first), n_frames in self._closed.items():
            if of == stream:
                assert segments.get(first) == n_frames, f"segment {stream}, {first}"
        for (of, first), (n_acked, cause) in self._gaps.items():
            if of == stream:
                assert gaps[first][1] == cause, f"gap {stream}, {first}"
                assert n_acked in (-1, gaps[first][0]), f"gap {stream}, {first}"


def _check_bridge(stream: tuple, found: list[Found], after: tuple) -> None:
    """The last gap of a stream reaches to the next one, if one clock saw both."""
    first_frame, n_frames, cause, _ = found[-1]
    assert cause, f"no gap after stream {stream[0]}"
    if stream[2] == after[2]:
        assert n_frames is not None
        elapsed_s = (after[3] - stream[3]) * 1e-9
        assert abs(first_frame + n_frames - elapsed_s * RATE) <= 2
