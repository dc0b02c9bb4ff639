"""Prototype scores as 16-bit integers, to be kept where float32 would cost twice as much.

    value = rint(score * steps)        score = float32(1 / steps) * float32(value)

Tokens of one bit have scores K / n of an integer K: with n steps, value is K, and the score comes
back to the bit. All others are rounded to 1 / 32767, so that a score moves by 1.6e-5 at most.
"""

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.prototypes import PrototypeHead

MAX_STEPS = 32_767
"""The largest int16: scores lie in [-1, 1]."""


def steps_of(head: PrototypeHead) -> int:
    """Steps from a score of 0 to one of 1, for the scores of a head."""
    return head.n_dims if head.bits == 1 and head.n_dims <= MAX_STEPS else MAX_STEPS


def to_int16(scores: NDArray[np.float32], steps: int) -> NDArray[np.int16]:
    """Scores of any shape as integers; those that rounding brought beyond 1 count as 1."""
    scaled = np.rint(scores.astype(np.float64) * steps)
    return np.clip(scaled, -steps, steps).astype(np.int16)


def from_int16(values: NDArray[np.int16], steps: int) -> NDArray[np.float32]:
    """Scores of integers, of the same shape."""
    scores: NDArray[np.float32] = np.float32(1 / steps) * values.astype(np.float32)
    return scores
