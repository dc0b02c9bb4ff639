"""Short-time spectra of a look at the signal: octave bands, and whether the top of it is empty."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WINDOW_S = 1 / 12
"""At least; four lines of the spectrum then fall into the lowest band."""

_LOWEST_HZ = 62.5
_N_GROUPS = 256

_HIGHEST_EDGE = 0.84
"""Of half the rate: an edge above may be the converter's own filter (44.1 kHz played as 48 kHz
cannot be told from 48 kHz)."""

_OVER_QUANTUM = 8.0
"""Dithered rounding has three times the power of plain rounding; the rest is scatter."""

_STEP = 16.0
_STEEP_STEP = 1e4
"""Least power in the octave below the edge over the most above it: 12 dB where only rounding noise
is left above, 40 dB where something is. No microphone falls so far there, and no insect fills that
octave."""

_RATES_HZ = (
    8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000, 128000,
    176400, 192000, 200000, 250000, 256000, 384000,
)  # fmt: skip


class Spectrum:
    """The short-time spectrum of one rate.

    Parameters
    ----------
    rate_hz : int
    """

    def __init__(self, rate_hz: int) -> None:
        self.n_samples = 1 << math.ceil(math.log2(rate_hz * _WINDOW_S))
        """Length of the window."""
        self._window = np.hanning(self.n_samples + 1)[:-1].astype(np.float32)
        self._scale = 2 / (self.n_samples * float(np.sum(self._window**2)))
        self.band_hz = _octaves(rate_hz)
        """Middle of each band."""
        width_hz = rate_hz / self.n_samples
        self._band_lines = [
            (round(middle / math.sqrt(2) / width_hz), round(middle * math.sqrt(2) / width_hz))
            for middle in self.band_hz
        ]

    def powers(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean square by spectral line, without DC.

        Parameters
        ----------
        samples : (n_samples,) float32
            Full scale is ±1.

        Returns
        -------
        (n_samples / 2,) float64
        """
        lines = np.fft.rfft(samples * self._window)[1:]
        powers: NDArray[np.float64] = (lines.real**2 + lines.imag**2) * self._scale
        return powers

    def bands(self, powers: NDArray[np.float64]) -> Sequence[float]:
        """Mean square by octave band, as ``band_hz``."""
        return [float(powers[first - 1 : end - 1].sum()) for first, end in self._band_lines]


def _octaves(rate_hz: int) -> Sequence[float]:
    """Middles of the octave bands below half the rate (IEC 61260-1: 1 kHz times powers of two)."""
    middles, middle = [], _LOWEST_HZ
    while middle * math.sqrt(2) <= rate_hz / 2:
        middles.append(middle)
        middle *= 2
    return middles


def empty_from_hz(powers: NDArray[np.float64], rate_hz: int, quantum: float) -> float | None:
    """Where the spectrum ends in an edge with nothing above, or None.

    A stream that was resampled from a lower rate has such an edge just below half that rate.
    Sounds end there too, but not the noise of a microphone, and a minute's mean shows both.

    Parameters
    ----------
    powers : (n,) float64
        Mean of `Spectrum.powers` over a minute.
    rate_hz : int
    quantum : float
        Step between sample values, full scale ±1: the smallest thing that could be there.
    """
    n_groups = min(_N_GROUPS, len(powers))
    groups = powers.reshape(n_groups, -1).mean(axis=1)
    n_used = n_groups - n_groups // 64  # half the rate itself is odd in some converters
    rounding = quantum**2 / 12 / len(powers)
    highest_above = np.maximum.accumulate(groups[n_used - 1 :: -1])[::-1]
    for edge in range(8, int(_HIGHEST_EDGE * n_groups)):
        below = float(groups[int(0.4 * edge) : int(0.85 * edge)].min())
        above = float(highest_above[edge])
        only_rounding = above <= _OVER_QUANTUM * rounding and below >= _STEP * above
        if only_rounding or below > _STEEP_STEP * above:
            return edge / n_groups * rate_hz / 2
    return None


def likely_rate_hz(edge_hz: float) -> int:
    """The rate whose signals end at an edge: the least usual one that could hold it."""
    return next((rate for rate in _RATES_HZ if rate >= 2 * edge_hz), round(2 * edge_hz))
