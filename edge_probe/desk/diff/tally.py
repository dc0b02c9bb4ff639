"""How often both bundles hear a class, only one of them, or neither."""

import numpy as np
from numpy.typing import NDArray

N_BINS = 40
"""Of scores from 0 to 1."""

EDGES = np.arange(N_BINS + 1) / N_BINS

EVERY = 2
"""Bins from one threshold of `Tally.at_scores` to the next: 0.05."""


class Tally:
    """Counts of windows, by class; its size does not grow with the audio.

    Parameters
    ----------
    n_classes : int
    """

    def __init__(self, n_classes: int) -> None:
        self.n_windows = 0
        self.counts = np.zeros((n_classes, 3), np.int64)
        """Both, only A, only B: at the thresholds of the bundles."""
        self.scores = np.zeros((n_classes, N_BINS, N_BINS), np.uint32)
        """Windows by the score of A and that of B; bin n holds scores from EDGES[n] on."""
        self._rows = np.arange(n_classes)

    def add(
        self, heard: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:  # fmt: skip
        """Count one window, (n_classes,) each."""
        a, b = heard
        self.n_windows += 1
        self.counts += np.stack([a & b, a & ~b, ~a & b], axis=1)
        bins = (np.searchsorted(EDGES, one, side="right") - 1 for one in scores)
        self.scores[(self._rows, *(np.minimum(one, N_BINS - 1) for one in bins))] += 1

    def at_scores(self) -> dict[float, NDArray[np.int64]]:
        """Counts as if the threshold were this score, for both bundles and every class.

        Returns
        -------
        dict of score to (n_classes, 3) int64
        """
        found = {}
        for edge in range(EVERY, N_BINS, EVERY):
            high, low = slice(edge, None), slice(None, edge)
            parts = ((high, high), (high, low), (low, high))
            sums = [self.scores[:, a, b].sum(axis=(1, 2), dtype=np.int64) for a, b in parts]
            found[float(EDGES[edge])] = np.stack(sums, axis=1)
        return found


def agreement(counts: NDArray[np.int64]) -> float | None:
    """Windows in which both hear it among those in which one does; None: nobody does."""
    total = int(counts.sum())
    return int(counts[0]) / total if total else None
