"""Scores that may be read as probabilities: Platt scaling of held-out logits.

A detection is shown with the logit of its highest window. So the pairs that are fitted are, for
every clip, the highest logit over its windows (of the length that is deployed, under a head that
never heard the clip's recording) and whether the clip holds the class. Per class,

    score = sigmoid(slope * logit + intercept)

minimises the cross-entropy against targets (N+ + 1)/(N+ + 2) and 1/(N- + 2) in place of 1 and 0
(Platt 1999, "Probabilistic outputs for support vector machines", section 2.2), which keeps the
slope finite where the classes do not overlap. The score is the probability that a clip like those
of the training set holds the class: where calls are rarer than there, it promises too much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.logistic import fit_logistic

MIN_CLIPS = 5
"""Held-out clips with a class, and without it, that its own fit needs."""


@dataclass(frozen=True, slots=True)
class Platt:
    """How logits become scores."""

    slope_intercept: NDArray[np.float64] | None
    """(C, 2), slopes above 0; None where logits say nothing about the classes."""
    warnings: tuple[str, ...] = ()
    """One line each."""


def fit_platt(
    highest: NDArray[np.float64], targets: NDArray[np.float32], labels: Sequence[str]
) -> Platt:
    """Slope and intercept of each class.

    A class with fewer than `MIN_CLIPS` known clips on either side, or whose logits fall where they
    should rise, takes those of a single fit to the clips of all classes; a warning names it.

    Parameters
    ----------
    highest : (N, C) float64
        Held-out logits of clips; NaN is unknown.
    targets : (N, C) float32
        1, 0 or NaN (unknown).
    labels : sequence of str
        C labels.
    """
    known = ~(np.isnan(highest) | np.isnan(targets))
    pairs = np.full((targets.shape[1], 2), np.nan)
    for label, rows in enumerate(known.T):
        present = targets[rows, label] > 0
        if min(present.sum(), (~present).sum()) >= MIN_CLIPS:
            pairs[label] = _fit(highest[rows, label], present)
    pooled = ~(pairs[:, 0] > 0)
    if not pooled.any():
        return Platt(pairs)
    names = ", ".join(label for label, yes in zip(labels, pooled, strict=True) if yes)
    everything = _fit(highest[known], targets[known] > 0)
    if not everything[0] > 0:
        return Platt(None, (f"scores are not calibrated: too few held-out clips of {names}",))
    pairs[pooled] = everything
    return Platt(
        pairs,
        (
            f"scores of {names} are calibrated with those of all classes together: there are "
            f"fewer than {MIN_CLIPS} held-out clips, or logits that do not rise with them",
        ),
    )


def _fit(logits: NDArray[np.float64], present: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept; NaN where there is nothing to fit."""
    n_present, n_absent = int(present.sum()), int((~present).sum())
    if not (n_present and n_absent and np.ptp(logits) > 0):
        return np.nan, np.nan
    target = np.where(present, (n_present + 1) / (n_present + 2), 1 / (n_absent + 2))
    centre, spread = logits.mean(), logits.std()
    scaled = (logits - centre) / spread
    slope, intercept = fit_logistic(np.column_stack([scaled, np.ones_like(scaled)]), target)
    return float(slope / spread), float(intercept - slope * centre / spread)
