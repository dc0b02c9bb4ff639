"""The noise gate: a bundle that fires where none of its classes can be is not shipped.

The head and the thresholds that would be shipped run over noise, by the code of the recorder, and
each class's detections per hour are held against a limit, on each of two sets alone:

* made-up noise (`export.noise`) at the rate of the encoder and at several levels, the same at
  every run; a few minutes of it, so that a single detection is too much for any limit below about
  15 an hour;
* the user's own recordings that hold none of the classes, where given.

A detection lasts as long as a class fires; no run is longer than `STRETCH_S`, so that a class that
never falls silent is not taken for one that fired once.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_probe.bundle import Bundle
from edge_probe.classify import Run
from edge_probe.errors import EdgeProbeError
from export.detection_rate import STRETCH_S, DetectionCount, DetectionRate, rate_on_recordings
from export.noise import KINDS, made_up_noise

SEED = 20240601
N_SOUNDS = 24
SOUND_S = 10.0
"""Of each sound; a window where that is longer."""

GAINS_DB = (0, -20, 12)
"""Of every kind of noise in turn; above, white noise would be clipped, another sound."""


class NoiseGateError(EdgeProbeError):
    """A class fires on noise more often than allowed."""


@dataclass(frozen=True, slots=True)
class NoiseGate:
    """What a bundle must pass."""

    recordings: tuple[Path, ...] = ()
    """Known to hold none of the classes."""
    channel: int | None = None
    """Of multi-channel recordings, counted from 0."""
    max_detections_per_hour: float = 1.0
    """Of any class; infinity lets everything pass."""


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """What passed."""

    hours: float
    detections_per_hour_max: float
    """Of the worst class on the worse set."""
    unreadable: list[str]
    """One line per recording that could not be used."""


def pass_noise_gate(bundle: Bundle, gate: NoiseGate) -> NoiseResult:
    """Run a bundle over noise.

    Raises
    ------
    NoiseGateError
        A class fires more often than allowed; says which, how often and on what.
    ClipsError
        None of the recordings can be read.
    """
    sets = {"made-up noise": made_up_rate(bundle)}
    if gate.recordings:
        what = "noise recordings"
        sets[what] = rate_on_recordings(
            bundle, gate.recordings, gate.channel, what=what,
            stretch_s=max(STRETCH_S, _window_s(bundle)),
        )  # fmt: skip
    loud = [
        f"{label} {rate.per_hour(label):.1f} times ({count} in {rate.hours:.2f} h of {what}, "
        f"most on {rate.most_on[label]})"
        for what, rate in sets.items()
        for label, count in rate.detections.items()
        if rate.per_hour(label) > gate.max_detections_per_hour
    ]
    if loud:
        raise NoiseGateError(
            f"at most {gate.max_detections_per_hour:g} detections per hour of noise are allowed, "
            f"found {'; '.join(loud)}",
            hint="add background clips that sound like it, ask for fewer false alarms (--favour "
            "precision, --target-precision), or, for classes that are meant to sound like "
            "noise, set --max-noise-detections-per-hour",
        )
    return NoiseResult(
        sum(rate.hours for rate in sets.values()),
        max(rate.per_hour(label) for rate in sets.values() for label in rate.detections),
        [line for rate in sets.values() for line in rate.unreadable],
    )


def made_up_rate(bundle: Bundle) -> DetectionRate:
    """Detections on made-up noise; ``most_on`` names the kind of noise."""
    encoder = bundle.encoder
    n_samples = round(max(SOUND_S, _window_s(bundle)) * encoder.sample_rate_hz)
    rng = np.random.default_rng(SEED)
    count = DetectionCount(bundle)
    sounds = made_up_noise(rng, N_SOUNDS, n_samples, encoder.sample_rate_hz)
    for number, sound in enumerate(sounds):
        gain_db = GAINS_DB[number // len(KINDS)]
        run = Run(KINDS[number % len(KINDS)], 0, encoder.sample_rate_hz)
        count.add(run, [np.clip(sound * np.float32(10 ** (gain_db / 20)), -1, 1)])
    return count.rate()


def _window_s(bundle: Bundle) -> float:
    return bundle.windows.window_chunks * bundle.encoder.chunk_s
