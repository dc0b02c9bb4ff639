"""Logits of every clip by heads that never heard its recording, for each head in question."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe.spec import WindowSpec
from export.material import Material
from export.metrics import quality
from export.thresholds import held_out_folds, window_logits
from export.train import HeadOptions, fit_heads

Windows = list[NDArray[np.float64]]
"""(n_windows, C) logits of each clip; NaN where a class was unknown to the head, or is of the
clip."""


def held_out_windows(
    material: Material,
    names: Sequence[str],
    options: HeadOptions,
    windows: WindowSpec,
    seed: int,
) -> dict[str, Windows]:
    """Train heads on all but a fold, in turn, and let them judge that fold.

    Parameters
    ----------
    material : Material
    names : sequence of str
        Heads, as in `fit_heads`.
    options : HeadOptions
    windows : WindowSpec
        As on the recorder.
    seed : int
    """
    heard = material.heard
    folds = held_out_folds(heard.astype(np.float32), [clip.group for clip in material.clips], seed)
    found = {name: [np.full((1, heard.shape[1]), np.nan) for _ in heard] for name in names}
    for held_out in tqdm(folds, desc="held-out folds", unit="fold"):
        rest = np.setdiff1d(np.arange(len(heard)), held_out)
        known = heard[rest].any(axis=0)
        if not known.any():
            continue
        bags = material.bags(rest)
        for name, head in fit_heads(bags, names, options, seed=seed, progress="head").items():
            for row in held_out:
                logits = window_logits(head, material.tokens[row], windows)
                counted = known & ~np.isnan(material.targets[row])
                found[name][row] = np.where(counted, logits, np.nan)
    return found


def highest(windows: Windows) -> NDArray[np.float64]:
    """Over the windows of each clip: (N, C) float64."""
    return np.stack([logits.max(axis=0) for logits in windows])


def macro_map(found: Mapping[str, Windows], material: Material) -> dict[str, float | None]:
    """Macro mAP, in percent, of each head on clips it never heard; None where there are none."""
    result = {}
    for name, windows in found.items():
        logits = highest(windows)
        judged = np.where(np.isnan(logits), np.nan, material.targets)
        value = quality(np.nan_to_num(logits), judged).macro_map
        result[name] = None if value is None else 100 * value
    return result
