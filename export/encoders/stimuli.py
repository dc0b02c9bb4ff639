"""Sounds that tell which axis of a token map is time and which is frequency.

All are pink noise at a steady level, and the same noise with another one in its place for a short
while, or in a narrow band. What changes in the map then lies where that time or that band does.
Bursts and tones alone would do for a spectrogram, but encoders that divide by the loudest sample,
or were taught to ignore silence, answer to them all over.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.1
"""Root mean square, full scale 1."""

LOWEST_HZ = 40.0

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One chunk of noise, and what is changed in it."""

    plain: Signal
    """(N,)"""
    changed: Iterator[Signal]
    """(N,) each, one for every place."""


def time_places(n_samples: int, n_places: int) -> NDArray[np.float64]:
    """Samples at which other noise takes over for a while: (n_places,), evenly spread."""
    return (np.arange(n_places, dtype=np.float64) + 0.5) * (n_samples / n_places)


def in_time(n_samples: int, n_places: int, sample_rate_hz: float, seed: int) -> Stimulus:
    """Changes at `time_places`, faded in and out over the distance of two places."""
    plain, other = _two(n_samples, sample_rate_hz, seed)
    places, width = time_places(n_samples, n_places), n_samples / n_places
    at = np.arange(n_samples)

    def changed() -> Iterator[Signal]:
        for place in places:
            share = np.clip(1 - np.abs(at - place) / width, 0, 1)
            yield plain * np.sqrt(1 - share) + other * np.sqrt(share)

    return Stimulus(plain, changed())


def band_places(sample_rate_hz: float, n_places: int) -> NDArray[np.float64]:
    """Hz at which other noise takes over: (n_places,), evenly in mel up to the Nyquist rate."""
    mel = np.linspace(to_mel(LOWEST_HZ), to_mel(0.49 * sample_rate_hz), n_places)
    return from_mel(mel)


def in_bands(n_samples: int, n_places: int, sample_rate_hz: float, seed: int) -> Stimulus:
    """Changes around `band_places`, the whole chunk long."""
    plain, other = _two(n_samples, sample_rate_hz, seed)
    places = to_mel(band_places(sample_rate_hz, n_places))
    at = to_mel(np.asarray(np.fft.rfftfreq(n_samples, 1 / sample_rate_hz), np.float64))
    plain_lines, other_lines = np.fft.rfft(plain), np.fft.rfft(other)

    def changed() -> Iterator[Signal]:
        for place in places:
            share = np.clip(1 - np.abs(at - place) / (places[1] - places[0]), 0, 1)
            lines = plain_lines * np.sqrt(1 - share) + 1.5 * other_lines * np.sqrt(share)
            yield np.fft.irfft(lines, n_samples)

    return Stimulus(plain, changed())


def long_noise(n_samples: int, sample_rate_hz: float, seed: int) -> Signal:
    """Pink noise (n_samples,) whose level changes eight times a second."""
    rng = np.random.default_rng(seed)
    hold = max(1, int(sample_rate_hz / 8))
    level = np.repeat(rng.uniform(0.1, 1.0, size=n_samples // hold + 1), hold)[:n_samples]
    return _pink(n_samples, sample_rate_hz, rng) * level


def to_mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """HTK's mel scale."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


def from_mel(mel: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Hertz."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0))


def _two(n_samples: int, sample_rate_hz: float, seed: int) -> tuple[Signal, Signal]:
    rng = np.random.default_rng(seed)
    return _pink(n_samples, sample_rate_hz, rng), _pink(n_samples, sample_rate_hz, rng)


def _pink(n_samples: int, sample_rate_hz: float, rng: np.random.Generator) -> Signal:
    lines = np.fft.rfft(rng.normal(size=n_samples))
    lines /= np.sqrt(np.maximum(np.fft.rfftfreq(n_samples, 1 / sample_rate_hz), 50.0))
    noise = np.fft.irfft(lines, n_samples)
    loud: Signal = LEVEL * noise / noise.std()
    return loud
