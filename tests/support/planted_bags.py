"""Clips of made-up tokens, some of which carry the pattern of a class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import Head
from export.tokens import ClipTokens
from export.train import Bags


def noise_clip(
    n_chunks: int, shape: tuple[int, int], rng: np.random.Generator, n_last: int | None = None
) -> ClipTokens:
    """Chunks of (T, D) independent normal tokens; of the last only ``n_last`` are valid."""
    valid = np.ones((n_chunks, shape[0]), bool)
    valid[-1, n_last:] = n_last is None
    tokens = rng.normal(size=(n_chunks, *shape)).astype(np.float16)
    return ClipTokens(tokens, valid, None, np.ones(n_chunks, np.float32))


def planted_bags(
    n_clips: int,
    n_chunks: int,
    n_planted: int,
    seed: int,
    *,
    shape: tuple[int, int] = (4, 16),
    n_classes: int = 2,
    strength: float = 2.0,
    site: float = 0.0,
) -> Bags:
    """Clips of each class in turn and of background; the pattern in one token of some chunks.

    ``site`` is the standard deviation of a vector that all tokens of a clip share.
    """
    rng = np.random.default_rng(seed)
    patterns = np.sign(np.random.default_rng(9).normal(size=(n_classes, shape[1])))
    clips, targets = [], np.zeros((n_clips, n_classes), np.float32)
    for row in range(n_clips):
        clip, label = noise_clip(n_chunks, shape, rng), row % (n_classes + 1)
        clip.tokens[:] += rng.normal(0, site, shape[1]).astype(np.float16)
        if label < n_classes:
            targets[row, label] = 1
            chunks = rng.choice(n_chunks, n_planted, replace=False)
            clip.tokens[chunks, rng.integers(shape[0], size=n_planted)] += (
                strength * patterns[label]
            ).astype(np.float16)
        clips.append(clip)
    return Bags(clips, targets)


def labelled(targets: Sequence[Sequence[float]] | NDArray[np.float32], n_dims: int = 4) -> Bags:
    """One short noise clip per row of targets."""
    rng = np.random.default_rng(0)
    rows = np.asarray(targets, np.float32)
    return Bags([noise_clip(1, (2, n_dims), rng) for _ in rows], rows)


def device_logits(head: Head, bags: Bags) -> NDArray[np.float64]:
    """Logits of every clip, heard as one chunk, by the code of the recorder: (N, C)."""
    rows = []
    for tokens, valid in bags.rows():
        window: Any = head.merge([head.summarise(tokens.astype(np.float32), valid)])  # type: ignore[list-item]
        rows.append(head.logits(window))
    return np.stack(rows)
