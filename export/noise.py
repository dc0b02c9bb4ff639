"""Made-up noise: sounds in which nothing lives, free of anybody's rights."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

KINDS = ("white", "pink", "brown", "hum", "silence", "band", "white", "white")
"""In turn; white noise is what rain and waves are most easily taken for."""

LEVEL = 0.05
"""Standard deviation, full scale 1; silence is digital silence."""


def made_up_noise(
    rng: np.random.Generator, n_sounds: int, n_samples: int, sample_rate_hz: int
) -> list[NDArray[np.float32]]:
    """White, pink, brown and band noise, mains hum and digital silence.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_sounds : int
        Kinds take turns as in `KINDS`.
    n_samples : int
        Of each sound.
    sample_rate_hz : int

    Returns
    -------
    n_sounds arrays (n_samples,) float32
    """
    sounds = []
    for number in range(n_sounds):
        noise = rng.normal(size=n_samples)
        kind = KINDS[number % len(KINDS)]
        if kind == "white":
            sound = noise
        elif kind == "pink":
            sound = _shaped(noise, lambda n: np.maximum(n, 1) ** -0.5)
        elif kind == "brown":
            sound = _shaped(noise, lambda n: np.maximum(n, 1) ** -1.0)
        elif kind == "hum":
            mains_hz = 60 if number // len(KINDS) % 2 else 50
            sound = noise * 5e-3 + _hum(rng, mains_hz, np.arange(n_samples) / sample_rate_hz)
        elif kind == "silence":
            sound = noise * 0
        else:
            sound = _shaped(noise, _band(rng, n_samples, sample_rate_hz))
        sounds.append((sound * LEVEL / max(float(np.std(sound)), 1e-9)).astype(np.float32))
    return sounds


def _hum(
    rng: np.random.Generator, mains_hz: int, time_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Eleven harmonics of the mains."""
    parts = [
        rng.uniform(0.1, 1) / h * np.sin(2 * np.pi * h * mains_hz * time_s + phase)
        for h, phase in enumerate(rng.uniform(0, 6.3, 11), start=1)
    ]
    hum: NDArray[np.float64] = np.asarray(sum(parts))
    return hum


def _band(
    rng: np.random.Generator, n_samples: int, sample_rate_hz: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A bell of any place and width."""
    centre = rng.uniform(0, n_samples / 2)
    width = rng.uniform(39.0625, 1953.125) * (n_samples / sample_rate_hz)  # Hz to bins
    return lambda n: np.exp(-(((n - centre) / width) ** 2))


def _shaped(
    noise: NDArray[np.float64], gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Noise with another spectrum: ``gain`` of the DFT bin number."""
    spectrum = np.fft.rfft(noise)
    return np.fft.irfft(spectrum * gain(np.arange(len(spectrum), dtype=float)), len(noise))
