"""The plain linear probe on the mean token: deployed where it beats the prototypes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.linear import FloatLinear


@dataclass(frozen=True, slots=True)
class TokenSum:
    """Sum of the valid tokens of some consecutive chunks: means compose from it."""

    total: NDArray[np.float64]
    """(D,)"""
    count: int
    """Tokens summed."""


@dataclass(frozen=True)
class MeanLinearHead:
    """``logits = W mean_t z[t] + b`` over the valid tokens of a window."""

    linear: FloatLinear

    kind = "mean-linear"
    bits = "float"

    @property
    def n_token_dims(self) -> int:
        """D, components of a token."""
        return int(self.linear.weights.shape[1])

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.linear.bias)

    def summarise(self, tokens: NDArray[np.float32], valid: NDArray[np.bool_]) -> TokenSum:
        """Sum of the valid tokens: (T, D) float32 and (T,) bool."""
        kept = tokens[valid].astype(np.float64)
        return TokenSum(kept.sum(axis=0), len(kept))

    def merge(self, chunks: Sequence[TokenSum]) -> TokenSum:
        """Sum over the consecutive chunks of a window (one at least)."""
        total = np.sum([chunk.total for chunk in chunks], axis=0)
        return TokenSum(total, sum(chunk.count for chunk in chunks))

    def logits(self, window: TokenSum) -> NDArray[np.float64]:
        """(C,) float64; a window without a valid token has a mean of zero."""
        return self.linear.logits(window.total / max(window.count, 1))

    def evidence(self, window: TokenSum, class_index: int) -> list[tuple[int, int]]:
        """A mean has no place of its own: always empty."""
        return []
