"""From clips to a signed bundle: encode, train, judge held-out, fit thresholds, write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.writer import check_plan
from edge_probe.errors import EdgeProbeError
from edge_probe.spec import EncoderSpec, WindowSpec
from export.calibration import fit_platt
from export.card import EncoderCard
from export.clips import ClipSet
from export.held_out import Windows, held_out_windows, highest, macro_map
from export.material import Material, encode
from export.noise_gate import NoiseGate, NoiseResult, write_gated_bundle
from export.precision import LOSS_BUDGET, Choice, choose
from export.replay import ReplayClips
from export.targets import (
    Background,
    Targeted,
    false_alarm_thresholds,
    hours_of,
    precision_thresholds,
)
from export.thresholds import FAVOURS, Thresholds, fit_thresholds, window_logits
from export.tokens import TokenCache
from export.train import HeadOptions, fit_heads


@dataclass(frozen=True, slots=True)
class Job:
    """Everything ``edge-export fit`` was asked for."""

    name: str
    card: EncoderCard
    options: HeadOptions
    windows: WindowSpec
    seed: int
    no_background: bool
    candidates: tuple[str, ...] = ("1",)
    """Heads to choose from, as in `export.precision`."""
    loss_budget: float = LOSS_BUDGET
    loudest: int | None = None
    """Chunks of a clip that are learned from."""
    favour: str = "balance"
    """Of the thresholds; a key of `export.thresholds.FAVOURS`, unless a target is stated."""
    target_precision: float | None = None
    """Of held-out clips, in (0, 1); at most one of the two targets is given."""
    max_false_alarms_per_hour: float | None = None
    """On background clips."""
    noise: NoiseGate = field(default_factory=NoiseGate)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    bundle: Bundle
    left_out: list[str]
    """One line per clip that could not be used."""
    choice: Choice
    held_out_accuracy: float | None
    """Share of single-label clips whose highest logit, judged unseen, is their own class; None
    where there is no such clip."""
    thresholds: Thresholds
    noise: NoiseResult
    warnings: list[str]
    """One line each."""


def fit_bundle(clips: ClipSet, cache: TokenCache, job: Job, out: Path, *, replace: bool) -> Outcome:
    """Train a head on clips and write the bundle.

    Raises
    ------
    EdgeProbeError
        No background clips although they were not waived or false alarms are to be counted on
        them, a class without a readable clip, or something that a bundle cannot hold.
    NoiseGateError
        A class fires on noise; what stands at ``out`` stays.
    """
    check_plan(
        out, name=job.name, encoder=job.card.spec, provenance=job.card.provenance,
        windows=job.windows, labels=clips.labels, replace=replace,
    )  # fmt: skip
    if clips.n_background == 0 and not job.no_background:
        raise EdgeProbeError(
            "no background clips: a head that never heard your site without its classes will "
            "detect them everywhere",
            hint="add a folder Background of clips from the site, or say --no-background",
        )
    if clips.n_background == 0 and job.max_false_alarms_per_hour is not None:
        raise EdgeProbeError(
            "no background clips: there is nothing to count false alarms on",
            hint="add a folder Background of clips from the site",
        )
    material = encode(clips, cache, job.loudest)
    found = held_out_windows(material, job.candidates, job.options, job.windows, job.seed)
    measured = macro_map(found, material)
    choice = choose(measured, job.loss_budget)
    unseen = found[choice.name]
    held_out = highest(unseen)
    head = fit_heads(
        material.bags(), [choice.name], job.options, seed=job.seed, progress="final head"
    )[choice.name]
    shipped = [window_logits(head, clip, job.windows) for clip in material.tokens]
    targets = np.nan_to_num(material.targets)  # where unknown, held_out is NaN and not counted
    judged: NDArray[np.bool_] = np.any(material.heard & ~np.isnan(held_out), axis=0)
    counted = held_out if judged.any() else _where_known(highest(shipped), material)
    targeted = _thresholds(job, material, counted, targets, unseen, shipped)
    platt = fit_platt(held_out, targets, clips.labels)
    accuracy = _accuracy(held_out, targets)
    stated = (job.target_precision, job.max_false_alarms_per_hour)
    bundle, noise = write_gated_bundle(
        out,
        job.noise,
        name=job.name,
        created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        encoder=job.card.spec,
        graph=job.card.graph,
        external_data=job.card.external_data,
        provenance=dict(job.card.provenance),
        head=head,
        windows=job.windows,
        labels=clips.labels,
        threshold_on=targeted.thresholds.on,
        threshold_off=targeted.thresholds.off,
        calibration=platt.slope_intercept,
        conformance_audio=conformance_audio(job.card.spec),
        training={
            "background_clips": len(material.background),
            "no_background": clips.n_background == 0,
            "clips": len(material.clips),
            "chosen": choice.name,
            "held_out_map": {
                name: None if value is None else round(value, 2) for name, value in measured.items()
            },
            "seed": job.seed,
            "favour": job.favour if stated == (None, None) else None,
            "target_precision": job.target_precision,
            "max_false_alarms_per_hour": job.max_false_alarms_per_hour,
            "held_out_accuracy": accuracy,
        },
        replace=replace,
        clips=ReplayClips.of(head, material),
    )
    warnings = [*clips.warnings, *_unjudged(clips.labels, judged), *targeted.warnings]
    return Outcome(
        bundle,
        [*material.left_out, *noise.unreadable],
        choice,
        accuracy,
        targeted.thresholds,
        noise,
        [*warnings, *platt.warnings, *noise.warnings],
    )


def _thresholds(
    job: Job,
    material: Material,
    counted: NDArray[np.float64],
    targets: NDArray[np.float32],
    unseen: Windows,
    shipped: Windows,
) -> Targeted:
    """By the stated target, or by what the user favours."""
    if job.target_precision is not None:
        return precision_thresholds(counted, targets, material.labels, job.target_precision)
    background = material.background.tolist()
    if job.max_false_alarms_per_hour is None:
        quiet = [shipped[row].max(axis=0) for row in background]
        return Targeted(fit_thresholds(counted, targets, quiet, beta=FAVOURS[job.favour]))
    chunk_s = job.card.spec.chunk_s
    return false_alarm_thresholds(
        Background(
            [unseen[row] for row in background],
            [shipped[row] for row in background],
            hours_of([material.tokens[row] for row in background], chunk_s),
        ),
        counted, targets, material.labels,
        windows=job.windows, chunk_s=chunk_s, per_hour=job.max_false_alarms_per_hour,
    )  # fmt: skip


def _where_known(logits: NDArray[np.float64], material: Material) -> NDArray[np.float64]:
    return np.where(np.isnan(material.targets), np.nan, logits)


def _unjudged(labels: Sequence[str], judged: NDArray[np.bool_]) -> list[str]:
    """A warning, if some classes have too few recordings to be judged unheard."""
    if judged.all():
        return []
    names, thresholds = "any class", "thresholds come from clips that the head has heard"
    if judged.any():
        names = ", ".join(label for label, known in zip(labels, judged, strict=True) if not known)
        thresholds = "their thresholds are the median of the others"
    return [
        f"no clip of {names} could be held out: {thresholds}; add recordings, or tell them apart "
        "in a CSV file with a column group"
    ]


def _accuracy(highest: NDArray[np.float64], targets: NDArray[np.float32]) -> float | None:
    counted = (targets.sum(axis=1) == 1) & ~np.isnan(highest).any(axis=1)
    if not counted.any():
        return None
    right = highest[counted].argmax(axis=1) == targets[counted].argmax(axis=1)
    return round(float(right.mean()), 4)


def conformance_audio(spec: EncoderSpec) -> NDArray[np.int16]:
    """Made-up sound for the conformance vectors, free of anybody's rights.

    Two chunks (one where a chunk is longer than 4 s): a rising and a falling tone, clicks, and
    noise that fades in.

    Returns
    -------
    (n,) int16
    """
    n_samples = spec.chunk_samples * (2 if spec.chunk_s <= 4 else 1)
    rng = np.random.default_rng(20240501)
    time = np.arange(n_samples) / n_samples
    cycles = 0.2 * n_samples * (time**2)
    sound = 0.2 * np.sin(2 * np.pi * cycles) + 0.1 * np.sin(2 * np.pi * (cycles[-1] - cycles) * 0.5)
    sound += 0.1 * time * rng.normal(size=n_samples)
    sound[:: max(1, n_samples // 7)] += 0.5
    pcm: NDArray[np.int16] = np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)
    return pcm
