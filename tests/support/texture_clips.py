"""Clips of three sounds that differ on any small patch of a spectrogram, a folder for each."""

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from support.made_encoders import RATE

SECONDS = 1.3


def write_texture_clips(folder: Path, n_per_class: int = 8) -> Path:
    """Tones, clicks and hiss over noise."""
    rng = np.random.default_rng(4)
    for name, make in {"Tone": _tone, "Click": _click, "Hiss": _hiss}.items():
        (folder / name).mkdir(parents=True)
        for number in range(n_per_class):
            time = np.arange(round(SECONDS * RATE)) / RATE
            sound = make(time, rng) + 0.01 * rng.normal(size=len(time))
            sf.write(folder / name / f"{name}{number}.wav", sound.astype(np.float32), RATE)
    return folder


def _tone(time: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 0.1 * np.sin(2 * np.pi * rng.uniform(500, 2500) * time)
    return found


def _click(time: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    clicks = np.zeros(len(time))
    clicks[rng.integers(0, 800) :: 800] = 0.8
    return clicks


def _hiss(time: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return 0.15 * rng.normal(size=len(time))
