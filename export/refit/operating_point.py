"""Thresholds and calibration of rows that were fitted anew.

The parent's were fitted on clips that no head in question had heard; the clips of a replay were
heard by the parent. So the rules of `export.thresholds` and `export.calibration` are applied
twice, to the logits of the parent and to the new ones, of the same clips and corrections, and what
is taken over is by how much the outcome moves: where logits stay, all stays.
"""

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.tensors import Calibration
from export.calibration import fit_platt
from export.thresholds import FAVOURS, fit_thresholds


def moved(
    bundle: Bundle,
    classes: NDArray[np.int64],
    targets: NDArray[np.float32],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
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
    before, after : (n, C') float64
        Logits of the parent, and held-out ones of the new rows.
    """
    said = targets[:, classes]
    on, off = bundle.threshold_on.copy(), bundle.threshold_off.copy()
    beta = FAVOURS.get(str(bundle.manifest.training.get("favour")), 1.0)
    old, new = (
        fit_thresholds(np.where(np.isnan(said), np.nan, one), np.nan_to_num(said), [], beta=beta)
        for one in (before, after)
    )
    shift = new.on - old.on
    on[classes] += shift
    off[classes] += shift
    return Calibration(on, off, _calibration(bundle, classes, said, before, after))


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
