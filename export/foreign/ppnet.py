"""PPNet, the float head of Bird-MAE and AudioProtoPNet, on the terms of a protofloat head.

Its similarity of token x and prototype p (AudioProtoPNet, ``cos_activation``, evaluation mode;
both get two more components of 1e-4) is

    relu((x.p + 2 a²) / (sqrt(x.x + e²) (sqrt(p.p + e²) + a)) / 1.01)    a = 1e-4, e² = a + 2 a²

With one component e appended to every token and q = 2 a² / e to every prototype this is, exactly,

    relu(cos((x, e), (p, q))) * gain(p)    gain(p) = sqrt(p.p + q²) / ((sqrt(p.p + e²) + a) 1.01)

The gain moves into the weights, which are ``relu(weight)`` as they were in training.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.foreign.prototypes import PrototypeTensors

_A = 1e-4

TOKEN_COMPONENT = math.sqrt(_A + 2 * _A**2)
"""e: what every token gets appended."""

_PROTOTYPE_COMPONENT = 2 * _A**2 / TOKEN_COMPONENT
"""q"""


@dataclass(frozen=True, slots=True)
class Folded:
    """Prototypes and weights of the equal protofloat head."""

    vectors: NDArray[np.float32]
    """(M, D + 1)"""
    weights: NDArray[np.float64]
    """(C, M) or (C, M / C), as those of the checkpoint."""


def fold(head: PrototypeTensors, *, non_negative: bool) -> Folded:
    """The protofloat head with floor at zero that computes what PPNet computes.

    Parameters
    ----------
    head : PrototypeTensors
    non_negative : bool
        ``non_negative_last_layer`` of the training configuration: negative weights count as 0.
    """
    extended = np.pad(head.vectors, ((0, 0), (0, 1)), constant_values=_PROTOTYPE_COMPONENT)
    squares = np.einsum("md,md->m", head.vectors, head.vectors, dtype=np.float64)
    gains = np.sqrt(squares + _PROTOTYPE_COMPONENT**2)
    gains /= (np.sqrt(squares + TOKEN_COMPONENT**2) + _A) * 1.01
    weights = head.weights.astype(np.float64)
    if non_negative:
        weights = np.maximum(weights, 0)
    return Folded(extended, weights * (gains.reshape(weights.shape) if head.class_bound else gains))
