"""One recorder per state folder, and a way to see from outside whether it lives."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Self

from edge_probe.errors import StateError

_NAME = "lock"
_ATTEMPTS, _WAIT_S = 10, 0.1
"""Somebody who looks holds the lock for an instant: that must not keep a recorder from starting."""


class Lock:
    """The recorder's hold on its state folder, for as long as the process lives.

    The kernel lets go of it when the process is gone, however it went. The file stays.

    Parameters
    ----------
    state : Path
        State folder, which exists.

    Raises
    ------
    StateError
        Another recorder holds it.
    OSError
        The file cannot be made.
    """

    def __init__(self, state: Path) -> None:
        self._fd = os.open(state / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(state)
        except BaseException:
            os.close(self._fd)
            raise

    def _take(self, state: Path) -> None:
        for _ in range(_ATTEMPTS):
            with suppress(BlockingIOError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            sleep(_WAIT_S)
        else:
            raise StateError(
                f"{state}: expected to be the only recorder here, found process {_pid(self._fd)}",
                hint="edge-probe status shows what it does; give this one a folder of its own",
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def holder(state: Path) -> int | None:
    """Process id of the recorder that lives in a state folder, or None.

    Nothing is written; 0 stands for a recorder that has not told its number yet.
    """
    try:
        fd = os.open(state / _NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(fd)
    finally:
        os.close(fd)
    return None


def _pid(fd: int) -> int:
    text = os.pread(fd, 20, 0)
    return int(text) if text.strip().isdigit() else 0
