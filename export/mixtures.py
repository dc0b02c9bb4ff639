"""Synthetic mixtures: clips of different classes at once, to learn and to test overlap."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from edge_probe.source.files import AudioFile
from export.clips import Clip, ClipsError

ACTIVE_DB = -40.0
"""A sound lasts from the first to the last 20 ms frame above this level below its loudest."""

RMS = 0.05
"""Level of a sound while it lasts (-26 dBFS)."""

MAX_S = 5.0
"""Longest sound in a mixture of no fixed length."""

DIFFERENCE_DB = 8.0
"""Of `PAIRS`: largest difference in level between the two sounds."""

LEVEL_DB = 10.0
"""Of `PAIRS`: largest change in level of the whole mixture."""


@dataclass(frozen=True, slots=True)
class Mixing:
    """What mixtures are made of."""

    least: int
    most: int
    """Sounds in a mixture."""
    others_db: tuple[float, float]
    """Range of the levels of the other sounds against the first, which is the longest where there
    is no fixed length."""
    level_db: tuple[float, float] = (0.0, 0.0)
    """Range of the level of the whole mixture against `RMS`."""
    length_s: float | None = None
    """Length of a mixture, with every sound somewhere in it; None: that of its longest sound."""
    draw: Literal["evenly", "any pair"] = "evenly"
    """As many mixtures of each number of sounds, and each class as often; or two clips, every pair
    as likely as every other."""


PAIRS = Mixing(2, 2, (-DIFFERENCE_DB, DIFFERENCE_DB), (-LEVEL_DB, LEVEL_DB), draw="any pair")
"""How the demonstration bundle was taught overlap."""

ONE_TO_THREE = Mixing(1, 3, (-12.0, 0.0), length_s=5.0)
"""For multi-label tests: 1 to 3 classes in 5 s, the others 0 to 12 dB below the loudest."""


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
    clips: Sequence[Clip],
    n_mixtures: int,
    folder: Path,
    *,
    rate_hz: int,
    seed: int,
    mixing: Mixing = PAIRS,
) -> list[Clip]:
    """Write synthetic mixtures of clips as WAV files.

    The sounds of a mixture come from one split where clips were put in splits by hand, else from
    one group. The mixture belongs there as well, so that a split by hand or by groups keeps a
    sound and its mixtures on one side; those of a split by hand are one group.

    Parameters
    ----------
    clips : sequence of Clip
        Mixed are those of which everything is known, without a label in common; evenly drawn are
        those of exactly one class.
    n_mixtures : int
    folder : Path
        Where the files ``synthetic_mixture_N.wav`` go.
    rate_hz : int
        Sample rate of the files.
    seed : int
        The same seed and clips give the same mixtures.
    mixing : Mixing

    Raises
    ------
    ClipsError
        No split or group holds clips of enough classes, or a clip is shorter than 20 ms.
    AudioError
        A clip cannot be read.
    """
    rng = np.random.default_rng(seed)
    clips = [clip for clip in clips if not clip.absent and not clip.unknown]
    if mixing.draw == "evenly":
        drawn = _evenly(clips, n_mixtures, mixing, rng)
    else:
        drawn = _any_pairs(clips, n_mixtures, rng)
    mixtures = []
    for number, chosen in enumerate(drawn):
        path = folder / f"synthetic_mixture_{number}.wav"
        longest_s = mixing.length_s or MAX_S
        sounds = [_read(clip, rate_hz, longest_s) for clip in chosen]
        sf.write(path, _mix(sounds, mixing, rate_hz, rng), rate_hz)
        labels = sorted({label for clip in chosen for label in clip.labels})
        split = chosen[0].split
        group = f"synthetic {split}" if split else chosen[0].group
        mixtures.append(Clip(path, tuple(labels), group, split=split))
    return mixtures


def _pool(clip: Clip) -> str:
    """What the sounds of one mixture have in common."""
    return f"split {clip.split}" if clip.split else f"group {clip.group}"


def _any_pairs(
    clips: Sequence[Clip], n_mixtures: int, rng: np.random.Generator
) -> list[tuple[Clip, ...]]:
    pairs = [
        (one, other)
        for index, one in enumerate(clips)
        for other in clips[index + 1 :]
        if _pool(one) == _pool(other) and not set(one.labels) & set(other.labels)
    ]
    if not pairs:
        raise ClipsError(
            "no two clips of one group or split can be mixed", hint="give larger groups"
        )
    return [pairs[chosen] for chosen in rng.integers(len(pairs), size=n_mixtures)]


def _evenly(
    clips: Sequence[Clip], n_mixtures: int, mixing: Mixing, rng: np.random.Generator
) -> list[tuple[Clip, ...]]:
    """Clips of each mixture: the classes that were used least so far, each in a random clip."""
    pools: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        if len(clip.labels) == 1:
            pools.setdefault(_pool(clip), {}).setdefault(clip.labels[0], []).append(clip)
    if max(map(len, pools.values()), default=0) < mixing.most:
        raise ClipsError(
            f"no group or split holds single-label clips of {mixing.most} classes",
            hint="give larger groups, or put clips in splits",
        )
    numbers = np.resize(np.arange(mixing.least, mixing.most + 1), n_mixtures)
    used: Counter[str] = Counter()
    drawn = []
    for n_sounds in rng.permutation(numbers):
        fitting = [pool for pool in pools.values() if len(pool) >= n_sounds]
        rarest = _least_used({label for pool in fitting for label in pool}, used, rng)[0]
        having = [pool for pool in fitting if rarest in pool]
        share = np.array([len(pool[rarest]) for pool in having])
        pool = having[rng.choice(len(having), p=share / share.sum())]
        others = _least_used(pool.keys() - {rarest}, used, rng)
        chosen = [rarest, *others[: n_sounds - 1]]
        used.update(chosen)
        rng.shuffle(chosen)
        drawn.append(tuple(pool[label][rng.integers(len(pool[label]))] for label in chosen))
    return drawn


def _least_used(labels: set[str], used: Counter[str], rng: np.random.Generator) -> list[str]:
    """Labels by how often they were used, those used as often in random order."""
    shuffled = rng.permutation(sorted(labels)).tolist()
    return sorted(shuffled, key=lambda label: used[label])


def _read(clip: Clip, rate_hz: int, longest_s: float) -> NDArray[np.float32]:
    """The active part of a clip's first channel, not longer than a mixture may be."""
    with AudioFile(clip.path, channel=0) as audio:
        native_hz, n_samples = audio.sample_rate_hz, audio.n_samples
        begin = min(round((clip.start_s or 0) * native_hz), n_samples)
        end = n_samples if clip.end_s is None else round(clip.end_s * native_hz)
        samples = audio.read(begin, max(begin, min(end, n_samples)))
    resampled = soxr.resample(samples, native_hz, rate_hz)
    if len(resampled) < rate_hz // 50:
        raise ClipsError(
            f"{clip.path}: expected at least 20 ms of sound, found "
            f"{len(resampled) / rate_hz * 1000:.0f} ms",
            hint="leave the clip out",
        )
    return active_part(resampled, rate_hz)[: round(longest_s * rate_hz)]


def _mix(
    sounds: list[NDArray[np.float32]], mixing: Mixing, rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The first sound with the others somewhere in it, at other levels."""
    if mixing.length_s is None:
        *others, first = sorted(sounds, key=len)
        mixed = first.copy()
    else:
        first, *others = sounds
        mixed = np.zeros(round(mixing.length_s * rate_hz), np.float32)
        _add(mixed, first, (0.0, 0.0), rng)
    for sound in others:
        _add(mixed, sound, mixing.others_db, rng)
    mixed *= _gain(rng, mixing.level_db)
    return mixed * np.float32(min(1.0, 0.98 / max(float(np.abs(mixed).max()), 1e-9)))


def _add(
    mixed: NDArray[np.float32],
    sound: NDArray[np.float32],
    range_db: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Add a sound somewhere in a mixture, at some level."""
    begin = int(rng.integers(len(mixed) - len(sound) + 1))
    mixed[begin : begin + len(sound)] += sound * _gain(rng, range_db)


def _gain(rng: np.random.Generator, range_db: tuple[float, float]) -> np.float32:
    return np.float32(10 ** (rng.uniform(*range_db) / 20))
