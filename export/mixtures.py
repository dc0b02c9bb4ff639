"""Synthetic mixtures: two clips of different classes at once, so that a head learns overlap."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from export.clips import Clip, ClipsError

ACTIVE_DB = -40.0
"""A sound lasts from the first to the last 20 ms frame above this level below its loudest."""

RMS = 0.05
"""Level of a sound while it lasts (-26 dBFS)."""

MAX_S = 5.0
DIFFERENCE_DB = 8.0
"""Largest difference in level between the two sounds of a mixture."""

LEVEL_DB = 10.0
"""Largest change in level of the whole mixture."""


def active_part(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """A sound without the silence it was padded with, scaled to `RMS`.

    Parameters
    ----------
    samples : (n,) float32
        At least 20 ms.
    rate_hz : int
    """
    frame = rate_hz // 50
    n_frames = len(samples) // frame
    level = np.sqrt(np.mean(samples[: n_frames * frame].reshape(n_frames, frame) ** 2, axis=1))
    loud = np.flatnonzero(level > level.max() * 10 ** (ACTIVE_DB / 20))
    if not len(loud):
        return samples
    part = samples[loud[0] * frame : (loud[-1] + 1) * frame]
    scaled: NDArray[np.float32] = part * np.float32(RMS / np.sqrt(np.mean(part**2)))
    return scaled


def write_mixtures(
    clips: Sequence[Clip], n_mixtures: int, folder: Path, *, rate_hz: int, seed: int
) -> list[Clip]:
    """Write mixtures of pairs of clips as WAV files.

    Both clips of a pair come from one group, which the mixture belongs to as well: a split by
    groups keeps a sound and its mixtures on one side.

    Parameters
    ----------
    clips : sequence of Clip
        Labelled; mixed are clips without a label in common.
    n_mixtures : int
    folder : Path
        Where the files go.
    rate_hz : int
        Sample rate of the files.
    seed : int
        The same seed and clips give the same mixtures.

    Raises
    ------
    ClipsError
        No group holds clips of two classes.
    """
    pairs = [
        (one, other)
        for index, one in enumerate(clips)
        for other in clips[index + 1 :]
        if one.group == other.group and not set(one.labels) & set(other.labels)
    ]
    if not pairs:
        raise ClipsError("no two clips of one group can be mixed", hint="give larger groups")
    rng = np.random.default_rng(seed)
    mixtures = []
    for number, chosen in enumerate(rng.integers(len(pairs), size=n_mixtures)):
        one, other = pairs[chosen]
        path = folder / f"synthetic_mixture_{number}.wav"
        sounds = [_read(clip.path, rate_hz) for clip in (one, other)]
        sf.write(path, _mix(sounds, rng), rate_hz)
        mixtures.append(Clip(path, tuple(sorted({*one.labels, *other.labels})), one.group))
    return mixtures


def _read(path: Path, rate_hz: int) -> NDArray[np.float32]:
    """The active part of a file's first channel, `MAX_S` at most."""
    samples, native_hz = sf.read(path, dtype="float32", always_2d=True)
    resampled = soxr.resample(samples[:, 0], native_hz, rate_hz)
    return active_part(resampled, rate_hz)[: round(MAX_S * rate_hz)]


def _mix(sounds: list[NDArray[np.float32]], rng: np.random.Generator) -> NDArray[np.float32]:
    """The longer sound with the shorter one somewhere in it, at another level."""
    short, long = sorted(sounds, key=len)
    begin = int(rng.integers(len(long) - len(short) + 1))
    mixed = long.copy()
    mixed[begin : begin + len(short)] += short * _gain(rng, DIFFERENCE_DB)
    mixed *= _gain(rng, LEVEL_DB)
    return mixed * np.float32(min(1.0, 0.98 / max(float(np.abs(mixed).max()), 1e-9)))


def _gain(rng: np.random.Generator, largest_db: float) -> np.float32:
    return np.float32(10 ** (rng.uniform(-largest_db, largest_db) / 20))
