"""The demo bundle stays silent where none of its sounds is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE

RATE = 16_000
GAINS_DB = (-20, 0, 20)
FIELD_GAINS_DB = (-12, 0, 12)
"""At +20 dB up to 29 % of the samples of the loudest field recordings clip: another sound."""


@pytest.fixture(scope="module")
def analyser() -> ChunkAnalyser:
    return ChunkAnalyser(open_bundle(DEMO_BUNDLE))


def noise(kind: str, seconds: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(7)
    if kind == "white noise":
        return rng.normal(0, 0.03, seconds * RATE)
    if kind == "silence":  # digital, and at a gain the last bit of a converter
        return rng.integers(0, 2, seconds * RATE) / 2**15
    phase = 2 * np.pi * int(kind.split()[-1]) * np.arange(RATE) / RATE
    second = np.sum([np.sin(n * phase) / n for n in range(1, 9)], axis=0)
    return np.tile(0.03 * second, seconds) + rng.normal(0, 1e-4, seconds * RATE)


def n_events(analyser: ChunkAnalyser, samples: NDArray[np.float64], rate: int) -> int:
    classifier = RunClassifier(analyser, Run("run", 0, rate))
    clipped = np.clip(samples, -1, 1).astype(np.float32)
    return len(classifier.push(clipped) + classifier.finish())


MADE_UP_S = {"white noise": 900, "hum of 50": 300, "hum of 60": 300, "silence": 300}
"""White noise is new all the time; a hum repeats itself, and silence has one bit to differ in."""


@pytest.mark.parametrize("gain_db", GAINS_DB)
@pytest.mark.parametrize("kind", MADE_UP_S)
def test_quiet_on_made_up_noise(analyser: ChunkAnalyser, kind: str, gain_db: int) -> None:
    """An hour and a half in all."""
    assert n_events(analyser, noise(kind, MADE_UP_S[kind]) * 10 ** (gain_db / 20), RATE) == 0


@pytest.mark.parametrize("gain_db", FIELD_GAINS_DB)
def test_quiet_on_field_background(analyser: ChunkAnalyser, shared: Path, gain_db: int) -> None:
    """The recordings of odd hours, none of which took part in training.

    Eight minutes a level and 24 in all is what there is: none where 0.4 would be allowed.
    """
    seconds = 0.0
    for path in sorted((shared / "soundscapes" / "maad_S4A03895_24h").glob("*.flac")):
        if int(path.stem[-6:-4]) % 2 == 1:
            samples, rate = sf.read(path)
            assert n_events(analyser, samples * 10 ** (gain_db / 20), rate) == 0, path.name
            seconds += len(samples) / rate
    assert seconds > 400
