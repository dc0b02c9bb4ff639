"""The reproducible quantiser: a token becomes odd integer digits and one float32 factor.

Only comparisons, elementwise IEEE operations that exist in ONNX, and exact integer sums are
used, so every backend on every CPU gets the same digits from the same tokens (DESIGN section 3).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.spec import TokenBits

STEP_RMS = {2: 1.0, 3: 0.5, 4: 0.25, 5: 0.2, 6: 0.18, 7: 0.15, 8: 0.125}
"""Distance between neighbouring levels, in units of the token's root mean square.

Chosen on real token maps (YAMNet, Whisper-tiny, BirdNET-STM32), whose tails are heavy (kurtosis
114, 14, 10). 8 bits: the step with the highest cosine between digits and token, 0.9988 on
average. 4 bits: cosine prefers 0.6 (0.933), but heads on YAMNet do better when the largest
components are clipped and the many small ones keep their levels (ESC-10 fold 3, float 96.3 %:
0.6 gives 88.8 to 97.5 %, 0.25 or less 91.3 to 98.8 %, with and without a token offset). 2 bits:
about J. Max's 0.9957 for a normal density (IRE Trans. Inf. Theory 6, 1960); the rest in between."""

_GRID_BITS = 15
"""The largest component of a token lies in [2^14, 2^15] on the 16-bit grid."""

_BLOCK_TOKENS = 64
"""Tokens quantised at a time: bounds the temporaries at a few hundred kB."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Tokens as the kernels take them.

    The component d of token t stands for ``(2 * values[t, d] - (2**bits - 1)) * step_t``; the
    step cancels in the cosine.
    """

    values: NDArray[np.uint8] | NDArray[np.float32]
    """(T, D): uint8 ``u`` in [0, 2^B - 1] for B bits; for "float" float32 ``z - c`` times the
    power of two that brings its largest component into [0.5, 1)."""
    scale: NDArray[np.float32]
    """(T,): ``s_t = 1 / sqrt(D * N_t)``, 0 for zero and masked tokens."""
    bits: TokenBits


def quantize(
    tokens: NDArray[np.float32],
    offset: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bits: TokenBits,
) -> Digits:
    """Write each component of ``tokens - offset`` as a digit of ``bits`` bits.

    Parameters
    ----------
    tokens : (T, D) float32
        Finite tokens of one chunk.
    offset : (D,) float32
        The token offset c; zero reproduces the paper.
    valid : (T,) bool
        False for padding tokens, which will score 0.
    bits : "float" or 1..8

    Returns
    -------
    Digits
    """
    centred = tokens - offset
    alive = valid & np.any(centred != 0, axis=1)
    n_dims = tokens.shape[1]
    if bits == "float":
        values = _scaled(centred, 0)
        squares = np.einsum("td,td->t", values, values, dtype=np.float64)
        return Digits(values, _scale(squares, n_dims, alive), bits)
    if bits == 1:
        norm = np.full(len(tokens), n_dims, np.int64)
        return Digits((centred >= 0).astype(np.uint8), _scale(norm, n_dims, alive), bits)
    values = np.empty(tokens.shape, np.uint8)
    norm = np.empty(len(tokens), np.int64)
    for begin in range(0, len(tokens), _BLOCK_TOKENS):
        block = slice(begin, begin + _BLOCK_TOKENS)
        values[block] = _digits(centred[block], bits)
        signed = values[block].astype(np.int64) * 2 - (2**bits - 1)
        norm[block] = np.einsum("td,td->t", signed, signed)
    return Digits(values, _scale(norm, n_dims, alive), bits)


def _scale(
    squares: NDArray[np.int64] | NDArray[np.float64], n_dims: int, alive: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """``s_t = float32(1 / sqrt(float64(D * N_t)))``, 0 where the token is not alive."""
    product = np.where(alive, squares * n_dims, 1).astype(np.float64)
    scale: NDArray[np.float32] = np.where(alive, 1.0 / np.sqrt(product), 0.0).astype(np.float32)
    return scale


def _digits(centred: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """Digits ``u`` of a block of tokens; all-zero tokens give the level above zero."""
    grid = np.rint(_scaled(centred, _GRID_BITS))
    integers = grid.astype(np.int64)
    mean_square = np.einsum("td,td->t", integers, integers) / np.float64(grid.shape[1])
    step = np.sqrt(mean_square) * STEP_RMS[bits]
    per_step = np.divide(1.0, step, out=np.zeros_like(step), where=step > 0).astype(np.float32)
    level = np.floor(grid * per_step[:, None]) + np.float32(2 ** (bits - 1))
    clipped: NDArray[np.uint8] = np.clip(level, 0, 2**bits - 1).astype(np.uint8)
    return clipped


def _scaled(centred: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """Each token times the exact power of two that brings its maximum into [2^(top-1), 2^top).

    The factor is applied in two halves, because one float32 cannot hold it for the smallest
    and the largest tokens.
    """
    largest = np.max(np.abs(centred), axis=1)
    exponent = np.searchsorted(_POWERS, largest, side="right") + _LOWEST
    shift = top - exponent
    first = shift // 2
    one = np.float32(1)
    scaled: NDArray[np.float32] = (
        centred * np.ldexp(one, first)[:, None] * np.ldexp(one, shift - first)[:, None]
    )
    return scaled


_LOWEST = -149
_POWERS = np.ldexp(np.float32(1), np.arange(_LOWEST, 128)).astype(np.float32)
"""2^-149 .. 2^127, every power of two of float32: counting those <= x gives e with x < 2^e."""
