"""Frames that can be heard and still tell their number: noise above, the number below."""

import numpy as np
from numpy.typing import NDArray

_NUMBER_BITS = 24
_SLOW = 64
"""Frames for which the loudness stays as it is."""


def sound(begin: int, end: int) -> NDArray[np.int32]:
    """32-bit frames of the numbers [begin, end): 8 bits of noise that comes and goes, 24 of number.

    Always the same for the same number.
    """
    number = np.arange(begin, end, dtype=np.uint64)
    fast = _hash(number)
    noise = sum((fast >> np.uint64(8 * i) & np.uint64(15)).astype(np.int64) - 7 for i in range(6))
    slow = (_hash(number // np.uint64(_SLOW) + np.uint64(1 << 40)) % np.uint64(47)).astype(np.int64)
    loud = (noise + slow - 23) << _NUMBER_BITS
    return (loud | (number.astype(np.int64) & (1 << _NUMBER_BITS) - 1)).astype("<i4")


def _hash(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits that look random (SplitMix64, public domain: https://prng.di.unimi.it)."""
    mixed = number * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
