"""Thresholds at the deployment window length, from heads that never saw the clip they judge.

The training clips are split into folds by source recording; the head of the other folds gives
logits for every window of the held-out clips, background included. For each class

* a clip that holds it counts with its highest window (the label is weak), and so does every other
  clip, background or of another class, as a negative;
* ``on`` lies in the gap below the clip that gives the best F-score, `IN_GAP` of the way up from
  the next clip: the recall of this gap costs nothing here, and in the field sounds overlap and
  come from farther away. But it is at least ``quiet + MARGIN (typical - quiet)``, where
  ``typical`` is the median logit of the clips that hold the class and ``quiet`` what background
  reaches: its highest logit under the head that is shipped, or the mean of that and of its
  highest logit under the held-out heads, which heard less background, whichever is larger;
* ``off = on - HYSTERESIS (typical - rest)``, where ``rest`` is the median logit of the negatives.

A logit is NaN where the head of the other folds had no clip of the class to learn from, and counts
for nothing. A class with fewer than `MIN_CLIPS` held-out clips gets the median threshold of the
others. Thresholds for a stated precision or rate of false alarms are in `export.targets`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import precision_recall_curve

from edge_probe.head import Head
from edge_probe.spec import WindowSpec
from edge_probe.window import Windower
from export.clips.splits import grouped_folds
from export.tokens import ClipTokens

FAVOURS = {"recall": 2.0, "balance": 1.0, "precision": 0.5}
"""Beta of the F-score by what the user cares for: calls that are missed, or alarms to review."""

IN_GAP = 0.25
MARGIN = 0.2
HYSTERESIS = 0.15
MIN_CLIPS = 3
N_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Per class, as logits."""

    on: NDArray[np.float64]
    """(C,)"""
    off: NDArray[np.float64]
    """(C,)"""


def window_logits(head: Head, clip: ClipTokens, windows: WindowSpec) -> NDArray[np.float64]:
    """Logits of a clip's windows, by the code that runs on the recorder.

    Returns
    -------
    (n_windows, C) float64
    """
    windower = Windower(windows)
    given = []
    for tokens, valid in zip(clip.tokens, clip.valid, strict=True):
        if valid.any():  # else the end of the clip, of no token
            summary = head.summarise(tokens.astype(np.float32), valid)
            given += windower.push(summary, 0)
    given += windower.finish()
    return np.stack([head.logits(head.merge(window.chunks)) for window in given])  # type: ignore[arg-type]


def highest_logits(head: Head, clip: ClipTokens, windows: WindowSpec) -> NDArray[np.float64]:
    """Highest logit of each class over a clip's windows: (C,) float64."""
    highest: NDArray[np.float64] = window_logits(head, clip, windows).max(axis=0)
    return highest


def held_out_folds(
    targets: NDArray[np.float32], groups: Sequence[str], seed: int
) -> list[NDArray[np.int64]]:
    """Rows of each fold; no group stands in two, classes are spread as evenly as groups allow.

    Fewer folds are made where there are fewer groups or clips of a class; a single fold of all
    rows leaves nothing to learn from.
    """
    kind = np.where(targets.any(axis=1), targets.argmax(axis=1), targets.shape[1])
    return grouped_folds(kind, groups, N_FOLDS, seed)


def fit_thresholds(
    highest: NDArray[np.float64],
    targets: NDArray[np.float32],
    shipped: ArrayLike,
    *,
    beta: float = 1.0,
) -> Thresholds:
    """Thresholds from the highest logits of clips.

    Parameters
    ----------
    highest : (N, C) float64
        Over the windows of each clip, under a head that never heard the clip's recording; NaN
        where that head knew no clip of the class.
    targets : (N, C) float32
        Rows without any class are background, or hold a sound that a class is mistaken for.
    shipped : (K, C) float64
        The same of the K background clips under the head that is shipped. Without any, the other
        rows without a class are negatives like those of another class.
    beta : float
        Of the F-score: recall counts beta times as much as precision.
    """
    background = targets.sum(axis=1) == 0
    n_classes = targets.shape[1]
    quiet = np.full(n_classes, -np.inf)
    if np.size(shipped):
        loudest = np.max(shipped, axis=0)
        unseen = np.fmax.reduce(highest[background], axis=0)
        quiet = np.fmax((unseen + loudest) / 2, loudest)
    on, off = np.full(n_classes, np.nan), np.full(n_classes, np.nan)
    for label in range(n_classes):
        judged = ~np.isnan(highest[:, label])
        present = targets[judged, label] > 0
        if present.sum() >= MIN_CLIPS and not present.all():
            on[label], off[label] = _of_class(highest[judged, label], present, quiet[label], beta)
    return with_medians(on, off)


def with_medians(on: NDArray[np.float64], off: NDArray[np.float64]) -> Thresholds:
    """Classes whose thresholds are NaN take the median of the others; 0 and -1 if all are."""
    known = ~np.isnan(on)
    if not known.any():
        return Thresholds(np.zeros(len(on)), np.full(len(on), -1.0))
    return Thresholds(
        np.where(known, on, np.median(on[known])), np.where(known, off, np.median(off[known]))
    )


def _of_class(
    logits: NDArray[np.float64], present: NDArray[np.bool_], quiet: float, beta: float
) -> tuple[float, float]:
    precision, recall, candidates = precision_recall_curve(present, logits)
    weighed = beta**2 * precision + recall
    f_score = (1 + beta**2) * precision * recall / np.maximum(weighed, 1e-12)
    on = into_gap(candidates[int(np.argmax(f_score[:-1]))], logits)
    if np.isfinite(quiet):
        typical = float(np.median(logits[present]))
        on = max(on, quiet + MARGIN * max(typical - quiet, 1.0))
    return on, on - hysteresis(logits, present)


def into_gap(on: float, logits: NDArray[np.float64]) -> float:
    """Lower a threshold that lies on a logit into the gap below it, past no other."""
    below = logits[logits < on]
    if not below.size:
        return float(on)
    return float(below.max() + IN_GAP * (on - below.max()))


def hysteresis(logits: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    """How far ``off`` lies below ``on``: (n,) logits of the clips of a class and of the others."""
    return HYSTERESIS * max(float(np.median(logits[present]) - np.median(logits[~present])), 1.0)
