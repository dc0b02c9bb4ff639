"""Logistic regression from an offset: how examples move logits that are there already."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit


def fit_logistic(
    inputs: NDArray[np.float64],
    targets: NDArray[np.floating],
    offset: float | NDArray[np.floating] = 0.0,
    expected: float = np.inf,
) -> NDArray[np.float64]:
    """Weights by which ``sigmoid(offset + inputs @ weights)`` comes closest to the targets.

    They minimise the cross-entropy, summed over the examples, plus ``(weights / expected)² / 2``.
    This is convex: there is one answer, whatever one begins with.

    Parameters
    ----------
    inputs : (N, P) float64
        Of one scale; a column of ones is an intercept.
    targets : (N,) float
        0 to 1.
    offset : (N,) float, optional
        Logits that are to be moved.
    expected : float
        Standard deviation of every weight before any example is seen, around 0.

    Returns
    -------
    (P,) float64
    """

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = offset + inputs @ weights
        unlikely = np.sum(np.logaddexp(0, logits) - targets * logits)
        pulled = weights / expected**2
        gradient = inputs.T @ (expit(logits) - targets) + pulled
        return float(unlikely + weights @ pulled / 2), gradient

    found: NDArray[np.float64] = minimize(
        loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B"
    ).x
    return found
