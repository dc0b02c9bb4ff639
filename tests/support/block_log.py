"""A disk that remembers: a file in a FUSE folder that logs every block write and every flush.

What a power cut can leave is a prefix of the log of which any writes behind the last flush are
missing; the idea is that of dm-log-writes and CrashMonkey (Mohan et al., OSDI 2018).
"""

import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import mfusepy

NAME = "disk"
TOOLS = ("/dev/fuse", "fusermount3")
_HEAD = struct.Struct("=3q")
_FLUSH = -1
_PIECE_BYTES = 4096
"""A disk may tear a write between its blocks."""


class Event(NamedTuple):
    """A write, or a flush."""

    at_ns: int
    """Monotonic time of its arrival."""
    offset: int
    data: bytes | None
    """None: flush."""


class LoggedDisk:
    """The image of a disk as a file whose writes are logged, until the end of the block."""

    def __init__(self, image: Path, log: Path, folder: Path) -> None:
        self._image, self._log, self._folder = image, log, folder

    def __enter__(self) -> Path:
        self._folder.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._image, self._log, self._folder]
        )
        while not (self._folder / NAME).exists():
            assert self._process.poll() is None, "no FUSE"
            time.sleep(0.01)
        return self._folder / NAME

    def __exit__(self, *_: object) -> None:
        subprocess.run(["fusermount3", "-u", self._folder], check=True)
        self._process.wait()


class _Disk(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, image: Path, log: Path) -> None:
        self._disk = os.open(image, os.O_RDWR)
        self._size_bytes = image.stat().st_size
        self._log = log.open("wb")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{NAME}":
            raise mfusepy.FuseOSError(2)
        return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": self._size_bytes}

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._disk, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._note(offset, len(data))
        self._log.write(data)
        return os.pwrite(self._disk, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._note(0, _FLUSH)
        self._log.flush()
        return 0

    def destroy(self, path: str) -> None:
        self._log.close()

    def _note(self, offset: int, size: int) -> None:
        self._log.write(_HEAD.pack(time.monotonic_ns(), offset, size))


def read_log(log: Path) -> list[Event]:
    """What came, in order."""
    events, data, at = [], log.read_bytes(), 0
    while at < len(data):
        at_ns, offset, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        events.append(Event(at_ns, offset, None if size == _FLUSH else data[at : at + size]))
        at += max(0, size)
    return events


class Replay:
    """What a power cut may have left of a disk; later and later cuts of one log.

    Parameters
    ----------
    image : bytes
        The disk before the first event.
    events : sequence of Event
    """

    def __init__(self, image: bytes, events: Sequence[Event]) -> None:
        self._flushed = bytearray(image)
        self._n_flushed = 0
        self._events = events

    def cut(self, n_events: int, chance: Random) -> bytes:
        """The disk after so many events, without some of the writes that were not flushed."""
        flushes = (n for n in range(self._n_flushed, n_events) if self._events[n].data is None)
        n_flushed = max(flushes, default=self._n_flushed)
        for event in self._events[self._n_flushed : n_flushed]:
            _write(self._flushed, event)
        self._n_flushed = n_flushed
        left = bytearray(self._flushed)
        kept = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for event in self._events[n_flushed:n_events]:
            for piece in _pieces(event):
                if chance.random() < kept:
                    _write(left, piece)
        return bytes(left)


def _pieces(event: Event) -> list[Event]:
    data = event.data or b""
    return [
        Event(event.at_ns, event.offset + at, data[at : at + _PIECE_BYTES])
        for at in range(0, len(data), _PIECE_BYTES)
    ]


def _write(disk: bytearray, event: Event) -> None:
    if event.data is not None:
        disk[event.offset : event.offset + len(event.data)] = event.data


if __name__ == "__main__":
    image, log, folder = map(Path, sys.argv[1:])
    mfusepy.FUSE(_Disk(image, log), str(folder), foreground=True, nothreads=True)
