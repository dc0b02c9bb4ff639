"""Bits of ±1 vectors: row-major, little bit order, bit i = dimension i, 1 = +1, padding zero."""

import numpy as np
from numpy.typing import NDArray


def n_bytes(n_dims: int) -> int:
    """Bytes that hold one packed vector of ``n_dims`` signs."""
    return -(-n_dims // 8)


def pack_signs(values: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.uint8]:
    """Pack the signs of vectors into bits; sign(0) = sign(-0.0) = +1.

    Parameters
    ----------
    values : (M, D) any real dtype

    Returns
    -------
    (M, ceil(D/8)) uint8
        Bit ``i % 8`` of byte ``i // 8`` is 1 where ``values[m, i] >= 0``; padding bits are 0.
    """
    return np.packbits(values >= 0, axis=1, bitorder="little")


def unpack_signs(packed: NDArray[np.uint8], n_dims: int) -> NDArray[np.int8]:
    """Unpack bits into ±1; the inverse of `pack_signs` on signs.

    Parameters
    ----------
    packed : (M, ceil(D/8)) uint8
    n_dims : int
        D, dimensions without padding.

    Returns
    -------
    (M, D) int8
        -1 or +1.
    """
    bits = np.unpackbits(packed, axis=1, count=n_dims, bitorder="little")
    return bits.view(np.int8) * np.int8(2) - np.int8(1)


def padding_is_zero(packed: NDArray[np.uint8], n_dims: int) -> bool:
    """Whether every bit beyond dimension ``n_dims`` is 0, as the format demands.

    Parameters
    ----------
    packed : (M, ceil(D/8)) uint8
    n_dims : int
        D.
    """
    used = n_dims % 8
    return used == 0 or not np.any(packed[:, -1] >> np.uint8(used))


def to_words(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Packed bytes as 64-bit words, zero-padded, for word-wise XOR and popcount.

    Parameters
    ----------
    packed : (M, nbytes) uint8

    Returns
    -------
    (M, ceil(nbytes/8)) uint64
        Byte order of the machine; only equal positions are ever combined.
    """
    n_rows, n_used = packed.shape
    padded = np.zeros((n_rows, -(-n_used // 8) * 8), np.uint8)
    padded[:, :n_used] = packed
    return padded.view(np.uint64)
