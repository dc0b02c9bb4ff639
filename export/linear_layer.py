"""Linear layers of fewer weights than one for each pair of class and prototype."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import orthogonal_mp_gram

from edge_probe.errors import EdgeProbeError
from edge_probe.head import Int8Linear, SparseInt8Linear

_CANDIDATES = 8
"""Prototypes considered for each one kept: bounds the work at thousands of prototypes."""

_RIDGE = 1e-3
"""Of the mean square of a candidate, for prototypes that go together in all clips."""


def sparsify(
    weights: NDArray[np.floating],
    bias: NDArray[np.floating],
    k: int,
    scores: NDArray[np.floating],
) -> SparseInt8Linear:
    """Keep k weights of each class, such that its logits change least on these clips.

    Orthogonal matching pursuit (Pati et al., Asilomar 1993) on the dense logits: one prototype
    after the other, all weights fitted anew each time. The mean of what is lost goes into the
    bias. Measured on Koumura files with STM32 tokens (180 prototypes, 97.4 % mAP, two seeds): 20
    weights a class lose 0.4 points, 5 lose 2.0; the largest dense weights as they are would lose
    1.4 and 4.5.

    Parameters
    ----------
    weights : (C, M) float
        The dense layer.
    bias : (C,) float
    k : int
        1..M.
    scores : (N, M) float
        Prototype scores of training clips, as the device computes them.

    Raises
    ------
    EdgeProbeError
        k is no number of weights that a class can have.
    """
    dense = np.asarray(weights, np.float64)
    n_classes, n_prototypes = dense.shape
    if not 1 <= k <= n_prototypes:
        raise EdgeProbeError(
            f"sparse linear layer: expected 1 to {n_prototypes} weights a class, found {k}",
            hint="a class cannot have more weights than there are prototypes",
        )
    mean: NDArray[np.float64] = np.asarray(np.mean(scores, axis=0, dtype=np.float64))
    spread = np.std(scores, axis=0, dtype=np.float64)
    targets = scores @ dense.T - dense @ mean
    columns = np.empty((n_classes, k), np.int32)
    kept = np.empty((n_classes, k))
    for index, row in enumerate(dense):
        n_likely = max(k, min(k * _CANDIDATES, np.count_nonzero(row)))
        likely = np.argsort(-np.abs(row) * spread, kind="stable")[:n_likely]
        fitted = _pursue(scores[:, likely] - mean[likely], targets[:, index], k)
        best = np.argsort(-np.abs(fitted), kind="stable")[:k]
        best = best[np.argsort(likely[best])]
        columns[index], kept[index] = likely[best], fitted[best]
    lost = dense @ mean - np.sum(kept * mean[columns], axis=1)
    rows = Int8Linear.from_float(kept, np.asarray(bias, np.float64) + lost)
    return SparseInt8Linear(rows.weights, columns, rows.scale, rows.bias, n_prototypes)


def _pursue(
    inputs: NDArray[np.float64], target: NDArray[np.float64], k: int
) -> NDArray[np.float64]:
    """At most k coefficients other than 0 that bring (N, P) inputs closest to (N,) targets."""
    gram = inputs.T @ inputs
    gram[np.diag_indices_from(gram)] += _RIDGE * np.mean(np.diag(gram)) + np.finfo(np.float64).tiny
    length = np.sqrt(np.diag(gram))
    with warnings.catch_warnings():
        # It ends early where fewer than k explain all there is; the others stay 0.
        warnings.filterwarnings("ignore", message="Orthogonal matching pursuit ended")
        unit = orthogonal_mp_gram(
            gram / np.outer(length, length), inputs.T @ target / length, n_nonzero_coefs=k
        )
    coefficients: NDArray[np.float64] = unit / length
    return coefficients
