"""A pre-LN vision transformer in NumPy float64, written from the papers, for timm's keys.

The word on families whose own code may not be run for this: Dosovitskiy et al., arXiv 2010.11929;
exact GELU, learned or fixed positions with a row for [cls].
"""

from collections.abc import Mapping
from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, softmax

Arrays = Mapping[str, NDArray[np.float64]]
Array = NDArray[np.float64]


def plain_tokens(
    arrays: Arrays, spectrogram: Array, *, heads: int, final_norm: bool, eps: float = 1e-6
) -> Array:
    """Tokens of a spectrogram, [cls] first.

    Parameters
    ----------
    arrays : mapping of timm's key to array
    spectrogram : (n_frames, n_mels)
    heads : int
    final_norm : bool
        Whether ``norm`` follows the last block.
    eps : float
        Of the layer norms.

    Returns
    -------
    (1 + n_columns * n_rows, D)
        Time-major.
    """
    kernel = arrays["patch_embed.proj.weight"][:, 0]
    width, high, wide = kernel.shape
    columns, rows = spectrogram.shape[0] // high, spectrogram.shape[1] // wide
    x = np.empty((1 + columns * rows, width))
    table = arrays["pos_embed"][0]
    x[0] = arrays["cls_token"][0, 0] + table[0]
    for column in range(columns):
        for row in range(rows):
            patch = spectrogram[column * high :, row * wide :][:high, :wide]
            token = 1 + column * rows + row
            x[token] = np.tensordot(kernel, patch, 2) + arrays["patch_embed.proj.bias"]
            x[token] += table[token]
    for n in count():
        block = f"blocks.{n}."
        if f"{block}norm1.weight" not in arrays:
            break
        x = x + _attend(arrays, block, _norm(arrays, f"{block}norm1", x, eps), heads)
        hidden = _linear(arrays, f"{block}mlp.fc1", _norm(arrays, f"{block}norm2", x, eps))
        hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
        x = x + _linear(arrays, f"{block}mlp.fc2", hidden)
    return _norm(arrays, "norm", x, eps) if final_norm else x


def _attend(arrays: Arrays, block: str, x: Array, heads: int) -> Array:
    query, key, value = np.split(_linear(arrays, f"{block}attn.qkv", x), 3, axis=1)
    dims = x.shape[1] // heads
    mixed = [
        softmax(query[:, part] @ key[:, part].T / np.sqrt(dims), axis=1) @ value[:, part]
        for part in (slice(h * dims, (h + 1) * dims) for h in range(heads))
    ]
    return _linear(arrays, f"{block}attn.proj", np.concatenate(mixed, axis=1))


def _linear(arrays: Arrays, name: str, x: Array) -> Array:
    y: Array = x @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]
    return y


def _norm(arrays: Arrays, name: str, x: Array, eps: float) -> Array:
    spread = np.sqrt(x.var(axis=1, keepdims=True) + eps)
    y: Array = (x - x.mean(axis=1, keepdims=True)) / spread * arrays[f"{name}.weight"]
    return y + arrays[f"{name}.bias"]
