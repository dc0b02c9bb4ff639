"""Frames between the sound card's callback and the writer, in memory that is there beforehand."""

from collections import deque
from collections.abc import Sequence
from mmap import ACCESS_COPY, mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_N_STAMPS = 1 << 14
"""Callbacks remembered until the writer looks: at 2 ms each more than half a minute."""


class Stamp(NamedTuple):
    """One block as it came."""

    position: int
    """Behind it."""
    n_delivered: int
    """Frames the sound card gave so far, those that found no room included."""
    at_ns: int
    """Monotonic time."""
    n_flagged: int = 0
    """Losses PortAudio itself has reported so far."""


class Ring:
    """One writer (the callback), one reader; neither waits and nothing is allocated per block.

    Frames are bytes, whatever their sample format. Positions count frames that found room, from 0.

    Parameters
    ----------
    n_frames : int
        Capacity.
    frame_bytes : int
        Channels times bytes per sample.
    """

    def __init__(self, n_frames: int, frame_bytes: int) -> None:
        # Not of the heap, which would keep the room of rings that are gone.
        room = mmap(-1, n_frames * frame_bytes, access=ACCESS_COPY)  # private, on any system
        self._data = np.frombuffer(room, np.uint8).reshape(n_frames, frame_bytes)
        self._data[:] = 0  # its pages are there now, and not when the callback first meets them
        self._stamps = np.full((_N_STAMPS, len(Stamp._fields)), 0, np.int64)
        self._n_stamps = self._n_stamps_read = 0
        self._dropped: deque[tuple[int, int]] = deque()
        self._n_written = self._n_released = self._n_delivered = 0
        self.last_stamp_ns = 0
        """Monotonic time of the last block; 0 before the first."""
        self._n_flagged = 0

    def push(self, block: memoryview | bytes, stamp_ns: int, flagged: bool = False) -> None:
        """Take a block from the sound card: copy, stamp, count.

        Parameters
        ----------
        block : bytes-like, a whole number of frames
        stamp_ns : int
            Monotonic time of delivery.
        flagged : bool
            PortAudio reports a loss before this block.
        """
        frames = np.frombuffer(block, np.uint8).reshape(-1, self._data.shape[1])
        n_frames, size = len(frames), len(self._data)
        self._n_flagged += flagged
        self.last_stamp_ns = stamp_ns
        self._n_delivered += n_frames
        if self._n_written + n_frames - self._n_released > size:
            self._drop(n_frames)
        else:
            at = self._n_written % size
            first = min(n_frames, size - at)
            self._data[at : at + first] = frames[:first]
            self._data[: n_frames - first] = frames[first:]
            self._n_written += n_frames
        stamp = (self._n_written, self._n_delivered, stamp_ns, self._n_flagged)
        self._stamps[self._n_stamps % _N_STAMPS] = stamp
        self._n_stamps += 1

    @property
    def n_frames(self) -> int:
        """Capacity."""
        return len(self._data)

    @property
    def n_written(self) -> int:
        """Position behind the newest frame."""
        return self._n_written

    @property
    def n_flagged(self) -> int:
        """Losses PortAudio itself has reported so far."""
        return self._n_flagged

    @property
    def fill(self) -> float:
        """Share of the room that is taken."""
        return (self._n_written - self._n_released) / len(self._data)

    def stamps(self) -> Sequence[Stamp]:
        """The blocks that came since the last call."""
        n_now = self._n_stamps
        first = max(self._n_stamps_read, n_now - _N_STAMPS + 1)  # older ones may be overwritten
        self._n_stamps_read = n_now
        return [Stamp(*row) for row in self._stamps[np.arange(first, n_now) % _N_STAMPS].tolist()]

    def _drop(self, n_frames: int) -> None:
        """Count; one entry as long as the ring stays full, so that hours of it cost nothing."""
        if self._dropped and self._dropped[-1][0] == self._n_written:
            self._dropped[-1] = self._n_written, self._dropped[-1][1] + n_frames
        else:
            self._dropped.append((self._n_written, n_frames))

    def drops(self, *, at_end: bool = False) -> Sequence[tuple[int, int]]:
        """Where blocks found no room since the last call: position, and frames lost there.

        Told once newer frames are in, or, with ``at_end``, when no more will come: until then the
        callback still counts on.
        """
        found = []
        while self._dropped and (at_end or self._dropped[0][0] < self._n_written):
            found.append(self._dropped.popleft())
        return found

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """A copy of frames [begin, end) as bytes, (end - begin, frame_bytes); they stay here.

        Raises
        ------
        IndexError
            Frames that were released or have not come yet.
        """
        if not self._n_released <= begin <= end <= self._n_written:
            raise IndexError(
                f"frames [{begin}, {end}) of [{self._n_released}, {self._n_written}) are asked for"
            )
        at, n_frames = begin % len(self._data), end - begin
        first = min(n_frames, len(self._data) - at)
        return np.concatenate([self._data[at : at + first], self._data[: n_frames - first]])

    def release(self, position: int) -> None:
        """Give back the room of frames before ``position``: they are safe elsewhere."""
        self._n_released = max(self._n_released, min(position, self._n_written))
