"""One stretch of audio in one PCM WAV file: right header first, visible only when it is safe."""

import ctypes
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_probe.source.wav import HEADER_BYTES, MAX_DATA_BYTES, pcm_header

PART = ".part"

BLOCK_BYTES = 4096
"""Of ext4 and of pages of memory."""

_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h."""


@dataclass(frozen=True, slots=True)
class Format:
    """How frames are stored."""

    rate_hz: int
    n_channels: int
    sample_bytes: int
    """2, 3 or 4; little-endian two's complement."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of all channels at one instant."""
        return self.n_channels * self.sample_bytes

    def frames_of(self, segment_s: float) -> int:
        """Frames of a segment so long, or as many as a WAV file holds."""
        n_most = MAX_DATA_BYTES // self.frame_bytes
        return max(1, min(n_most, round(segment_s * self.rate_hz)))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where audio begins: the name of a segment for ever, whatever clocks do."""

    boot: int
    stream: int
    first_frame: int

    def file_name(self, utc: str) -> str:
        """Sorts by boot, stream and frame; the time is for people.

        Parameters
        ----------
        utc : str
            Compact UTC, or ``unset`` where the clock is not trusted.
        """
        return f"{self.boot:05d}-{self.stream:06d}-{self.first_frame:012d}_{utc}.wav"

    @classmethod
    def of(cls, name: str) -> Self | None:
        """The place a file name tells, or None if it is none of ours."""
        numbers = "([0-9]{5,18})-([0-9]{6,18})-([0-9]{12,18})"  # SQLite counts to 19 digits
        match = re.fullmatch(rf"{numbers}_\w+\.(?:wav|wav\.part|flac)", name)
        return cls(*map(int, match.groups())) if match else None


class SegmentFile:
    """A file that grows under its name plus ``.part`` and gets its name when all of it is safe.

    It grows by whole blocks, and less than one waits in memory. ext4 brings the new size of a file
    that grew within its last block to the disk without the new end of that block: a power cut then
    leaves zeros in its place, and nobody can tell them from silence.

    Its blocks are taken at the beginning, beyond its end: then a sync brings no maps of free blocks
    through the journal, 8 KiB of 20 (ext4, measured). Until they are written they are holes.

    Parameters
    ----------
    path : Path
        Its final name.
    format_ : Format
    n_planned : int
        Frames the header announces; `close` corrects it if there are fewer.

    Raises
    ------
    OSError
        From any method; the file is then suspect beyond `n_synced` and must not be written again.
    """

    def __init__(self, path: Path, format_: Format, n_planned: int) -> None:
        self.path = path
        self.format = format_
        self.n_planned = n_planned
        self.n_frames = 0
        """Taken."""
        self.n_synced = 0
        """Safe from a power cut, as far as the disk tells the truth."""
        self._part = path.with_name(path.name + PART)
        self._waiting = bytearray(header(format_, n_planned))
        self._fd = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            _take_blocks(self._fd, HEADER_BYTES + n_planned * format_.frame_bytes)
        except OSError:
            self.abandon()
            raise

    def write(self, frames: bytes | memoryview) -> None:
        """Append whole frames."""
        self._waiting += frames
        self.n_frames += memoryview(frames).nbytes // self.format.frame_bytes
        n_bytes = len(self._waiting) - len(self._waiting) % BLOCK_BYTES
        _write_all(self._fd, self._waiting[:n_bytes])
        del self._waiting[:n_bytes]

    def sync(self) -> None:
        """Make whole blocks safe."""
        os.fdatasync(self._fd)
        n_waiting = -(-len(self._waiting) // self.format.frame_bytes)
        self.n_synced = max(0, self.n_frames - n_waiting)

    def close(self) -> None:
        """Correct the header, make everything safe, and give the file its name."""
        _write_all(self._fd, self._waiting)
        self._waiting.clear()
        if self.n_frames != self.n_planned:
            os.pwrite(self._fd, header(self.format, self.n_frames), 0)
            os.ftruncate(self._fd, HEADER_BYTES + self.n_frames * self.format.frame_bytes)
        os.fsync(self._fd)
        self.n_synced = self.n_frames
        self._let_go()
        self._part.rename(self.path)
        sync_folder(self.path.parent)

    def abandon(self) -> None:
        """Let go of a file that failed; recovery takes care of it."""
        with suppress(OSError):  # what matters was synced, or is suspect anyhow
            self._let_go()

    def _let_go(self) -> None:
        """A descriptor is gone even if closing it fails, and its number may be another file's."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _take_blocks(fd: int, n_bytes: int) -> None:
    """Reserve them for a file that is empty, and stays so, where the file system can.

    `os.posix_fallocate` would change the size and, where the file system cannot, write zeros.
    Without the blocks the file grows as it is written; what is wrong with the disk shows then.
    """
    libc = ctypes.CDLL(None)
    call = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)  # musl has one
    if call is not None and call(fd, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(n_bytes)):
        os.ftruncate(fd, 0)  # ext4 keeps what it could get, and the disk would be full


def finish_part(part: Path, format_: Format, n_safe: int | None = None) -> int:
    """Give a file that was left behind its header and its name; 0 frames: remove it.

    Parameters
    ----------
    part : Path
        With the suffix ``.part``.
    format_ : Format
    n_safe : int, optional
        Frames that may be trusted; None for all before the first hole of the file.

    Returns
    -------
    int
        Frames it holds.
    """
    n_frames = _frames_written(part, format_)
    if n_safe is not None:
        n_frames = min(n_frames, n_safe)
    if n_frames == 0:
        part.unlink()
        sync_folder(part.parent)
        return 0
    fd = os.open(part, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, HEADER_BYTES + n_frames * format_.frame_bytes)
        os.pwrite(fd, header(format_, n_frames), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    part.rename(part.with_name(part.name.removesuffix(PART)))
    sync_folder(part.parent)
    return n_frames


def header(format_: Format, n_frames: int) -> bytes:
    """WAV header of a segment."""
    n_bytes = n_frames * format_.frame_bytes
    return pcm_header(format_.rate_hz, format_.n_channels, format_.sample_bytes, n_bytes)


def frames_in(path: Path, format_: Format) -> int:
    """Whole frames in a file, by its size."""
    return max(0, path.stat().st_size - HEADER_BYTES) // format_.frame_bytes


def _frames_written(part: Path, format_: Format) -> int:
    """Whole frames before the first hole of a file.

    After a power cut a file of ext4 may have its new size without the blocks at its end, which then
    are allocated and not written, and read as zeros (delayed allocation: the size goes to the
    journal when the write begins). What was written, zeros too, is no hole.
    """
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        n_bytes = os.lseek(fd, 0, os.SEEK_HOLE) if os.fstat(fd).st_size else 0
    finally:
        os.close(fd)
    return max(0, n_bytes - HEADER_BYTES) // format_.frame_bytes


def remove_audio(audio: Path, names: Iterable[str]) -> None:
    """Remove segments for good, as WAV and as FLAC: while one becomes the other both are there."""
    removed = False
    for name in names:
        for suffix in (".wav", ".flac"):
            path = (audio / name).with_suffix(suffix)
            if path.exists():
                path.unlink(missing_ok=True)
                removed = True
    if removed:
        sync_folder(audio)


def sync_folder(folder: Path) -> None:
    """Make names in a folder safe."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes | bytearray) -> None:
    """A write may take less than it is given, above all on a disk that fills up."""
    with memoryview(data) as view:
        n_written = 0
        while n_written < len(view):
            n_written += os.write(fd, view[n_written:])
