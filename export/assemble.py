"""From clips to a signed bundle: encode, train, judge held-out, fit thresholds, write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe.bundle import Bundle
from edge_probe.bundle.writer import check_plan
from edge_probe.errors import EdgeProbeError
from edge_probe.spec import EncoderSpec, WindowSpec
from export.calibration import fit_platt
from export.card import EncoderCard
from export.clips import BACKGROUND, Clip, ClipSet
from export.noise_gate import NoiseGate, NoiseResult, write_gated_bundle
from export.targets import (
    Background,
    Targeted,
    false_alarm_thresholds,
    hours_of,
    precision_thresholds,
)
from export.thresholds import FAVOURS, Thresholds, fit_thresholds, held_out_folds, window_logits
from export.tokens import ClipTokens, Encoded, TokenCache
from export.train import Bags, HeadOptions, fit_head


@dataclass(frozen=True, slots=True)
class Job:
    """Everything ``edge-export fit`` was asked for."""

    name: str
    card: EncoderCard
    options: HeadOptions
    windows: WindowSpec
    seed: int
    no_background: bool
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
    held_out_accuracy: float | None
    """Share of single-label clips whose highest logit, judged unseen, is their own class; None
    where there is no such clip."""
    thresholds: Thresholds
    noise: NoiseResult
    warnings: list[str]
    """One line each."""


def targets_of(clips: Sequence[Clip], labels: Sequence[str]) -> NDArray[np.float32]:
    """Multi-hot rows; background clips are all zero: (N, C) float32."""
    column = {label: index for index, label in enumerate(labels)}
    targets = np.zeros((len(clips), len(labels)), np.float32)
    for row, clip in enumerate(clips):
        targets[row, [column[label] for label in clip.labels]] = 1
    return targets


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
    encoded, targets = _encode(clips, cache)
    unseen = held_out_windows(encoded.clips, encoded.tokens, targets, job)
    held_out = _highest(unseen)
    head = fit_head(
        Bags.of(encoded.tokens, targets), job.options, seed=job.seed, progress="final head"
    )
    shipped = [window_logits(head, clip, job.windows) for clip in encoded.tokens]
    judged: NDArray[np.bool_] = np.any((targets > 0) & ~np.isnan(held_out), axis=0)
    highest = held_out if judged.any() else _highest(shipped)
    targeted = _thresholds(job, clips.labels, highest, targets, encoded.tokens, unseen, shipped)
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
            "background_clips": int(np.sum(targets.sum(axis=1) == 0)),
            "no_background": clips.n_background == 0,
            "clips": len(encoded.clips),
            "seed": job.seed,
            "favour": job.favour if stated == (None, None) else None,
            "target_precision": job.target_precision,
            "max_false_alarms_per_hour": job.max_false_alarms_per_hour,
            "held_out_accuracy": accuracy,
        },
        replace=replace,
    )
    warnings = [*clips.warnings, *_unjudged(clips.labels, judged), *targeted.warnings]
    return Outcome(
        bundle,
        [*clips.left_out, *encoded.unreadable, *noise.unreadable],
        accuracy,
        targeted.thresholds,
        noise,
        [*warnings, *platt.warnings, *noise.warnings],
    )


def _thresholds(
    job: Job,
    labels: Sequence[str],
    highest: NDArray[np.float64],
    targets: NDArray[np.float32],
    tokens: Sequence[ClipTokens],
    unseen: Sequence[NDArray[np.float64]],
    shipped: Sequence[NDArray[np.float64]],
) -> Targeted:
    """By the stated target, or by what the user favours."""
    if job.target_precision is not None:
        return precision_thresholds(highest, targets, labels, job.target_precision)
    background = np.flatnonzero(targets.sum(axis=1) == 0).tolist()
    if job.max_false_alarms_per_hour is None:
        quiet = [shipped[row].max(axis=0) for row in background]
        return Targeted(fit_thresholds(highest, targets, quiet, beta=FAVOURS[job.favour]))
    chunk_s = job.card.spec.chunk_s
    return false_alarm_thresholds(
        Background(
            [unseen[row] for row in background],
            [shipped[row] for row in background],
            hours_of([tokens[row] for row in background], chunk_s),
        ),
        highest, targets, labels,
        windows=job.windows, chunk_s=chunk_s, per_hour=job.max_false_alarms_per_hour,
    )  # fmt: skip


def _encode(clips: ClipSet, cache: TokenCache) -> tuple[Encoded, NDArray[np.float32]]:
    """Tokens and targets of the readable clips; refuses a class that has none."""
    encoded = cache.encode(clips.clips, "encode")
    targets = targets_of(encoded.clips, clips.labels)
    empty = [clips.labels[i] for i in np.flatnonzero(targets.sum(axis=0) == 0)]
    if clips.n_background and targets.any(axis=1).all():
        empty.append(BACKGROUND)
    if empty:
        raise EdgeProbeError(
            f"no readable clip of {', '.join(empty)}", hint="; ".join(encoded.unreadable[:3])
        )
    return encoded, targets


def held_out_logits(
    clips: Sequence[Clip], tokens: Sequence[ClipTokens], targets: NDArray[np.float32], job: Job
) -> NDArray[np.float64]:
    """Highest logits of every clip by a head trained without its recording.

    Returns
    -------
    (N, C) float64
        NaN where that head had no clip of the class to learn from.
    """
    return _highest(held_out_windows(clips, tokens, targets, job))


def held_out_windows(
    clips: Sequence[Clip], tokens: Sequence[ClipTokens], targets: NDArray[np.float32], job: Job
) -> list[NDArray[np.float64]]:
    """Logits of the windows of every clip by a head trained without its recording.

    Returns
    -------
    list of (n_windows, C) float64
        NaN where that head had no clip of the class to learn from.
    """
    folds = held_out_folds(targets, [clip.group for clip in clips], job.seed)
    logits = [np.full((1, targets.shape[1]), np.nan) for _ in clips]
    for held_out in tqdm(folds, desc="held-out folds", unit="fold"):
        rest = np.setdiff1d(np.arange(len(clips)), held_out)
        known = targets[rest].any(axis=0)
        if not known.any():
            continue
        bags = Bags.of([tokens[row] for row in rest], targets[rest])
        head = fit_head(bags, job.options, seed=job.seed, progress="head")
        for row in held_out:
            windows = window_logits(head, tokens[row], job.windows)
            logits[row] = np.where(known, windows, np.nan)
    return logits


def _highest(windows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Over the windows of each clip: (N, C)."""
    return np.stack([logits.max(axis=0) for logits in windows])


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
