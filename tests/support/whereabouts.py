"""What became of the frames of a card that numbers them: what is missing, and what the ledger says.

Frames are counted from the first one that was recorded, over all streams, as the ledger counts.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from support.numbered_microphone import RATE
from support.numbered_source import samples, stretches

NEAR_FRAMES = RATE
"""A loss is booked where blocks began to be late: up to a second before the frames that are missing
where nobody has time."""


class Jump(NamedTuple):
    """Two recorded frames that follow each other and whose numbers do not."""

    frame: int
    """Where the second one is, as the ledger counts."""
    n_frames: int
    """Left out."""


class Gap(NamedTuple):
    """A gap of the ledger."""

    frame: int
    n_frames: int
    cause: str
    n_missing: int
    """By the numbers around it."""

    @property
    def error_s(self) -> float:
        """By which it is too long or too short."""
        return abs(self.n_frames - self.n_missing) / RATE


@dataclass
class Whereabouts:
    """Of all frames since the first one that was recorded.

    Parameters
    ----------
    state : Path
        State folder.
    first_stream : int
        Those before are not of this card.
    """

    state: Path
    first_stream: int = 1
    n_streams: int = field(init=False)
    n_recorded: int = 0
    gaps: list[Gap] = field(default_factory=list)
    unaccounted: list[Jump] = field(default_factory=list)
    """Jumps that are in no gap."""

    def __post_init__(self) -> None:
        with closing(sqlite3.connect(f"file:{self.state}/capture.sqlite?mode=ro", uri=True)) as db:
            (last,) = db.execute("SELECT max(stream) FROM stream").fetchone()
        self.n_streams = last - self.first_stream + 1
        booked: list[tuple[int, int, str]] = []
        self.unaccounted = list(self._jumps(booked))
        for frame, n_frames, cause in booked:
            begin, end = frame - NEAR_FRAMES, frame + n_frames + NEAR_FRAMES
            here = [jump for jump in self.unaccounted if begin <= jump.frame <= end]
            self.unaccounted = [jump for jump in self.unaccounted if jump not in here]
            self.gaps.append(Gap(frame, n_frames, cause, sum(jump.n_frames for jump in here)))

    def _jumps(self, booked: list[tuple[int, int, str]]) -> Iterator[Jump]:
        """Go through what was recorded; gaps are noted on the way."""
        base, expected = 0, None
        for stream in range(self.first_stream, self.first_stream + self.n_streams):
            end = 0
            for first_frame, n_frames, cause, name in stretches(self.state, stream):
                assert first_frame == end, f"stream {stream}: hole or overlap at {end}"
                if name is None:
                    booked.append((base + first_frame, n_frames or 0, str(cause)))
                else:
                    numbers = samples(self.state / "audio" / name)
                    assert len(numbers) == n_frames, name
                    at = base + first_frame
                    if expected is not None and numbers[0] != expected:
                        yield Jump(at, int(numbers[0]) - expected)
                    for n in np.flatnonzero(np.diff(numbers) != 1).tolist():
                        yield Jump(at + n + 1, int(numbers[n + 1] - numbers[n]) - 1)
                    expected = int(numbers[-1]) + 1
                    self.n_recorded += n_frames
                end += n_frames or 0
            base += end
