"""Who writes into a state folder: ``flock`` on a file of it, the number of the process inside.

POSIX only. Where there is no ``fcntl`` no recorder runs, but a folder may be looked at. No numpy:
``edge-probe status`` looks here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from edge_probe.errors import StateError

LOCK = "lock"
"""Name of the file that whoever writes into a state folder holds."""

CLASSIFIER_LOCK = "classifier.lock"
"""The same, of the classifier."""

_ATTEMPTS, _WAIT_S = 10, 0.1
"""Whoever looks whether a recorder lives holds the lock for an instant."""

_NUMBER_BYTES = 20


@contextmanager
def hold(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Be the only one; the kernel lets go when the process ends, however it does.

    Parameters
    ----------
    folder : Path
    name : str
        Of the file.

    Raises
    ------
    StateError
        There is no such folder, or another process holds the lock.
    OSError
        The disk fails.
    """
    import fcntl

    if not folder.is_dir():
        raise StateError(f"{folder}: no such folder", hint="give the recorder's folder")
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        for _ in range(_ATTEMPTS):
            with suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            sleep(_WAIT_S)
        else:
            raise StateError(
                f"{folder}: process {_number_in(fd) or 'unknown'} is writing there",
                hint="stop it first, or use another folder",
            )
        try:
            n_bytes = os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            n_bytes = 0  # a full disk: the lock holds all the same
        os.ftruncate(fd, n_bytes)
        yield
    finally:
        os.close(fd)


def holder(folder: Path, name: str = LOCK) -> int | None:
    """Process id of whoever writes into a state folder, or None.

    Neither a number that was left behind nor one that was given to another process deceives.
    Nothing is written; for an instant the lock is held shared. A process that has not told its
    number yet is 0.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _number_in(fd)
    finally:
        os.close(fd)
    return None


def _number_in(fd: int) -> int:
    """The number that a file holds, or 0."""
    text = os.pread(fd, _NUMBER_BYTES, 0).strip()
    return int(text) if text.isdigit() else 0
