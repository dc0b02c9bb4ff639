"""Thresholds and calibration of rows that were fitted anew.

The parent's were fitted on clips that no head in question had heard; the clips of a replay were
heard by the parent. So the rules of `export.thresholds` and `export.calibration` are applied
twice, to the logits of the parent and to the new ones, of the same clips and corrections, and what
is taken over is by how much the outcome moves: where logits stay, all stays. Background clips and
noise of the replay are what a threshold keeps its distance from, as they are there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.tensors import Calibration
from export.calibration import fit_platt
from export.thresholds import FAVOURS, fit_thresholds


@dataclass(frozen=True, slots=True)
class Logits:
    """Of some classes, by some rows."""

    examples: NDArray[np.float64]
    """(n, C') of training clips and corrections: held out, where rows are new."""
    quiet: NDArray[np.float64]
    """(k, C') of background clips and windows of noise, by the rows that are shipped."""


def moved(
    bundle: Bundle,
    classes: NDArray[np.int64],
    targets: NDArray[np.float32],
    before: Logits,
    after: Logits,
) -> Calibration:
    """Thresholds and calibration for another linear layer.

    Parameters
    ----------
    bundle : Bundle
        The parent.
    classes : (C',) int64
        Whose rows are new.
    targets : (n, C) float32
        1, 0 or NaN.
    before, after : Logits
        Of the parent, and of the new rows.
    """
    said = targets[:, classes]
    on, off = bundle.threshold_on.copy(), bundle.threshold_off.copy()
    beta = FAVOURS.get(str(bundle.manifest.training.get("favour")), 1.0)
    is_background = (targets == 0).all(axis=1)
    heard = np.column_stack([np.nan_to_num(said), ~is_background]).astype(np.float32)
    old, new = (
        fit_thresholds(
            _with_another(np.where(np.isnan(said), np.nan, one.examples)), heard,
            _with_another(one.quiet), beta=beta,
        ).on[:-1]
        for one in (before, after)
    )  # fmt: skip
    shift = new - old
    on[classes] += shift
    off[classes] += shift
    return Calibration(
        on, off, _calibration(bundle, classes, said, before.examples, after.examples)
    )


def _with_another(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class of all sounds but background, of which nothing is known but that they are none."""
    return np.column_stack([logits, np.full(len(logits), np.nan)])


def _calibration(
    bundle: Bundle,
    classes: NDArray[np.int64],
    said: NDArray[np.float32],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> NDArray[np.float64] | None:
    """The parent's score of the logit that is, in the old fit, as likely as the new one."""
    if bundle.calibration is None:
        return None
    pairs = bundle.calibration.copy()
    names = [bundle.labels[number].text for number in classes]
    old, new = (fit_platt(one, said, names).slope_intercept for one in (before, after))
    if old is not None and new is not None:
        slope, intercept = pairs[classes].T
        pairs[classes, 0] = slope * new[:, 0] / old[:, 0]
        pairs[classes, 1] = intercept + slope * (new[:, 1] - old[:, 1]) / old[:, 0]
    return pairs
