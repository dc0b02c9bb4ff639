"""Speech in field audio at a level that is known, for training and for the test.

The level is that of an utterance over the field audio it is mixed with: the power of both from 300
to 3,400 Hz (the band of a telephone), over the samples in which there is speech. Rumble below and
insects above that band do not count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from field_audio import Background, Site
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt
from speech import RATE_HZ, Line, Samples, Utterance, say

BAND_HZ = (300.0, 3400.0)
FIRST_S, PAUSE_S = (3.0, 10.0), (4.0, 20.0)
"""Before the first utterance of a clip, and between two of them: from, to."""

_PEAK = 0.99
_FILTER = butter(4, BAND_HZ, "bandpass", fs=RATE_HZ, output="sos")


@dataclass(frozen=True, slots=True)
class Scene:
    """A minute of field audio, and where somebody speaks in it."""

    background: str
    site: Site
    pcm: NDArray[np.int16]
    speech: NDArray[np.bool_]
    """Of each sample."""
    utterances: tuple[tuple[int, int], ...]
    """First sample of each, and behind its last."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An utterance and the sample of a scene with which it begins."""

    begin: int
    utterance: Utterance


def gain(utterance: Utterance, field: Samples, snr_db: float) -> float:
    """What to multiply an utterance with, so that it has a level over as much field audio."""
    speech, noise = (
        (sosfiltfilt(_FILTER, samples)[utterance.active] ** 2).mean()
        for samples in (utterance.samples, field)
    )
    return float(np.sqrt(noise / speech * 10 ** (snr_db / 10)))


def placements(lines: Iterator[Line], n_samples: int, random: np.random.Generator) -> list[Placed]:
    """Utterances for a scene, with pauses, none cut off."""
    placed: list[Placed] = []
    begin = round(random.uniform(*FIRST_S) * RATE_HZ)
    while True:
        utterance = say(next(lines))
        end = begin + len(utterance.samples)
        if end > n_samples:
            return placed
        placed.append(Placed(begin, utterance))
        begin = end + round(random.uniform(*PAUSE_S) * RATE_HZ)


def scene(background: Background, placed: Sequence[Placed], snr_db: float) -> Scene:
    """Mix; if the sum does not fit into 16 bits, all of it becomes quieter."""
    mixed = background.samples.copy()
    speech = np.zeros(len(mixed), bool)
    spans = []
    for begin, utterance in ((one.begin, one.utterance) for one in placed):
        here = slice(begin, begin + len(utterance.samples))
        mixed[here] += gain(utterance, background.samples[here], snr_db) * utterance.samples
        speech[here] = utterance.active
        spans.append((here.start, here.stop))
    return Scene(background.name, background.site, as_pcm(mixed), speech, tuple(spans))


def as_pcm(samples: Samples) -> NDArray[np.int16]:
    """16 bits; what is too loud for them becomes quieter."""
    quieter = samples * min(1.0, _PEAK / np.abs(samples).max())
    pcm: NDArray[np.int16] = np.round(quieter * 32767).astype(np.int16)
    return pcm
