"""Raw PCM from a pipe: ``arecord -t raw ... | edge-probe classify - --rate 48000``."""

import logging
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import AudioError
from edge_probe.source import choose_channel, finite_part

_log = logging.getLogger(__name__)

_READ_BYTES = 1 << 16
_FILE_MARKS = {b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff"}


def _from_s24(raw: bytes) -> NDArray[np.float32]:
    triples = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    shifted = np.zeros((len(triples), 4), np.uint8)
    shifted[:, 1:] = triples
    values: NDArray[np.float32] = shifted.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return values


def _from_u8(raw: bytes) -> NDArray[np.float32]:
    centred = np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)
    return centred / np.float32(128)


def _from_integers(kind: str, full_scale: int) -> Callable[[bytes], NDArray[np.float32]]:
    def convert(raw: bytes) -> NDArray[np.float32]:
        return np.frombuffer(raw, kind).astype(np.float32) / np.float32(full_scale)

    return convert


FORMATS: dict[str, tuple[int, Callable[[bytes], NDArray[np.float32]]]] = {
    "u8": (1, _from_u8),
    "s16": (2, _from_integers("<i2", 2**15)),
    "s24": (3, _from_s24),
    "s32": (4, _from_integers("<i4", 2**31)),
    "f32": (4, lambda raw: np.frombuffer(raw, "<f4")),
}
"""Little-endian sample formats: bytes per sample, and how to full scale ±1."""


class PcmStream:
    """One channel of raw interleaved PCM.

    Parameters
    ----------
    stream : BinaryIO
        Read as it comes, never waiting for a full buffer.
    name : str
        What to call it.
    sample_rate_hz, n_channels : int
    sample_format : str
        A key of `FORMATS`.
    channel : int, optional
        Counted from 0; needed when there are several.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        name: str,
        sample_rate_hz: int,
        n_channels: int,
        sample_format: str,
        channel: int | None = None,
    ) -> None:
        if n_channels < 1:
            raise AudioError(
                f"{name}: expected at least 1 channel, found {n_channels}",
                hint="--channels says how many the pipe carries",
            )
        self._stream = stream
        self.name = name
        self.sample_rate_hz = sample_rate_hz
        self.channel = choose_channel(n_channels, channel, name)
        self._n_channels = n_channels
        self._sample_bytes, self._convert = FORMATS[sample_format]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Blocks as the pipe delivers them: (n,) float32.

        Raises
        ------
        AudioError
            The pipe was empty, begins with the header of an audio file, or a float sample is NaN
            or infinite; everything before that has been given out.
        """
        frame_bytes = self._sample_bytes * self._n_channels
        rest, n_given = b"", 0
        for piece in self._pieces():
            raw = rest + piece
            whole = len(raw) // frame_bytes * frame_bytes
            rest = raw[whole:]
            frames = self._convert(raw[:whole]).reshape(-1, self._n_channels)
            samples, problem = finite_part(
                np.ascontiguousarray(frames[:, self.channel]), n_given, self.sample_rate_hz,
                self.name,
            )  # fmt: skip
            n_given += len(samples)
            yield samples
            if problem is not None:
                raise problem
        if rest:
            _log.warning(
                "%s: the last %d bytes are no whole frame of %d bytes: are --channels and "
                "--format right?", self.name, len(rest), frame_bytes,
            )  # fmt: skip
        if n_given == 0:
            raise AudioError(
                f"{self.name}: holds no samples", hint="does the program before the pipe run?"
            )

    def _pieces(self) -> Iterator[bytes]:
        """Bytes as they come; the first four must not be those of an audio file."""
        head = b""
        while len(head) < 4 and (more := self._stream.read1(4 - len(head))):  # type: ignore[attr-defined]
            head += more
        if head in _FILE_MARKS:
            raise AudioError(
                f"{self.name}: expected raw PCM, found the header of an audio file",
                hint="arecord -t raw, ffmpeg -f s16le and sox -t raw write raw PCM",
            )
        yield head
        while piece := self._stream.read1(_READ_BYTES):  # type: ignore[attr-defined]
            yield piece
