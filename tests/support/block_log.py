"""A disk that remembers: a file in a FUSE folder that logs every block write and every flush.

What a power cut can leave is a prefix of the log of which any writes behind the last flush are
missing; the idea is that of dm-log-writes and CrashMonkey (Mohan et al., OSDI 2018).
"""

import mmap
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from support.child import environment

DISK = "disk"
"""Name of the file."""

TOOLS = ("/dev/fuse", "fusermount3", "mfusepy")
HEAD = struct.Struct("=3q")
"""Of an event: monotonic time of its arrival in ns, offset, bytes that follow or `FLUSH`."""

FLUSH = -1
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
        fuse_disk = Path(__file__).with_name("fuse_disk.py")
        self._process = subprocess.Popen(
            [sys.executable, fuse_disk, self._image, self._log, self._folder], env=environment()
        )
        while not (self._folder / DISK).exists():
            assert self._process.poll() is None, "no FUSE"
            time.sleep(0.01)
        return self._folder / DISK

    def __exit__(self, *_: object) -> None:
        subprocess.run(["fusermount3", "-u", self._folder], check=True)
        self._process.wait()


def read_log(log: Path) -> list[Event]:
    """What came, in order."""
    events, data, at = [], log.read_bytes(), 0
    while at < len(data):
        at_ns, offset, size = HEAD.unpack_from(data, at)
        at += HEAD.size
        events.append(Event(at_ns, offset, None if size == FLUSH else data[at : at + size]))
        at += max(0, size)
    return events


class Replay:
    """What a power cut may have left of a disk; later and later cuts of one log.

    Parameters
    ----------
    before : bytes
        The disk before the first event.
    events : sequence of Event
    image : Path
        Made here; each cut makes it what was left.
    """

    def __init__(self, before: bytes, events: Sequence[Event], image: Path) -> None:
        self._flushed = bytearray(before)
        self._n_flushed = 0
        self._events = events
        image.write_bytes(before)
        with image.open("r+b") as file:  # memory that is there: new pages would cost more than this
            self._left = mmap.mmap(file.fileno(), 0)

    def cut(self, n_events: int, chance: Random) -> None:
        """The disk after so many events, without some of the writes that were not flushed."""
        flushes = (n for n in range(self._n_flushed, n_events) if self._events[n].data is None)
        n_flushed = max(flushes, default=self._n_flushed)
        for event in self._events[self._n_flushed : n_flushed]:
            _write(self._flushed, event)
        self._n_flushed = n_flushed
        self._left[:] = self._flushed
        kept = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for event in self._events[n_flushed:n_events]:
            for piece in _pieces(event):
                if chance.random() < kept:
                    _write(self._left, piece)


def _pieces(event: Event) -> list[Event]:
    data = event.data or b""
    return [
        Event(event.at_ns, event.offset + at, data[at : at + _PIECE_BYTES])
        for at in range(0, len(data), _PIECE_BYTES)
    ]


def _write(disk: bytearray | mmap.mmap, event: Event) -> None:
    if event.data is not None:
        disk[event.offset : event.offset + len(event.data)] = event.data
