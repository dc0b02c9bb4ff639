"""Files brought from a card, whole or not at all; the card sees nothing of it."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_probe.errors import EdgeProbeError, StateError

BLOCK_BYTES = 1 << 20

_ATTEMPTS = 3
"""A recorder that runs may blank what is private in a file at that very moment."""

Tick = Callable[[int], object]
"""Is told how many bytes were read."""


class WriteError(EdgeProbeError):
    """A disk does not keep what is written to it."""


def copy_file(source: Path, target: Path, tick: Tick = lambda _: None) -> str:
    """Copy a file, read the copy again, and sync it; the time of its last change goes with it.

    Parameters
    ----------
    source : Path
        Not changed, the time of its last reading included where its owner reads it.
    target : Path
        Overwritten.
    tick : callable, optional

    Returns
    -------
    str
        sha256 of both, in hexadecimal digits.

    Raises
    ------
    WriteError
        The copy differs.
    StateError
        The source keeps changing.
    OSError
        A disk fails; ``filename`` says which.
    """
    for _ in range(_ATTEMPTS):
        before = source.stat()
        told = _copy(source, target, tick)
        after = source.stat()
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            break
    else:
        raise StateError(
            f"{source}: changes while it is read", hint="collect it once nobody writes there"
        )
    if sha256_of(target) != told:
        raise WriteError(
            f"{target}: expected what was written, found something else",
            hint="the disk or its cable fails: use another one",
        )
    os.utime(target, ns=(after.st_mtime_ns, after.st_mtime_ns))
    return told


def _copy(source: Path, target: Path, tick: Tick) -> str:
    told = hashlib.sha256()
    with target.open("wb", buffering=0) as out:
        fd = _open_quietly(source)
        try:
            while block := _read(fd, source):
                told.update(block)
                _write(out.fileno(), block, target)
                tick(len(block))
        finally:
            os.close(fd)
        os.fsync(out.fileno())
        _forget(out.fileno())
    return told.hexdigest()


def read_file(path: Path) -> bytes:
    """All of a small file, without a trace."""
    fd = _open_quietly(path)
    try:
        return b"".join(iter(lambda: _read(fd, path), b""))
    finally:
        os.close(fd)


def sha256_of(path: Path, tick: Tick = lambda _: None) -> str:
    """Of a file, in hexadecimal digits.

    Raises
    ------
    OSError
        It cannot be read.
    """
    told = hashlib.sha256()
    fd = _open_quietly(path)
    try:
        while block := _read(fd, path):
            told.update(block)
            tick(len(block))
    finally:
        os.close(fd)
    return told.hexdigest()


def _open_quietly(path: Path) -> int:
    """To read, without a trace; only the owner of a file may ask for that."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    with suppress(PermissionError):
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    return os.open(path, flags)


def _read(fd: int, path: Path) -> bytes:
    try:
        return os.read(fd, BLOCK_BYTES)
    except OSError as error:
        error.filename = str(path)
        raise


def _write(fd: int, block: bytes, path: Path) -> None:
    try:
        left = memoryview(block)
        while left:
            left = left[os.write(fd, left) :]
    except OSError as error:
        error.filename = str(path)
        raise


def _forget(fd: int) -> None:
    """Let what is read next come from the disk, not from memory."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
