"""What a head is taught with: readable clips, their tokens, and what is known of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from export.clips import BACKGROUND, Clip, ClipSet
from export.tokens import ClipTokens, Encoded, TokenCache
from export.train import Bags


@dataclass(frozen=True, slots=True)
class Material:
    """Clips under one encoder."""

    clips: Sequence[Clip]
    tokens: Sequence[ClipTokens]
    targets: NDArray[np.float32]
    """(N, C) 1 heard, 0 not heard, NaN unknown."""
    labels: Sequence[str]
    n_freq: int
    """S_f of the encoder."""
    left_out: Sequence[str]
    """One line per clip that could not be used."""
    loudest: int | None = None
    """Chunks of a clip that are learned from, the loudest; None: all."""

    @property
    def heard(self) -> NDArray[np.bool_]:
        """(N, C) whether a clip holds a class."""
        return np.nan_to_num(self.targets) > 0

    @property
    def background(self) -> NDArray[np.int64]:
        """Rows of the clips that hold none of the classes."""
        return np.flatnonzero([clip.is_background for clip in self.clips])

    def bags(self, rows: NDArray[np.int64] | None = None) -> Bags:
        """All clips, or some, as a head learns from them."""
        chosen = np.arange(len(self.clips)) if rows is None else rows
        tokens = [self.tokens[row] for row in chosen]
        return Bags(tokens, self.targets[chosen], self.n_freq, self.loudest)


def encode(clips: ClipSet, cache: TokenCache, loudest: int | None = None) -> Material:
    """Encode what is not in the cache yet; refuses a class without a readable clip."""
    encoded = cache.encode(clips.clips, "encode")
    material = Material(
        encoded.clips, encoded.tokens, learnable_targets(encoded, clips.labels), clips.labels,
        cache.card.spec.grid.n_freq, [*clips.left_out, *encoded.unreadable], loudest,
    )  # fmt: skip
    empty = [clips.labels[i] for i in np.flatnonzero(~material.heard.any(axis=0))]
    if clips.n_background and not len(material.background):
        empty.append(BACKGROUND)
    if empty:
        raise EdgeProbeError(
            f"no readable clip of {', '.join(empty)}", hint="; ".join(encoded.unreadable[:3])
        )
    return material


def learnable_targets(encoded: Encoded, labels: Sequence[str]) -> NDArray[np.float32]:
    """What is known of encoded clips, (N, C), where no two say the contrary of the same audio.

    Raises
    ------
    EdgeProbeError
        They do: a recording that lies in the folders of two classes, for one, is said to hold
        neither with the other.
    """
    first: dict[str, Clip] = {}
    for clip, key in zip(encoded.clips, encoded.keys, strict=True):
        other = first.setdefault(key, clip)
        for label in sorted({*clip.labels, *other.labels}):
            if {clip.holds(label), other.holds(label)} == {True, False}:
                with_it, without = (clip, other) if clip.holds(label) else (other, clip)
                raise EdgeProbeError(
                    f"{with_it.path} holds {label}, {without.path} does not, and both are the "
                    "same audio",
                    hint="keep one of them; a CSV manifest can name several classes of one clip",
                )
    return targets_of(encoded.clips, labels)


def targets_of(clips: Sequence[Clip], labels: Sequence[str]) -> NDArray[np.float32]:
    """What is known of clips: (N, C) float32, 1 heard, 0 not heard, NaN unknown."""
    known = {True: 1.0, False: 0.0, None: np.nan}
    return np.array([[known[clip.holds(label)] for label in labels] for clip in clips], np.float32)
