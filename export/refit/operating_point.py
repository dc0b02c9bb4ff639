"""Thresholds and calibration of rows that were fitted anew, by the rules of `fit`.

They see what `fit` shows them: logits by rows that never saw the clip, here of the replay's clips
and of corrected windows. That prototypes and parent saw the replay's clips does no harm: on songs
that nobody heard such thresholds give a mean F1 of 0.74 (parent 0.69, best possible 0.76; 48 sets
of twenty corrections, seeds 10 to 13 of `benchmarks/bench_refit.py`). The parent's thresholds,
moved by as much as the rule moves them, gave 0.70 to 0.72. All of that is before
`judge.as_quiet_as` takes care of noise, which costs most of it (`export/refit/README.md`).
"""

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.tensors import Calibration
from export.calibration import fit_platt
from export.thresholds import FAVOURS, MIN_CLIPS, fit_thresholds


def operating_point(
    bundle: Bundle,
    classes: NDArray[np.int64],
    targets: NDArray[np.float32],
    held_out: NDArray[np.float64],
    background: NDArray[np.float64],
) -> Calibration:
    """Thresholds and calibration for another linear layer.

    A class with fewer than `MIN_CLIPS` examples of either kind keeps those of the parent, and so do
    classes that have no new rows.

    Parameters
    ----------
    bundle : Bundle
        The parent.
    classes : (C',) int64
        Whose rows are new.
    targets : (n, C) float32
        1, 0 or NaN.
    held_out : (n, C') float64
        Logits by rows that never saw the example.
    background : (k, C') float64
        Of background clips, by the rows that are shipped.
    """
    said = targets[:, classes]
    is_told = np.minimum((said > 0).sum(axis=0), (said == 0).sum(axis=0)) >= MIN_CLIPS
    told = classes[is_told]
    is_other = ~(targets == 0).all(axis=1)  # a sound, if only one that is none of the classes
    heard = np.column_stack([np.nan_to_num(said), is_other]).astype(np.float32)
    found = fit_thresholds(
        _with_another(np.where(np.isnan(said), np.nan, held_out)), heard,
        _with_another(background),
        beta=FAVOURS.get(str(bundle.manifest.training.get("favour")), 1.0),
    )  # fmt: skip
    on, off = bundle.threshold_on.copy(), bundle.threshold_off.copy()
    on[told], off[told] = found.on[:-1][is_told], found.off[:-1][is_told]
    calibration = bundle.calibration
    if calibration is not None and is_told.any():
        names = [bundle.labels[number].text for number in told]
        pairs = fit_platt(held_out[:, is_told], said[:, is_told], names).slope_intercept
        if pairs is not None:
            calibration = calibration.copy()
            calibration[told] = pairs
    return Calibration(on, off, calibration)


def _with_another(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class of all sounds but background, of which nothing is known but that they are none."""
    return np.column_stack([logits, np.full(len(logits), np.nan)])
