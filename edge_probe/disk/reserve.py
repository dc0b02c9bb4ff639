"""Some bytes kept back, so that a full disk still has room to say that it is full."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

RESERVE_BYTES = 4 << 20
"""A few hundred transactions of either database, or the log of one."""

NAME = "reserve"


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write to the disk of a folder."""
    return shutil.disk_usage(folder).free


def nearest(folder: Path) -> Path:
    """The folder, or, if it is yet to be made, the one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder


class Reserve:
    """A file that gives its room away when the disk is full, and takes it back later.

    Parameters
    ----------
    state : Path
        State folder.
    free : callable
        As `free_bytes`.
    """

    def __init__(self, state: Path, free: Callable[[Path], int] = free_bytes) -> None:
        self._path = state / NAME
        self._free = free

    def settle(self) -> None:
        """Give the room away below `RESERVE_BYTES`, take it back above three times as much.

        Raises
        ------
        OSError
            The disk fails.
        """
        free = self._free(self._path.parent)
        if free < RESERVE_BYTES:
            self._path.unlink(missing_ok=True)
        elif free > 3 * RESERVE_BYTES and not self._path.exists():
            self._take()

    def _take(self) -> None:
        fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        finally:
            os.close(fd)
