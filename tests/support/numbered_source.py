"""A sound card that numbers its samples, a clock that does as it is told, and a look at the result.

Every frame holds its own number since the card was switched on, so that where a stored frame
belongs is read from the frame itself.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import DTypeLike, NDArray

from edge_probe.source.ring import Ring, Stamp
from edge_probe.source.wav import HEADER_BYTES

Frames = Callable[[int, int], NDArray[np.int32] | NDArray[np.int16]]
"""What a card gives from one number to another: each frame tells its own."""


def numbers(begin: int, end: int) -> NDArray[np.int32]:
    """The number itself."""
    return np.arange(begin, end, dtype="<i4")


@dataclass
class VirtualClock:
    """Moves when told to."""

    now_ns: int = 10**9
    offset_ns: int = 1_700_000_000 * 10**9
    trusted: str = "ntp"
    kernel_id: str = "first"

    def monotonic_ns(self) -> int:
        return self.now_ns

    def utc_ns(self) -> int:
        return self.now_ns + self.offset_ns

    def trust(self) -> str:
        return self.trusted

    def boot(self) -> str:
        return self.kernel_id


@dataclass
class NumberedSource:
    """Pushes 32-bit mono frames into a ring, block by block, at the pace of a clock."""

    ring: Ring
    clock: VirtualClock
    rate_hz: int
    block: int
    drift: float = 0.0
    next_frame: int = 0
    first_number: int = 0
    frames: Frames = numbers
    _base_ns: int = field(init=False)

    def __post_init__(self) -> None:
        self._base_ns = self.clock.now_ns

    def deliver(self, n_blocks: int = 1) -> None:
        """The next blocks, each when it is due."""
        for _ in range(n_blocks):
            self._pass(self.block)
            first = self.first_number + self.next_frame - self.block
            frames = self.frames(first, first + self.block)
            self.ring.push(frames.tobytes(), self.clock.now_ns)

    def lose(self, n_frames: int) -> None:
        """Time passes and these frames never arrive."""
        self._pass(n_frames)

    def _pass(self, n_frames: int) -> None:
        self.next_frame += n_frames
        due = self.next_frame / (self.rate_hz * (1 - self.drift))
        self.clock.now_ns = self._base_ns + round(due * 1e9)


def stamps(
    rate_hz: int,
    block: int,
    n_blocks: int,
    drift: float,
    lateness_s: Callable[[], float],
    lost: Mapping[int, int] = MappingProxyType({}),
) -> Iterator[Stamp]:
    """Of blocks that come late; before some of them frames are lost."""
    n_lost, at_ns = 0, 0
    for number in range(1, n_blocks + 1):
        n_lost += lost.get(number, 0)
        due_s = (number * block + n_lost) / (rate_hz * (1 - drift))
        at_ns = max(at_ns, round((due_s + lateness_s()) * 1e9))
        yield Stamp(number * block, number * block, at_ns)


def samples(path: Path, dtype: DTypeLike = "<i4") -> NDArray[Any]:
    """What is in a segment of a numbered source: FLAC has 16 bits, WAV what ``dtype`` says."""
    if path.suffix == ".flac":
        decoded: NDArray[np.int16] = sf.read(path, dtype="int16")[0]
        return decoded
    return np.fromfile(path, dtype, offset=HEADER_BYTES)


def stretches(
    state: Path, stream: int, *, behind: int = 0
) -> Iterator[tuple[int, int | None, str | None, str | None]]:
    """First frame, frames, cause, name: segments and gaps of a stream in order, from the ledger."""
    with closing(sqlite3.connect(f"file:{state}/capture.sqlite?mode=ro", uri=True)) as db:
        yield from db.execute(
            "SELECT first_frame, n_frames, NULL, name FROM segment"
            " WHERE stream = :s AND first_frame >= :b UNION ALL"
            " SELECT first_frame, n_frames, cause, NULL FROM gap"
            " WHERE stream = :s AND first_frame >= :b ORDER BY 1, 2",
            {"s": stream, "b": behind},
        )


@dataclass
class Auditor:
    """Checks a stream as it grows.

    Without a quota it deletes what it has seen, so that days fit into memory.
    """

    state: Path
    stream: int = 1
    frames: Frames = numbers
    has_quota: bool = False
    end: int = 0
    """Behind the last frame that was seen to be in its place."""
    n_segments: int = 0
    gaps: list[tuple[int, int, str]] = field(default_factory=list)
    """First frame, frames, cause."""

    def audit(self) -> None:
        """Look at all that was closed since the last time."""
        found = list(stretches(self.state, self.stream, behind=self.end))  # a reader holds up WAL
        for first_frame, n_frames, cause, name in found:
            assert first_frame == self.end, f"hole or overlap at {self.end}: {first_frame}"
            if n_frames is None:
                return
            if cause is not None:
                self.gaps.append((first_frame, n_frames, cause))
            else:
                path = self.state / "audio" / str(name)
                _check(
                    path, first_frame, n_frames, self.frames, self._private(first_frame, n_frames)
                )
                if not self.has_quota:
                    path.unlink()
                self.n_segments += 1
            self.end += n_frames

    def _private(self, first_frame: int, n_frames: int) -> list[tuple[int, int]]:
        """What was overwritten of a segment, in its own frames."""
        with closing(sqlite3.connect(f"file:{self.state}/capture.sqlite?mode=ro", uri=True)) as db:
            found = db.execute(
                "SELECT first_frame, n_frames FROM privacy WHERE stream = ? AND first_frame >= ?"
                " AND first_frame < ?", (self.stream, first_frame, first_frame + n_frames),
            )  # fmt: skip
            return [(at - first_frame, at - first_frame + n) for at, n in found]


def account(
    state: Path, stream: int = 1, *, first_number: int = 0, frames: Frames = numbers
) -> list[tuple[int, int, str]]:
    """Check that a stream is whole: no hole, no overlap, every frame in its place.

    Returns
    -------
    Gaps: first frame, frames, cause. The last one may be open: then -1 frames.
    """
    gaps, end = [], 0
    for first_frame, n_frames, cause, name in stretches(state, stream):
        assert first_frame == end, f"hole or overlap at {end}: {first_frame}"
        if cause is not None:
            gaps.append((first_frame, -1 if n_frames is None else n_frames, cause))
        else:
            assert n_frames is not None, f"{name} was not closed"
            _check(state / "audio" / str(name), first_frame + first_number, n_frames, frames)
        end += n_frames or 0
    return gaps


def _check(
    path: Path,
    first_number: int,
    n_frames: int,
    frames: Frames = numbers,
    zeros: Sequence[tuple[int, int]] = (),
) -> None:
    wanted = frames(first_number, first_number + n_frames)
    if zeros:
        wanted = wanted.copy()
    for begin, end in zeros:
        wanted[begin:end] = 0
    np.testing.assert_array_equal(samples(path, wanted.dtype), wanted, err_msg=path.name)
