"""Our segments as FLAC: encoded, then decoded again and compared, sample by sample.

One of two modules that import soundfile; a short-lived process runs it, never the recorder itself.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.errors import AudioError
from edge_probe.source.wav import HEADER_BYTES

Blocks = Iterator[NDArray[np.int32]]

_BLOCK_FRAMES = 1 << 15
_SUBTYPES = {"PCM_16": 2, "PCM_24": 3}


def encode(source: Path, target: Path, silences: Sequence[tuple[int, int]] = ()) -> int:
    """Write a segment as FLAC and prove that the file holds its samples, safe from a power cut.

    Parameters
    ----------
    source : Path
        WAV as the recorder writes it (44 bytes of header, 16 or 24 bits), or FLAC.
    target : Path
        Overwritten.
    silences : sequence of (int, int), optional
        Frames [begin, end) that become zeros.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    AudioError
        The source is no such file, or what was decoded again is not what was encoded.
    OSError
        The disk fails.
    """
    try:
        with sf.SoundFile(os.fsencode(source)) as file:
            rate_hz, n_channels, subtype = file.samplerate, file.channels, file.subtype
        if subtype not in _SUBTYPES:
            raise AudioError(
                f"{source}: expected 16 or 24 bits, found {subtype}", hint="FLAC holds no 32 bits"
            )
        with sf.SoundFile(
            os.fsencode(target), "w", rate_hz, n_channels, subtype, format="FLAC"
        ) as out:
            for block in _silenced(_blocks(source, n_channels, subtype), silences):
                out.write(block)
        _prove(target, _silenced(_blocks(source, n_channels, subtype), silences))
    except sf.SoundFileError as error:
        raise AudioError(f"{source}: cannot become FLAC: {error}", hint="it stays WAV") from error
    return _sync(target)


def _blocks(path: Path, n_channels: int, subtype: str) -> Blocks:
    """(n, n_channels) int32, as libsndfile has them: the sample in the highest bits.

    WAV is read without libsndfile: the proof is to rest on other code than the encoder.
    """
    if path.suffix == ".flac":
        with sf.SoundFile(os.fsencode(path)) as file:
            yield from file.blocks(_BLOCK_FRAMES, dtype="int32", always_2d=True)
        return
    n_bytes = _SUBTYPES[subtype]
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while data := file.read(_BLOCK_FRAMES * n_channels * n_bytes):
            wide = np.zeros((len(data) // n_bytes, 4), np.uint8)
            wide[:, 4 - n_bytes :] = np.frombuffer(data, np.uint8).reshape(-1, n_bytes)
            yield wide.view("<i4").reshape(-1, n_channels)


def _silenced(blocks: Blocks, silences: Iterable[tuple[int, int]]) -> Blocks:
    """Blocks with zeros where there is to be nothing."""
    at = 0
    for block in blocks:
        for begin, end in silences:
            block[max(0, begin - at) : max(0, end - at)] = 0
        at += len(block)
        yield block


def _prove(target: Path, wanted: Blocks) -> None:
    at = 0
    with sf.SoundFile(os.fsencode(target)) as file:
        for block in wanted:
            found = file.read(len(block), dtype="int32", always_2d=True)
            if not np.array_equal(found, block):
                raise AudioError(
                    f"{target}: decoded samples differ after frame {at}", hint="the WAV stays"
                )
            at += len(block)
        if file.frames != at:
            raise AudioError(
                f"{target}: expected {at} frames, found {file.frames}", hint="the WAV stays"
            )


def _sync(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)
