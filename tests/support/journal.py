"""What a process says in shared memory: it survives its death, and saying it is no system call."""

import mmap
import struct
import time
from bisect import bisect_left
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ROW = struct.Struct("=6q")
_KIND = struct.Struct("=q")
_MOST_ROWS = 1 << 20
"""Untouched pages of a sparse file cost nothing."""


class Said(IntEnum):
    """What a row is about, and its numbers."""

    BEGUN = 1
    """The process is about to open its state folder."""
    DELIVERED = 2
    """Frames the sound card gave so far; the number of the next one."""
    SYNCED = 3
    """Stream, first frame of a growing segment, frames of it that are safe."""
    CLOSED = 4
    """Stream, first frame, frames of a segment whose row was committed."""
    GAP = 5
    """Stream, first frame, frames (-1: open), index of the cause."""
    ENDED = 6
    """Whether all of it is on the disk."""
    COMMITTED = 7
    """Number of the newest detection that is safe, results of chunks that this life made safe."""
    IDLE = 8
    """There is nothing to do."""


class Journal:
    """Rows (monotonic ns, `Said`, four numbers), appended by one process and read by others."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(_MOST_ROWS * _ROW.size)
            self._map = mmap.mmap(file.fileno(), 0)
        self._n_rows = 0

    def say(self, what: Said, *numbers: int) -> None:
        """Append a row; a row is valid when its kind is there, which is written last."""
        at = self._n_rows * _ROW.size
        _ROW.pack_into(self._map, at, time.monotonic_ns(), 0, *numbers, *[0] * (4 - len(numbers)))
        _KIND.pack_into(self._map, at + 8, what)
        self._n_rows += 1

    def let_go(self) -> None:
        """Tell the process that it may go on; the last row is for that."""
        _KIND.pack_into(self._map, (_MOST_ROWS - 1) * _ROW.size, 1)

    @property
    def may_go(self) -> bool:
        """Whether it may."""
        return _KIND.unpack_from(self._map, (_MOST_ROWS - 1) * _ROW.size) == (1,)

    def rows(self, before_ns: int | None = None) -> NDArray[np.int64]:
        """All rows so far, (n, 6), or those before a moment."""
        n_rows = bisect_left(range(_MOST_ROWS - 1), True, key=lambda row: not self._has(row))
        rows = np.frombuffer(self._map, np.int64, 6 * n_rows).reshape(-1, 6).copy()
        return rows if before_ns is None else rows[rows[:, 0] < before_ns]

    @property
    def has_begun(self) -> bool:
        """Whether the process has said anything yet."""
        return self._has(0)

    def _has(self, row: int) -> bool:
        return _KIND.unpack_from(self._map, row * _ROW.size + 8) != (0,)
