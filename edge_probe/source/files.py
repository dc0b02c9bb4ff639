"""Audio files: an allow-list is checked before libsndfile decodes anything.

Only this module and flac.py import soundfile. Blocks are small because a decoder that fails takes
its block with it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.errors import AudioError
from edge_probe.source import choose_channel, finite_part
from edge_probe.source.container import kind_of, missing_bytes

_BLOCK_SAMPLES = 1 << 16
_LAST_STEPS_SAMPLES = 1 << 8
"""Read at a time where a block failed: what is lost before the damage is below 6 ms at 48 kHz."""

_UNKNOWN_LENGTH = 2**62
"""libsndfile's answer for a FLAC stream whose writer could not go back to its header."""

_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}

_PCM = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
_ALLOWED = {
    "WAV": _PCM,
    "WAVEX": _PCM,
    "W64": _PCM,
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "OGG": {"VORBIS"},
}
_KINDS = "WAV or W64 with PCM samples, FLAC, or Ogg Vorbis"


class AudioFile:
    """One channel of one audio file, as blocks or at random.

    Parameters
    ----------
    path : Path
    channel : int, optional
        Counted from 0; needed when there are several.

    Raises
    ------
    AudioError
        The file is missing, empty, not of an allowed kind, or cannot be decoded.
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        self.name = str(path)
        kind = kind_of(path)
        if kind is None:
            raise AudioError(
                f"{path}: expected {_KINDS}, found something else whatever its name says",
                hint="convert it, for example with: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
            )
        self.is_cut = missing_bytes(path, kind) > 0
        """Whether the file ends before the audio that its header tells of."""
        try:
            self._file = sf.SoundFile(os.fsencode(path))
        except (sf.SoundFileError, OSError) as error:
            raise AudioError(
                f"{path}: cannot be decoded: {error}", hint=f"expected {_KINDS}"
            ) from error
        try:
            self._check()
            self.channel = choose_channel(self._file.channels, channel, self.name)
        except AudioError:
            self._file.close()
            raise
        self.n_channels = int(self._file.channels)
        self.sample_rate_hz = int(self._file.samplerate)
        self.n_samples = int(self._file.frames)
        """Samples per channel that are there, as far as the file's header tells."""
        self.sample_bytes = _SAMPLE_BYTES.get(self._file.subtype)
        """Of a sample as it is stored; None: it is no whole number."""

    def _check(self) -> None:
        kind, subtype = self._file.format, self._file.subtype
        if subtype not in _ALLOWED.get(kind, ()):
            raise AudioError(
                f"{self.name}: expected {_KINDS}, found {kind} {subtype}",
                hint="convert it, for example with: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
            )
        if self._file.frames >= _UNKNOWN_LENGTH:
            raise AudioError(
                f"{self.name}: its header does not say how long it is",
                hint="it was written into a pipe; make it anew: ffmpeg -i IN.flac OUT.flac",
            )
        if self._file.frames == 0:
            raise AudioError(f"{self.name}: holds no samples", hint="was the recording cut off?")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, begin: int, end: int) -> NDArray[np.float32]:
        """Samples [begin, end) of the chosen channel.

        Returns
        -------
        (end - begin,) float32

        Raises
        ------
        AudioError
            The file is damaged there, or holds NaN.
        """
        try:
            samples = self._decode(begin, end - begin)
        except sf.SoundFileError as error:
            raise self._cut_off(begin) from error
        if len(samples) != end - begin:
            raise self._cut_off(begin + len(samples))
        samples, problem = finite_part(samples, begin, self.sample_rate_hz, self.name)
        if problem is not None:
            raise problem
        return samples

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """All samples in order, in blocks: (n,) float32.

        Raises
        ------
        AudioError
            The file is cut off or damaged, or holds NaN; everything before has been given out.
        """
        position = 0
        while position < self.n_samples:
            end = min(position + _BLOCK_SAMPLES, self.n_samples)
            try:
                blocks = [self._decode(position, end - position)]
            except sf.SoundFileError:
                blocks = list(self._last_steps(position))
            for block in blocks:
                samples, problem = finite_part(block, position, self.sample_rate_hz, self.name)
                position += len(samples)
                yield samples
                if problem is not None:
                    raise problem
            if position != end:
                raise self._cut_off(position)
        if self.is_cut:
            raise self._cut_off(self.n_samples)

    def _decode(self, begin: int, n_samples: int) -> NDArray[np.float32]:
        if self._file.tell() != begin:
            self._file.seek(begin)
        block = self._file.read(n_samples, dtype="float32", always_2d=True)
        return np.ascontiguousarray(block[:, self.channel])

    def _last_steps(self, begin: int) -> Iterator[NDArray[np.float32]]:
        """What can be decoded from a block that cannot be decoded whole."""
        try:
            while len(step := self._decode(begin, _LAST_STEPS_SAMPLES)):
                yield step
                begin += len(step)
        except sf.SoundFileError:
            return

    def _cut_off(self, n_found: int) -> AudioError:
        return AudioError(
            f"{self.name}: the file is cut off or damaged after {n_found} samples "
            f"({n_found / self.sample_rate_hz:.3f} s)",
            hint="what comes before was read; copy the file again if the card has more of it",
        )
