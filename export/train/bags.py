"""Clips with their targets, and batches of them; tokens stay on disk where they are many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.heads.maps import MapShape, TokenMaps
from export.tokens import ClipTokens

SAMPLE_TOKENS = 2**15
"""Enough for the quantiles of every component."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some clips, as a head reads them."""

    rows: Tensor
    """(B,) int64: which clips of the bags."""
    maps: TokenMaps
    targets: Tensor
    """(B, C) float32"""


class Bags:
    """One bag of tokens per clip, however long it is.

    Parameters
    ----------
    clips : sequence of ClipTokens
        Those of the token cache are read from disk whenever one is looked at.
    targets : (N, C) float32
        1 heard, 0 not heard, NaN unknown; a row of zeros is background.
    n_freq : int
        S_f of the encoder.
    loudest : int, optional
        Keep only that many chunks of a clip, the loudest, in their order.
    """

    def __init__(
        self,
        clips: Sequence[ClipTokens],
        targets: NDArray[np.float32],
        n_freq: int = 1,
        loudest: int | None = None,
    ) -> None:
        self._clips = clips
        self.targets = torch.from_numpy(targets)
        self._n_freq = n_freq
        self._loudest = loudest

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def shape(self) -> MapShape:
        """Sizes of a head for these clips."""
        clip = self._clips[0]
        n_cls = 0 if clip.cls is None else clip.cls.shape[1]
        return MapShape(clip.tokens.shape[2], self._n_freq, self.targets.shape[1], n_cls)

    def maps(self, rows: Sequence[int]) -> TokenMaps:
        """Token maps of some clips, made equally long by columns that are not valid."""
        parts = [self._rows(row) for row in rows]
        longest = max(_n_until_last(valid, self._n_freq) for _, valid, _ in parts)
        shape = (len(parts), longest, parts[0][0].shape[1])
        tokens, valid = torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.bool)
        for index, (own, own_valid, _) in enumerate(parts):
            kept = min(longest, len(own))
            tokens[index, :kept] = torch.from_numpy(own[:kept])
            valid[index, :kept] = torch.from_numpy(own_valid[:kept])
        tokens[~valid] = 0
        means = [mean for _, _, mean in parts if mean is not None]
        return TokenMaps(
            tokens.unflatten(1, (-1, self._n_freq)).permute(0, 3, 1, 2),
            valid.unflatten(1, (-1, self._n_freq)),
            torch.from_numpy(np.stack(means)) if means else None,
        )

    def _rows(
        self, row: int
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_], NDArray[np.float32] | None]:
        """Tokens (T, D), valid (T,) and mean [cls] (D_cls,) of a clip.

        A last chunk too short to hold a token has a [cls] of padding: it does not count.
        """
        clip = self._clips[row]
        kept = np.arange(len(clip.tokens))
        if self._loudest is not None:
            if clip.level is None:
                raise ValueError("the loudest chunks need the level of every chunk")
            level = np.where(clip.valid.any(axis=1), clip.level, -1.0)  # last: what holds no token
            kept = np.sort(np.argsort(-level, kind="stable")[: self._loudest])
        tokens, valid = clip.tokens[kept], clip.valid[kept]
        mean = None
        if clip.cls is not None:
            heard = valid.any(axis=1)
            mean = clip.cls[kept[heard] if heard.any() else kept].astype(np.float32).mean(axis=0)
        return tokens.reshape(-1, tokens.shape[2]), valid.reshape(-1), mean

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Batches for ever; a clip is drawn as often as its rarest class is rare.

        Background, and what only tells of an absent class, weigh like one more class.
        """
        share = self._draw_share()
        while True:
            rows = rng.choice(len(share), size, p=share)
            yield Batch(torch.from_numpy(rows), self.maps(rows.tolist()), self.targets[rows])

    def rows(self) -> Iterator[tuple[NDArray[np.float16], NDArray[np.bool_]]]:
        """Tokens (T, D) and valid (T,) of each clip."""
        for row in range(len(self)):
            tokens, valid, _ = self._rows(row)
            yield tokens, valid

    def in_order(self, size: int = 64) -> Iterator[TokenMaps]:
        """The maps of all clips, each once."""
        for first in range(0, len(self), size):
            yield self.maps(range(first, min(first + size, len(self))))

    def _draw_share(self) -> NDArray[np.float64]:
        heard = np.nan_to_num(self.targets.numpy())
        kinds = np.concatenate([heard, heard.sum(axis=1, keepdims=True) == 0], axis=1)
        count = kinds.sum(axis=0)
        per_clip = np.where(kinds > 0, 1 / np.maximum(count, 1), 0).max(axis=1)
        share: NDArray[np.float64] = per_clip / per_clip.sum()
        return share

    def sample(self) -> Tensor:
        """`SAMPLE_TOKENS` valid tokens or so, of clips drawn without bias: (n, D) float32."""
        drawn, n_tokens = [], 0
        for row in np.random.default_rng(0).permutation(len(self)):
            tokens, valid, _ = self._rows(int(row))
            drawn.append(torch.from_numpy(tokens[valid]))
            n_tokens += len(drawn[-1])
            if n_tokens >= SAMPLE_TOKENS:
                break
        return torch.cat(drawn).float()


def _n_until_last(valid: NDArray[np.bool_], n_freq: int) -> int:
    """Tokens up to the last valid column (one column at least)."""
    last = int(np.flatnonzero(valid)[-1]) if valid.any() else 0
    return (last // n_freq + 1) * n_freq
