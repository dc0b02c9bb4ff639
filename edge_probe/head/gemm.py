"""Backend ``numpy-gemm``: unpack a block of prototypes to ±1 floats, then let BLAS multiply.

The products are sums of integers below 2^24 and hence exact in float32 (kernels.md section 2b
of the project's notes: as fast as a dense float32 head, with the prototypes kept packed).
Prototypes that are floats already are multiplied as they are, to the tolerance of float tokens.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.quantize import Digits

NAME = "numpy-gemm"

_BLOCK = 256
"""Prototypes unpacked at a time: 256 x 768 float32 plus 256 x 512 scores stay below 2 MiB."""


def supports(bits: object, n_dims: int) -> bool:
    """Whether every sum is exact: D * (2^B - 1) < 2^24, or float tokens."""
    return bits == "float" or (isinstance(bits, int) and n_dims * (2**bits - 1) < 2**24)


def max_scores(
    digits: Digits, packed: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prototype scores of one chunk; see `edge_probe.head.reference.max_scores`."""
    n_dims = digits.values.shape[1]

    def unpacked(rows: slice) -> NDArray[np.float32]:
        bits = np.unpackbits(packed[rows], axis=1, count=n_dims, bitorder="little")
        signs = bits.astype(np.float32)
        signs *= 2
        signs -= 1
        return signs

    return _maxima(_signed(digits), digits.scale, len(packed), unpacked)


def max_cosines(
    digits: Digits, prototypes: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Scores of prototypes that are floats: the maximum over tokens of the cosine.

    Parameters
    ----------
    digits : Digits
        T float tokens of D components; their scale is meant for prototypes of length sqrt(D).
    prototypes : (M, D) float32
        Of length 1.

    Returns
    -------
    scores : (M,) float32
    tokens : (M,) int32
        First token that reaches the maximum.
    """
    scale = digits.scale * np.float32(np.sqrt(prototypes.shape[1]))
    return _maxima(_signed(digits), scale, len(prototypes), prototypes.__getitem__)


def _maxima(
    tokens: NDArray[np.float32],
    scale: NDArray[np.float32],
    n_prototypes: int,
    block: Callable[[slice], NDArray[np.float32]],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Best token of each prototype, some prototypes at a time."""
    scores = np.empty(n_prototypes, np.float32)
    best_tokens = np.empty(n_prototypes, np.int32)
    block_scores = np.empty((_BLOCK, len(tokens)), np.float32)
    for begin in range(0, n_prototypes, _BLOCK):
        rows = slice(begin, min(begin + _BLOCK, n_prototypes))
        n_rows = rows.stop - begin
        product = np.matmul(block(rows), tokens.T, out=block_scores[:n_rows])
        product *= scale
        best = np.argmax(product, axis=1)
        best_tokens[rows] = best
        scores[rows] = product[np.arange(n_rows), best]
    return scores + np.float32(0), best_tokens


def _signed(digits: Digits) -> NDArray[np.float32]:
    """Odd digits v = 2u - (2^B - 1), or the float tokens themselves."""
    if digits.bits == "float":
        return digits.values.astype(np.float32, copy=False)
    signed = digits.values.astype(np.float32)
    signed *= 2
    signed -= 2**digits.bits - 1
    return signed
