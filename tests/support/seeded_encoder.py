"""Checkpoints of seeded random numbers, in the layouts of the families' authors."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"
"""One file a family: its keys and shapes, and tokens that its authors' code computed."""

SEED = 7


@dataclass(frozen=True)
class Golden:
    """Keys, sizes and tokens of one family."""

    name: str
    facts: dict[str, Any]

    def shapes(self, size: str) -> dict[str, tuple[int, ...]]:
        """Keys and shapes of a checkpoint of that size, "small" or "full"."""
        return written_out(self.facts["keys"], self.facts["sizes"][size])

    def checkpoint(self, size: str) -> dict[str, Tensor]:
        """A seeded checkpoint, checked to be the one that the vectors belong to."""
        tensors = seeded(self.shapes(size))
        expected = self.facts["vectors"][size]["checkpoint_sha256"]
        assert digest(tensors) == expected, "the random numbers have changed, not the encoder"
        return tensors

    def spectrogram(self, size: str) -> NDArray[np.float32]:
        """What the tokens were computed from: (n_frames, n_mels)."""
        sizes = self.facts["sizes"][size]
        return seeded_spectrogram(sizes["frames"], sizes["mels"])

    def tokens(self, size: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Places in the flattened (n_tokens, D) array, [cls] left out, and what stands there."""
        vectors = self.facts["vectors"][size]
        values = np.array(vectors["tokens"])
        return places(tuple(vectors["shape"]), len(values)), values


def golden(name: str) -> Golden:
    """The golden file of a family."""
    return Golden(name, json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")))


def places(shape: tuple[int, ...], n: int) -> NDArray[np.int64]:
    """Where n of the components stand that a golden file holds: spread, never in step with D."""
    total = int(np.prod(shape))
    return np.sort(np.random.Generator(np.random.PCG64(SEED)).permutation(total)[:n])


def written_out(
    keys: Mapping[str, list[int | str]], sizes: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Shapes with letters and ``#`` replaced.

    Parameters
    ----------
    keys : mapping of key to shape
        ``#`` stands for the number of a block; ``"3 D"`` is three times the width.
    sizes : mapping of letter to number
        ``depth`` is the number of blocks.
    """
    shapes = {}
    for key, shape in keys.items():
        sized = tuple(_size(entry, sizes) for entry in shape)
        for n in range(sizes["depth"] if "#" in key else 1):
            shapes[key.replace("#", str(n))] = sized
    return shapes


def _size(entry: int | str, sizes: Mapping[str, int]) -> int:
    if isinstance(entry, int):
        return entry
    *factor, letter = entry.split()
    return int(factor[0] if factor else 1) * sizes[letter]


def seeded(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A checkpoint whose numbers depend on nothing but its keys and shapes.

    Keys are filled in sorted order from one stream of uniform numbers; how widely depends on what
    the key is, so that signals neither die nor explode.
    """
    stream = np.random.Generator(np.random.PCG64(SEED))
    tensors: dict[str, Tensor] = {}
    for key in sorted(shapes):
        shape = shapes[key]
        shared = re.sub(r"\d+(?=\.self_attn\.relative_attention_bias)", "0", key)
        if shared in tensors:  # BEATs: all layers have the table of the first
            tensors[key] = tensors[shared].clone()
            continue
        uniform = 2 * stream.random(int(np.prod(shape)), dtype=np.float32) - 1
        tensors[key] = torch.from_numpy(_spread(key, shape, uniform).reshape(shape))
    return tensors


def _spread(key: str, shape: tuple[int, ...], uniform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Norms near 1, biases near 0, matrices that keep the variance."""
    if key.endswith(("running_var", "weight_g", "grep_a")):
        return 1 + np.float32(0.3) * uniform
    if re.search(r"pos|cls|token|relative_attention_bias", key) and len(shape) > 1:
        return np.float32(0.5) * uniform
    if len(shape) > 1:
        fan_in = int(np.prod(shape)) // shape[0]
        return np.float32(np.sqrt(3 / fan_in)) * uniform
    return np.float32(0.2) * uniform + np.float32(key.endswith("weight"))


def seeded_spectrogram(n_frames: int, n_mels: int) -> NDArray[np.float32]:
    """A normalised spectrogram of random numbers: (n_frames, n_mels)."""
    stream = np.random.Generator(np.random.PCG64(SEED + 1))
    return stream.random((n_frames, n_mels), dtype=np.float32) * 2 - 1


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all numbers in the order of their keys."""
    total = hashlib.sha256()
    for key in sorted(tensors):
        total.update(f"{key}{tuple(tensors[key].shape)}".encode())
        total.update(tensors[key].numpy().tobytes())
    return total.hexdigest()
