"""Backend ``numpy-popcount``: XNOR-popcount on 64-bit words, one bit plane at a time.

``K = sum_b 2^b (D - 2 popcount(plane_b xor p))``. `numpy.bitwise_count` where NumPy has it
(>= 2.0), a byte table elsewhere.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.packing import to_words
from edge_probe.head.quantize import Digits

NAME = "numpy-popcount"

_BLOCK = 64
"""Prototypes matched at a time: the counts of 64 x 512 pairs fit into the L2 cache."""

_BYTE_COUNTS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(
    axis=1, dtype=np.uint8
)


def supports(bits: object, n_dims: int) -> bool:
    """Whether this backend can score such digits: any width, not float tokens."""
    return isinstance(bits, int)


def _count_by_table(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    counts: NDArray[np.uint8] = (
        _BYTE_COUNTS[words.view(np.uint8)].reshape(*words.shape, 8).sum(axis=-1, dtype=np.uint8)
    )
    return counts


popcount: Callable[[NDArray[np.uint64]], NDArray[np.uint8]] = getattr(
    np, "bitwise_count", _count_by_table
)
"""Set bits of each word: (...) uint64 -> (...) uint8."""


def max_scores(
    digits: Digits, packed: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prototype scores of one chunk; see `edge_probe.head.reference.max_scores`."""
    if digits.bits == "float":
        raise ValueError("numpy-popcount needs integer digits, got float tokens")
    n_tokens, n_dims = digits.values.shape
    planes = _planes(digits.values.astype(np.uint8, copy=False), digits.bits)
    prototypes = to_words(packed)
    top = n_dims * (2**digits.bits - 1)
    scores = np.empty(len(packed), np.float32)
    tokens = np.empty(len(packed), np.int32)
    for begin in range(0, len(packed), _BLOCK):
        rows = prototypes[begin : begin + _BLOCK]
        differing = np.zeros((len(rows), n_tokens), np.int32)
        for weight, plane in enumerate(planes):
            for word in range(plane.shape[1]):
                pairs = popcount(rows[:, word, None] ^ plane[:, word])
                differing += pairs.astype(np.int32) << weight
        product = (top - 2 * differing).astype(np.float32) * digits.scale
        best = np.argmax(product, axis=1)
        tokens[begin : begin + len(rows)] = best
        scores[begin : begin + len(rows)] = product[np.arange(len(rows)), best]
    return scores + np.float32(0), tokens


def _planes(values: NDArray[np.uint8], bits: int) -> list[NDArray[np.uint64]]:
    """Bit planes of the digits, least significant first, each (T, words) uint64."""
    return [
        to_words(np.packbits((values >> plane) & 1, axis=1, bitorder="little"))
        for plane in range(bits)
    ]
