"""How good logits are: average precision, AUROC and top-1, and how sure of it the clips let us be.

Every function takes logits and targets of the same clips, both (N, C); a target is 1 (heard), 0
(not heard) or NaN (unknown), and an unknown pair of clip and class counts for nothing. A class is
*counted* if its known targets hold at least one 1 and one 0: without either, average precision and
AUROC have no value, and macro means leave the class out. All figures are scikit-learn's; those of
resamples, which are many, are counted here and equal to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from edge_probe.errors import EdgeProbeError

MIN_USABLE = 0.8
"""Share of resamples that must hold a clip with and one without a class for it to get an interval:
with positives in one recording only, 37 % hold none, and the others are all alike."""


class DivergedError(EdgeProbeError):
    """Logits that are not numbers."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures in [0, 1]; NaN, or None for a mean, where there is nothing to compute it from."""

    macro_map: float | None
    """Mean of `average_precision` over the counted classes."""
    macro_auroc: float | None
    """Mean of `auroc` over the counted classes."""
    top_1: float | None
    """Share of single-label clips whose largest logit is that of their class."""
    n_single_label: int
    """Clips that `top_1` is about: every target is known and exactly one is 1."""
    average_precision: NDArray[np.float64]
    """(C,)"""
    auroc: NDArray[np.float64]
    """(C,)"""
    counted: NDArray[np.bool_]
    """(C,) classes in the macro means."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Bootstrap percentile intervals."""

    low: NDArray[np.float64]
    """(C,) of the average precision; NaN where resamples cannot tell."""
    high: NDArray[np.float64]
    """(C,)"""
    usable: NDArray[np.float64]
    """(C,) share of the resamples in which the class had clips with and without it."""
    macro_low: float | None
    """Of the mean over the counted classes; None where there is none with an interval."""
    macro_high: float | None


def quality(logits: ArrayLike, targets: ArrayLike) -> Quality:
    """All figures of one set of clips.

    Parameters
    ----------
    logits : (N, C) float
        Only their order within a class matters, and for top-1 within a clip.
    targets : (N, C) float
        1, 0 or NaN.

    Raises
    ------
    DivergedError
        A logit of a known target is not finite.
    EdgeProbeError
        A target is another number.
    """
    scores, truth = _checked(logits, targets)
    counted = counted_classes(truth)
    precision = np.full(len(counted), np.nan)
    auroc = np.full(len(counted), np.nan)
    for label in np.flatnonzero(counted):
        known = ~np.isnan(truth[:, label])
        precision[label] = average_precision_score(truth[known, label], scores[known, label])
        auroc[label] = roc_auc_score(truth[known, label], scores[known, label])
    single = ~np.isnan(truth).any(axis=1) & (truth.sum(axis=1) == 1)
    right = scores[single].argmax(axis=1) == truth[single].argmax(axis=1)
    return Quality(
        macro_map=_mean(precision[counted]),
        macro_auroc=_mean(auroc[counted]),
        top_1=_mean(right),
        n_single_label=int(single.sum()),
        average_precision=precision,
        auroc=auroc,
        counted=counted,
    )


def average_precision_intervals(
    logits: ArrayLike,
    targets: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> Intervals:
    """Percentile bootstrap (Efron 1979) of each class's average precision and of their mean.

    Recordings are drawn with replacement, and all clips of a recording come with it: clips of one
    recording are alike, and drawn one by one they would promise more than they know. Where a
    resample has no clip with a class, or none without it, that class is left out of it and of its
    macro mean; a class for which this happens in more than 1 - `MIN_USABLE` of the resamples gets
    no interval and takes no part in the macro interval. The model is not trained anew: differences
    between seeds come on top.

    Parameters
    ----------
    logits, targets : (N, C) float
        As in `quality`.
    groups : sequence of str, optional
        Source recording of each clip; left out, every clip is one of its own.
    n_resamples : int
    level : float
        Share of the bootstrap distribution between ``low`` and ``high``.
    seed : int

    Raises
    ------
    EdgeProbeError
        As in `quality`.
    """
    drawn = _resampled(logits, targets, groups, n_resamples, seed)
    usable = np.mean(~np.isnan(drawn), axis=0)
    told = usable >= MIN_USABLE
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.full((2, len(told)), np.nan)
    if not told.any():
        return Intervals(low, high, usable, None, None)
    low[told], high[told] = np.nanquantile(drawn[:, told], tails, axis=0)
    macro_low, macro_high = np.nanquantile(np.nanmean(drawn[:, told], axis=1), tails)
    return Intervals(low, high, usable, float(macro_low), float(macro_high))


def resampled_maps(
    logits: ArrayLike,
    targets: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    n_resamples: int = 500,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Macro mAP of each resample of `average_precision_intervals`: (n_resamples,) float64.

    Heads judged on the same clips get the same resamples: the spread of the *differences* of two
    heads is far smaller than that of either, because both find the same clips hard. All NaN where
    no class can be judged by enough resamples.

    Parameters
    ----------
    logits, targets, groups, n_resamples, seed
        As in `average_precision_intervals`.

    Raises
    ------
    EdgeProbeError
        As in `quality`.
    """
    drawn = _resampled(logits, targets, groups, n_resamples, seed)
    told = np.mean(~np.isnan(drawn), axis=0) >= MIN_USABLE
    counted = ~np.isnan(drawn[:, told]).all(axis=1)
    maps = np.full(n_resamples, np.nan)
    maps[counted] = np.nanmean(drawn[np.ix_(counted, told)], axis=1)
    return maps


def _resampled(
    logits: ArrayLike,
    targets: ArrayLike,
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Average precision in each resample of the recordings: (n_resamples, C); NaN where none."""
    scores, truth = _checked(logits, targets)
    names = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if len(names) != len(truth):
        raise EdgeProbeError(f"expected a group for each of {len(truth)} clips, found {len(names)}")
    _, group_of = np.unique(names, return_inverse=True)
    n_groups = group_of.max(initial=-1) + 1
    rng = np.random.default_rng(seed)
    drawn = np.full((n_resamples, truth.shape[1]), np.nan)
    counted = np.flatnonzero(counted_classes(truth))
    if len(counted):
        resamples = (rng.integers(n_groups, size=n_groups) for _ in range(n_resamples))
        times = np.stack([np.bincount(chosen, minlength=n_groups) for chosen in resamples])
        times = times[:, group_of]
    for label in counted:
        known = ~np.isnan(truth[:, label])
        drawn[:, label] = _average_precisions(
            scores[known, label], truth[known, label] == 1, times[:, known]
        )
    return drawn


def _average_precisions(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of one class, with each clip (N,) there so many times, (n_resamples, N): (n_resamples,).

    NaN where a resample has no clip with the class, or none without it.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties come in together
    n_so_far = np.cumsum(times[:, order], axis=1)[:, ends]
    n_heard = np.cumsum(times[:, order] * truth[order], axis=1)[:, ends]
    n_in_all = n_heard[:, -1]
    gained = np.diff(n_heard, axis=1, prepend=0) * (n_heard / np.maximum(n_so_far, 1))
    found: NDArray[np.float64] = gained.sum(axis=1) / np.maximum(n_in_all, 1)
    found[(n_in_all == 0) | (n_in_all == n_so_far[:, -1])] = np.nan
    return found


def counted_classes(targets: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which classes some clips can be judged by: (N, C) 1, 0 or NaN -> (C,) bool."""
    counted: NDArray[np.bool_] = np.any(targets == 1, axis=0) & np.any(targets == 0, axis=0)
    return counted


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None


def _checked(
    logits: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores, truth = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise EdgeProbeError(
            f"expected logits and targets of one shape (clips, classes), found "
            f"{list(scores.shape)} and {list(truth.shape)}"
        )
    known = ~np.isnan(truth)
    if not np.isin(truth[known], (0, 1)).all():
        raise EdgeProbeError("a target is 1, 0 or NaN (unknown); found another number")
    if not np.isfinite(scores[known]).all():
        raise DivergedError(
            f"{np.sum(~np.isfinite(scores[known]))} logits of known targets are not finite",
            hint="training has diverged: choose a lower learning rate",
        )
    return scores, truth
