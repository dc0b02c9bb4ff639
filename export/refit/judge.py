"""Whether rows that were fitted anew are better: on corrections held out, and on noise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.replay import Replay
from edge_probe.bundle.tensors import Calibration
from edge_probe.detect import Box, Detector
from edge_probe.head import PrototypeHead
from edge_probe.head.prototypes import PrototypeMaxima, WindowMaxima
from edge_probe.head.vectors import from_int16, steps_of
from edge_probe.window import Windower
from export.clips.splits import grouped_folds
from export.metrics import quality, resampled_maps
from export.refit.layer import Examples, Rows, fit_rows, with_rows
from export.thresholds import N_FOLDS

N_RESAMPLES = 100
"""Enough for a standard error (Efron and Tibshirani 1993, section 6.4)."""

_NOWHERE = Box(0.0, 0.0, None, None)


@dataclass(frozen=True, slots=True)
class ClassResult:
    """What became of a class, on corrections that the rows in question never saw."""

    label: str
    n_present: int
    n_absent: int
    ap_before: float | None
    """None: its corrections say only yes, or only no."""
    ap_after: float | None
    right_before: int
    """Windows that the threshold decides as the reviewer did."""
    right_after: int


def held_out_logits(
    head: PrototypeHead, start: Rows, examples: Examples, seed: int
) -> NDArray[np.float64] | None:
    """Logits (n, C') of every example, by rows that were fitted without its group.

    Returns
    -------
    (n, C') float64 or None
        None: corrections are too few, or of one group, and nothing can be held out.
    """
    if len({group for group, ours in zip(examples.groups, examples.is_corrected, strict=True)
            if ours}) < 2:  # fmt: skip
        return None
    said = np.nan_to_num(examples.targets[:, start.classes]) > 0
    kinds = 2 * np.where(said.any(axis=1), said.argmax(axis=1) + 1, 0) + examples.is_corrected
    found = np.full((len(examples), len(start.classes)), np.nan)
    folds = grouped_folds(kinds.astype(np.int64), examples.groups, N_FOLDS, seed)
    if len(folds) < 2:
        return None
    for held_out in folds:
        rest = np.setdiff1d(np.arange(len(examples)), held_out)
        fitted = with_rows(head.linear, fit_rows(start, examples, rest))
        found[held_out] = Rows.of(fitted, start.classes).logits(examples.scores[held_out])
    return found


def compare(
    bundle: Bundle,
    examples: Examples,
    classes: NDArray[np.int64],
    before: tuple[NDArray[np.float64], NDArray[np.float64]],
    after: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> list[ClassResult]:
    """Class by class, on the corrections.

    Parameters
    ----------
    bundle : Bundle
    examples : Examples
    classes : (C',) int64
    before, after : ((n, C') float64, (C',) float64)
        Logits of the examples, held out, and thresholds.
    """
    ours = examples.is_corrected
    targets = examples.targets[ours][:, classes]
    precisions = [quality(logits[ours], targets).average_precision for logits, _ in (before, after)]
    results = []
    for at, number in enumerate(classes):
        known = ~np.isnan(targets[:, at])
        present = targets[known, at] > 0
        right = [
            int(np.sum((logits[ours][known, at] >= threshold[at]) == present))
            for logits, threshold in (before, after)
        ]
        was, is_now = (None if np.isnan(one[at]) else float(one[at]) for one in precisions)
        n_present = int(present.sum())
        label = bundle.labels[number].text
        n_absent = len(present) - n_present
        results.append(ClassResult(label, n_present, n_absent, was, is_now, *right))
    return results


def chance_of(
    examples: Examples,
    classes: NDArray[np.int64],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    seed: int,
) -> float:
    """Standard error of the difference of mean average precisions on the corrections.

    Groups are drawn again and again, the same for both; 0 where that tells nothing.
    """
    ours = np.flatnonzero(examples.is_corrected)
    groups = [examples.groups[int(row)] for row in ours]
    targets = examples.targets[ours][:, classes]
    old, new = (
        resampled_maps(logits[ours], targets, groups, n_resamples=N_RESAMPLES, seed=seed)
        for logits in (before, after)
    )
    apart = new - old
    return float(np.nanstd(apart)) if not np.isnan(apart).all() else 0.0


def as_quiet_as(
    bundle: Bundle,
    replay: Replay,
    head: PrototypeHead,
    calibration: Calibration,
    classes: NDArray[np.int64],
) -> Calibration:
    """Raise thresholds until no class makes more detections on noise than the parent did.

    Not beyond what every window of the noise stays below: that is for `noise_counts` to tell.
    """
    parent = bundle.head
    assert isinstance(parent, PrototypeHead)  # noqa: S101  refused before
    was = Calibration(bundle.threshold_on, bundle.threshold_off, None)
    allowed = noise_counts(bundle, noise_logits(bundle, parent, replay), was)
    runs = noise_logits(bundle, head, replay)
    on, off = calibration.threshold_on.copy(), calibration.threshold_off.copy()
    for number in classes:
        steps = np.sort(np.concatenate([[], *(logits[:, number] for logits in runs)]))
        for step in steps[steps >= on[number]]:
            tried = replace(calibration, threshold_on=on, threshold_off=off)
            if noise_counts(bundle, runs, tried)[int(number)] <= allowed[int(number)]:
                break
            raised = float(np.nextafter(step, np.inf))
            off[number] += raised - on[number]
            on[number] = raised
    return replace(calibration, threshold_on=on, threshold_off=off)


def noise_windows(bundle: Bundle, head: PrototypeHead, replay: Replay) -> list[list[WindowMaxima]]:
    """Windows of each sound of the noise of a replay, as a recorder would make them."""
    scores = from_int16(replay.noise, steps_of(head))
    nowhere = np.zeros(head.n_prototypes, np.int32)
    found = []
    for run in np.unique(replay.noise_runs):
        windower = Windower(bundle.windows)
        windows = []
        for one in scores[replay.noise_runs == run]:
            windows += windower.push(PrototypeMaxima(one, nowhere), 0)
        windows += windower.finish()
        found.append([head.merge(one.chunks) for one in windows])  # type: ignore[arg-type]
    return found


def noise_logits(bundle: Bundle, head: PrototypeHead, replay: Replay) -> list[NDArray[np.float64]]:
    """Logits (n_windows, C) of each sound of the noise of a replay."""
    return [
        np.stack([head.logits(window) for window in windows])
        for windows in noise_windows(bundle, head, replay)
    ]


def noise_counts(
    bundle: Bundle, runs: Sequence[NDArray[np.float64]], calibration: Calibration
) -> Counter[int]:
    """Detections of each class on sounds of which the logits are given."""
    counts: Counter[int] = Counter()
    hop_s = bundle.windows.hop_chunks * bundle.encoder.chunk_s
    for logits in runs:
        detector = Detector(
            calibration.threshold_on, calibration.threshold_off, hop_s,
            bundle.windows.refractory_s,
        )  # fmt: skip
        found = [
            detection
            for index, of_window in enumerate(logits)
            for detection in detector.push(index, of_window, lambda _: _NOWHERE)
        ]
        counts.update(one.class_index for one in found + detector.finish())
    return counts
