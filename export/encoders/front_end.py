"""What an encoder hears: the constants of a log-mel spectrogram, and its filters in float64."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standard:
    """``(level - mean) / divisor``, with constants of the training data."""

    mean: float
    divisor: float


Normalisation = Standard | Literal["min-max", "batch-norm"]
"""Constants; to 0..1 over the chunk; or per mel band by a batch norm that the checkpoint holds."""

Padding = Literal["zero level", "zero", "lowest level"]
"""What stands in frames that the chunk does not fill: level 0 before normalising, 0 after it, or
the lowest level of the chunk."""


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A log-mel spectrogram.

    A frame is taken every `hop_samples`, its offset removed, pre-emphasised, windowed, transformed
    and squared; triangles over the bins give mel power, its logarithm the level.
    """

    sample_rate_hz: int
    n_fft: int
    window_samples: int
    hop_samples: int
    window: Literal["hann", "hanning", "povey"]
    """Hann with period `window_samples`; Hann whose ends are both 0; the latter to the 0.85."""
    centred: bool
    """Frame i is centred on sample i * hop (edges reflected), or else begins there."""
    remove_offset: bool
    """From every frame."""
    preemphasis: float
    """``x[i] - c x[i - 1]`` within a frame; x[-1] is x[0]."""
    gain: float
    """The waveform is multiplied by it first."""
    n_mels: int
    low_hz: float
    high_hz: float
    straight_in: Literal["mel", "hz"]
    """Along which axis the sides of the triangles are straight: kaldi's are in mel."""
    floor: float
    """Least power that has a logarithm."""
    decibels: bool
    """Levels are 10 log10, or else natural logarithms."""
    range_db: float | None
    """No level is further than this below the highest of the chunk."""
    normalisation: Normalisation
    padding: Padding

    def n_frames(self, n_samples: int) -> int:
        """Frames that n samples fill."""
        if self.centred:
            return 1 + n_samples // self.hop_samples
        return max(0, 1 + (n_samples - self.window_samples) // self.hop_samples)

    @property
    def first_frame_samples(self) -> float:
        """Where the hop that frame 0 stands for begins, in samples of the chunk."""
        return -self.hop_samples / 2 + (0 if self.centred else self.window_samples / 2)

    def filters(self) -> FloatArray:
        """Triangles over the bins of the transform: (n_fft / 2 + 1, n_mels).

        At 128 bands and 16 kHz one band of kaldi's has no bin: its column is zero.
        """
        corners = self._mel(np.arange(self.n_mels + 2, dtype=np.float64) - 0.5)
        axis = np.arange(self.n_fft // 2 + 1) * self.sample_rate_hz / self.n_fft
        if self.straight_in == "mel":
            axis = mel_of(axis)
        else:
            corners = hertz_of(corners)
        rising = (axis[:, None] - corners[:-2]) / np.diff(corners)[:-1]
        falling = (corners[2:] - axis[:, None]) / np.diff(corners)[1:]
        triangles: FloatArray = np.maximum(0, np.minimum(rising, falling))
        if self.straight_in == "mel":
            triangles[-1] = 0  # kaldi leaves out the highest bin
        return triangles

    def basis(self) -> FloatArray:
        """Offset, pre-emphasis, window and transform of one frame as one matrix.

        Returns
        -------
        (n_fft / 2 + 1, window_samples) complex128
        """
        n = self.window_samples
        steps = np.eye(n) - (np.full((n, n), 1 / n) if self.remove_offset else 0)
        before = np.vstack([steps[:1], steps[:-1]])
        emphasised = (steps - self.preemphasis * before) * self._taper()[:, None]
        phase = np.outer(np.arange(self.n_fft // 2 + 1), np.arange(n)) * (2 * np.pi / self.n_fft)
        folded: FloatArray = self.gain * (np.exp(-1j * phase) @ emphasised)
        return folded

    def edges_hz(self, bands: FloatArray) -> tuple[float, ...]:
        """Frequencies half way between the centres of two bands; 0 and n_mels are the outermost.

        Parameters
        ----------
        bands : float64
            Ascending; 16 is the edge between bands 15 and 16.
        """
        hertz = hertz_of(self._mel(bands))
        hertz = np.where(bands <= 0, self.low_hz, hertz)
        hertz = np.where(bands >= self.n_mels, self.high_hz, hertz)
        return tuple(round(float(edge), 1) for edge in hertz)

    def _mel(self, bands: FloatArray) -> FloatArray:
        """Mel value at a place among the bands; band b begins at b and is centred on b + 0.5."""
        low, high = mel_of(np.array([self.low_hz, self.high_hz]))
        mel: FloatArray = low + (bands + 0.5) * (high - low) / (self.n_mels + 1)
        return mel

    def _taper(self) -> FloatArray:
        period = self.window_samples - (self.window != "hann")
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window_samples) / period)
        taper: FloatArray = hann**0.85 if self.window == "povey" else hann
        return taper


def mel_of(hertz: FloatArray) -> FloatArray:
    """O'Shaughnessy's mel scale up to a factor, which no filter depends on."""
    mel: FloatArray = np.log1p(hertz / 700)
    return mel


def hertz_of(mel: FloatArray) -> FloatArray:
    """The inverse of `mel_of`."""
    hertz: FloatArray = 700 * np.expm1(mel)
    return hertz


def kaldi(
    normalisation: Standard,
    padding: Padding,
    *,
    sample_rate_hz: int = 16_000,
    window: Literal["hanning", "povey"] = "hanning",
    gain: float = 1.0,
) -> FrontEnd:
    """``torchaudio.compliance.kaldi.fbank`` with 128 bands, 25 ms every 10 ms, without dither.

    The mean of the clip, which some families subtract first, is gone with the offset of each frame.
    """
    window_samples = sample_rate_hz // 40
    return FrontEnd(
        sample_rate_hz=sample_rate_hz,
        n_fft=1 << (window_samples - 1).bit_length(),
        window_samples=window_samples,
        hop_samples=sample_rate_hz // 100,
        window=window,
        centred=False,
        remove_offset=True,
        preemphasis=0.97,
        gain=gain,
        n_mels=128,
        low_hz=20.0,
        high_hz=sample_rate_hz / 2,
        straight_in="mel",
        floor=float(np.finfo(np.float32).eps),
        decibels=False,
        range_db=None,
        normalisation=normalisation,
        padding=padding,
    )


def mel_spectrogram(
    normalisation: Literal["min-max", "batch-norm"], *, n_fft: int, n_mels: int, range_db: float
) -> FrontEnd:
    """``torchaudio.transforms.MelSpectrogram`` and ``AmplitudeToDB`` at 16 kHz every 10 ms."""
    return FrontEnd(
        sample_rate_hz=16_000,
        n_fft=n_fft,
        window_samples=n_fft,
        hop_samples=160,
        window="hann",
        centred=True,
        remove_offset=False,
        preemphasis=0.0,
        gain=1.0,
        n_mels=n_mels,
        low_hz=0.0,
        high_hz=8_000.0,
        straight_in="hz",
        floor=1e-10,
        decibels=True,
        range_db=range_db,
        normalisation=normalisation,
        padding="zero",
    )
