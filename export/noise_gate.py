"""The noise gate: a bundle that fires where none of its classes can be is not shipped.

The head and the thresholds that would be shipped run over noise, by the code of the recorder, and
each class's detections per hour are held against a limit, on each of two sets alone:

* the user's own recordings that hold none of the classes, where given;
* made-up noise (`export.noise`) at the rate of the encoder and at several levels, the same at
  every run; a few minutes of it, so that a single detection is too much for any limit below about
  15 an hour. Some classes (rain, cicadas) sound like it, and a head that a few dozen clips have
  taught has never heard most of it: it is refused only where a limit is stated, else warned about.

A detection lasts as long as a class fires; no run is longer than `STRETCH_S`, so that a class that
never falls silent is not taken for one that fired once.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, write_bundle
from edge_probe.bundle.schema import Json
from edge_probe.classify import Run
from edge_probe.errors import EdgeProbeError
from edge_probe.head import ChunkSummary, PrototypeHead
from edge_probe.head.prototypes import PrototypeMaxima
from edge_probe.head.vectors import steps_of, to_int16
from export.detection_rate import STRETCH_S, DetectionCount, DetectionRate, rate_on_recordings
from export.noise import KINDS, made_up_noise
from export.replay import NOISE_BYTES, ReplayClips, make_replay

MAX_PER_HOUR = 1.0
"""Of a class, where no rate is stated."""

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
    max_per_hour: float | None = None
    """Detections of any class on either set; None: `target_per_hour`, and made-up noise only
    warns."""
    target_per_hour: float = MAX_PER_HOUR
    """What thresholds were chosen for, where a rate of false alarms was stated."""


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """What passed."""

    rates: Mapping[str, DetectionRate]
    """By the name of the set."""
    warnings: tuple[str, ...]
    """One line each."""
    scores: tuple[NDArray[np.int16], ...] = ()
    """Of the chunks of some of the sounds: (n_chunks, M) each; none for heads without
    prototypes."""

    @property
    def unreadable(self) -> list[str]:
        """One line per recording that could not be used."""
        return [line for rate in self.rates.values() for line in rate.unreadable]

    def facts(self) -> dict[str, Json]:
        """For the manifest: the length of each set and the rate of its worst class."""
        return {
            what.replace("-", "_").replace(" ", "_"): {
                "hours": round(rate.hours, 4),
                "detections_per_hour_max": round(rate.per_hour_max, 4),
            }
            for what, rate in self.rates.items()
        }


def write_gated_bundle(
    out: Path,
    gate: NoiseGate,
    *,
    training: Mapping[str, Json],
    replace: bool,
    clips: ReplayClips | None = None,
    **arguments: Any,
) -> tuple[Bundle, NoiseResult]:
    """Write a bundle under its name if it passes; else nothing changes.

    Parameters
    ----------
    out : Path
        Where the bundle shall be.
    gate : NoiseGate
    training : mapping
        As for `edge_probe.bundle.write_bundle`; the gate's figures are added as ``noise``.
    replace : bool
        Replace a bundle that stands there already.
    clips : ReplayClips, optional
        What the bundle takes along to go on learning from.
    **arguments
        The other arguments of `write_bundle`.

    Raises
    ------
    BundleError, EncoderError
        As `write_bundle`.
    NoiseGateError, ClipsError
        As `pass_noise_gate`.
    """
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        candidate = write_bundle(Path(folder) / "candidate", training=training, **arguments)
        passed = pass_noise_gate(candidate, gate)
    facts: dict[str, Json] = {**training, "noise": passed.facts()}
    replay = make_replay(clips, passed.scores, SEED) if clips else None
    if clips and replay is None:
        why = "no replay is written: there is no room for the scores of so many prototypes"
        passed = dataclasses.replace(passed, warnings=(*passed.warnings, why))
    return write_bundle(out, training=facts, replace=replace, replay=replay, **arguments), passed


def pass_noise_gate(bundle: Bundle, gate: NoiseGate) -> NoiseResult:
    """Run a bundle over noise.

    Raises
    ------
    NoiseGateError
        A class fires more often than allowed; says which, how often and on what.
    ClipsError
        None of the recordings can be read.
    """
    kept_made_up, kept_recorded = (_Kept(bundle, NOISE_BYTES // 2) for _ in range(2))
    made_up = {"made-up noise": _rate_on_made_up(bundle, kept_made_up)}
    recorded = {}
    if gate.recordings:
        what = "noise recordings"
        recorded[what] = rate_on_recordings(
            bundle, gate.recordings, gate.channel, what=what,
            stretch_s=max(STRETCH_S, _window_s(bundle)), hear=kept_recorded.add,
        )  # fmt: skip
    limit = gate.target_per_hour if gate.max_per_hour is None else gate.max_per_hour
    rates = recorded | made_up
    refused = _loud(recorded if gate.max_per_hour is None else rates, limit)
    if refused:
        raise NoiseGateError(
            f"at most {limit:g} detections per hour of noise are allowed, found {refused}",
            hint="add background clips that sound like it, ask for fewer false alarms (--favour "
            "precision, --target-precision), or state another --max-noise-detections-per-hour",
        )
    warnings = []
    if loud := _loud(rates, limit):
        warnings.append(
            f"noise is taken for {loud}; background clips that sound like it help, and "
            "--max-noise-detections-per-hour refuses such a bundle"
        )
    return NoiseResult(rates, tuple(warnings), (*kept_made_up.runs, *kept_recorded.runs))


class _Kept:
    """Scores of the first sounds that have room, whole."""

    def __init__(self, bundle: Bundle, n_bytes: int) -> None:
        head = bundle.head
        self._steps = steps_of(head) if isinstance(head, PrototypeHead) else 0
        self._room = n_bytes
        self._runs: dict[str, list[NDArray[np.int16]]] = {}

    def add(self, run: str, summary: ChunkSummary) -> None:
        """Take a chunk of a sound."""
        if isinstance(summary, PrototypeMaxima) and self._room > 0:
            scores = to_int16(summary.scores, self._steps)
            self._runs.setdefault(run, []).append(scores)
            self._room -= scores.nbytes

    @property
    def runs(self) -> list[NDArray[np.int16]]:
        """Of each sound: (n_chunks, M); one that was cut short is left out."""
        whole = list(self._runs.values())
        return [np.stack(run) for run in (whole if self._room > 0 else whole[:-1])]


def _loud(rates: Mapping[str, DetectionRate], limit: float) -> str:
    """The classes above a limit, how often they fire and on what; empty if none does."""
    return "; ".join(
        f"{label} {rate.per_hour(label):.1f} times per hour ({count} in {rate.hours:.2f} h of "
        f"{what}, most on {rate.most_on[label]})"
        for what, rate in rates.items()
        for label, count in rate.detections.items()
        if rate.per_hour(label) > limit
    )


def _rate_on_made_up(bundle: Bundle, kept: _Kept) -> DetectionRate:
    """Detections on made-up noise; ``most_on`` names the kind of noise."""
    encoder = bundle.encoder
    n_samples = round(max(SOUND_S, _window_s(bundle)) * encoder.sample_rate_hz)
    rng = np.random.default_rng(SEED)
    name = ""
    count = DetectionCount(bundle, lambda summary: kept.add(name, summary))
    sounds = made_up_noise(rng, N_SOUNDS, n_samples, encoder.sample_rate_hz)
    for number, sound in enumerate(sounds):
        name = f"{KINDS[number % len(KINDS)]} {number}"
        gain_db = GAINS_DB[number // len(KINDS)]
        run = Run(KINDS[number % len(KINDS)], 0, encoder.sample_rate_hz)
        count.add(run, [np.clip(sound * np.float32(10 ** (gain_db / 20)), -1, 1)])
    return count.rate()


def _window_s(bundle: Bundle) -> float:
    return bundle.windows.window_chunks * bundle.encoder.chunk_s
