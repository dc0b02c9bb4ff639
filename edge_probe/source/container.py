"""Whether an audio file is whole, by what its container promises; nothing is decoded.

libsndfile quietly makes do with what is left of a WAV, W64 or Ogg file, and with the first of
several Ogg streams; half a night must not look like a whole one.
"""

import struct
from pathlib import Path
from typing import BinaryIO

from edge_probe.errors import AudioError

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_UNKNOWN_BYTES = 0x7FFF_0000
"""Programs that write to a pipe put a size from here on, or 0, into a header they cannot mend."""

_OGG_PAGE = struct.Struct("<4sBBqIIIB")
_OGG_FIRST, _OGG_LAST = 2, 4


def kind_of(path: Path) -> str | None:
    """The container by its first bytes: ``wav``, ``w64``, ``flac``, ``ogg`` (with Vorbis), or None.

    Raises
    ------
    AudioError
        The file is missing, empty, unreadable, or no regular file.
    """
    try:
        if path.exists() and not path.is_file():
            raise AudioError(
                f"{path}: not a regular file",
                hint="raw PCM comes through a pipe: ... | edge-probe classify - --rate 48000",
            )
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise AudioError(
            f"{path}: {error.strerror or error}", hint="check the path of the audio file"
        ) from error
    if not head:
        raise AudioError(f"{path}: the file is empty", hint="was the recording cut off?")
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[:16] == _W64_RIFF:
        return "w64"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS" and b"\x01vorbis" in head:
        return "ogg"
    return None


def missing_bytes(path: Path, kind: str) -> int:
    """Bytes of audio that the container promises and the file does not hold; 0 if it is whole.

    FLAC tells by its decoder. An Ogg file without its last page counts as one byte short.

    Raises
    ------
    AudioError
        Several Ogg streams stand one after the other: only the first would be decoded.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind == "wav":
            return _wav_missing(file, size)
        if kind == "w64":
            return _w64_missing(file, size)
        if kind == "ogg":
            return _ogg_missing(file, path)
    return 0


def _wav_missing(file: BinaryIO, size: int) -> int:
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, n_bytes = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            known = 0 < n_bytes < _UNKNOWN_BYTES
            return max(0, position + 8 + n_bytes - size) if known else 0
        position += 8 + n_bytes + n_bytes % 2
    return 0


def _w64_missing(file: BinaryIO, size: int) -> int:
    position = 40
    while position + 24 <= size:
        file.seek(position)
        name, n_bytes = struct.unpack("<16sQ", file.read(24))
        if name == _W64_DATA:
            return max(0, position + n_bytes - size) if n_bytes < 2**62 else 0
        position += max(24, -(-n_bytes // 8) * 8)
    return 0


def _ogg_missing(file: BinaryIO, path: Path) -> int:
    """Walk the pages up to the last one of the only stream."""
    position, last_flags, n_streams = 0, 0, 0
    while len(head := file.read(_OGG_PAGE.size)) == _OGG_PAGE.size:
        name, _, flags, *_, n_segments = _OGG_PAGE.unpack(head)
        body = sum(file.read(n_segments))
        if name != b"OggS":
            return 1
        n_streams += bool(flags & _OGG_FIRST)
        if n_streams > 1:
            raise AudioError(
                f"{path}: several Ogg streams in one file", hint="split it, one stream a file"
            )
        position, last_flags = file.seek(body, 1), flags
    return int(not last_flags & _OGG_LAST or position > path.stat().st_size)
