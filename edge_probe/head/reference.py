"""The definition of a prototype score, written to be read: slow, and every backend's oracle."""

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.packing import unpack_signs
from edge_probe.head.quantize import Digits


def max_scores(
    digits: Digits, packed: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prototype scores of one chunk: the maximum over its tokens of the cosine.

    ``K = sum_d p_d v_d`` is an exact integer; ``score = s_t * float32(K)``.

    Parameters
    ----------
    digits : Digits
        T tokens of D digits.
    packed : (M, ceil(D/8)) uint8
        Prototypes, padding bits zero.

    Returns
    -------
    scores : (M,) float32
    tokens : (M,) int32
        First token that reaches the maximum.
    """
    n_dims = digits.values.shape[1]
    prototypes = unpack_signs(packed, n_dims)
    if digits.bits == "float":
        values = digits.values.astype(np.float64)
    else:
        values = digits.values.astype(np.float64) * 2 - (2**digits.bits - 1)
    sums = prototypes.astype(np.float64) @ values.T  # integers below 2^53: exact
    scores = digits.scale * sums.astype(np.float32) + np.float32(0)
    tokens = np.argmax(scores, axis=1)
    return np.take_along_axis(scores, tokens[:, None], axis=1)[:, 0], tokens.astype(np.int32)
