"""Audio files: an allow-list is checked before libsndfile decodes anything.

The only module that imports soundfile.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.errors import AudioError
from edge_probe.source import Block, choose_channel, refuse_not_finite

_BLOCK_SAMPLES = 1 << 16

_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
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
        _refuse_unlisted(path)
        try:
            self._file = sf.SoundFile(path)
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
        self.sample_rate_hz = int(self._file.samplerate)
        self.n_samples = int(self._file.frames)
        """Samples per channel that the file's header promises."""

    def _check(self) -> None:
        kind, subtype = self._file.format, self._file.subtype
        if subtype not in _ALLOWED.get(kind, ()):
            raise AudioError(
                f"{self.name}: expected {_KINDS}, found {kind} {subtype}",
                hint="convert it, for example with: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
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
            The file ends earlier than its header promises, or holds NaN.
        """
        samples = self._read(begin, end)
        if len(samples) != end - begin:
            raise self._cut_off(begin + len(samples))
        return samples

    def __iter__(self) -> Iterator[Block]:
        """All samples in order.

        Raises
        ------
        AudioError
            As `read`; everything before the damage has been given out by then.
        """
        for begin in range(0, self.n_samples, _BLOCK_SAMPLES):
            end = min(begin + _BLOCK_SAMPLES, self.n_samples)
            samples = self._read(begin, end)
            yield Block(samples)
            if len(samples) != end - begin:
                raise self._cut_off(begin + len(samples))

    def _read(self, begin: int, end: int) -> NDArray[np.float32]:
        """As `read`, but fewer samples where the file is cut off."""
        try:
            self._file.seek(begin)
            block = self._file.read(end - begin, dtype="float32", always_2d=True)
        except sf.SoundFileError as error:
            raise self._cut_off(begin) from error
        samples = np.ascontiguousarray(block[:, self.channel])
        refuse_not_finite(samples, begin, self.sample_rate_hz, self.name)
        return samples

    def _cut_off(self, n_found: int) -> AudioError:
        return AudioError(
            f"{self.name}: expected {self.n_samples} samples, could read about {n_found}",
            hint="the file is cut off or damaged; everything before was classified",
        )


def _refuse_unlisted(path: Path) -> None:
    """Look at the first bytes only: no decoder meets a file of another kind."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise AudioError(
            f"{path}: {error.strerror or error}", hint="check the path of the audio file"
        ) from error
    if not head:
        raise AudioError(f"{path}: the file is empty", hint="was the recording cut off?")
    wav = head[:4] == b"RIFF" and head[8:12] == b"WAVE"
    vorbis = head[:4] == b"OggS" and b"\x01vorbis" in head
    if not (wav or vorbis or head[:4] == b"fLaC" or head[:16] == _W64):
        raise AudioError(
            f"{path}: expected {_KINDS}, found something else whatever its name says",
            hint="convert it, for example with: ffmpeg -i IN -c:a pcm_s16le OUT.wav",
        )
