"""Backend ``numpy-gemm``: unpack a block of prototypes to ±1 floats, then let BLAS multiply.

The products are sums of integers below 2^24 and hence exact in float32 (kernels.md section 2b
of the project's notes: as fast as a dense float32 head, with the prototypes kept packed).
"""

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
    signed = _signed(digits)
    n_tokens, n_dims = signed.shape
    scores = np.empty(len(packed), np.float32)
    tokens = np.empty(len(packed), np.int32)
    block_scores = np.empty((_BLOCK, n_tokens), np.float32)
    for begin in range(0, len(packed), _BLOCK):
        rows = packed[begin : begin + _BLOCK]
        bits = np.unpackbits(rows, axis=1, count=n_dims, bitorder="little").astype(np.float32)
        bits *= 2
        bits -= 1
        product = np.matmul(bits, signed.T, out=block_scores[: len(rows)])
        product *= digits.scale
        best = np.argmax(product, axis=1)
        tokens[begin : begin + len(rows)] = best
        scores[begin : begin + len(rows)] = product[np.arange(len(rows)), best]
    return scores + np.float32(0), tokens


def _signed(digits: Digits) -> NDArray[np.float32]:
    """Odd digits v = 2u - (2^B - 1), or the float tokens themselves."""
    if digits.bits == "float":
        return digits.values.astype(np.float32, copy=False)
    signed = digits.values.astype(np.float32)
    signed *= 2
    signed -= 2**digits.bits - 1
    return signed
