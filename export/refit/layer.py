"""The linear layer alone: some of its rows, fitted anew from where they are.

Prototype scores take the place of tokens: a clip is a single token of M components, and the plain
linear probe on it is the linear layer. Loss, optimiser and batches are those of `export.train`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_probe.head import FloatLinear, GroupedInt8Linear, Int8Linear, SparseInt8Linear
from edge_probe.head.linear import Linear
from export.heads.maps import MapShape
from export.heads.pooled import MeanLinear
from export.tokens import ClipTokens
from export.train.bags import Bags
from export.train.descend import Descent, Recipe, descend

RECIPE = Recipe(epochs=10, learning_rate=1e-3)
"""Of the way from the parent's rows; it begins near its end, so that long steps only lose."""

CORRECTIONS_SHARE = 0.3
"""Of what is learned from: corrections are fewer than training clips, and they are of here."""

_LEAST_SPREAD = 1e-6
"""Of scores: a prototype that scores the same everywhere says nothing."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What is learned from: training clips and corrected windows."""

    scores: NDArray[np.float32]
    """(n, M)"""
    targets: NDArray[np.float32]
    """(n, C) 1, 0 or NaN."""
    groups: Sequence[str]
    is_corrected: NDArray[np.bool_]
    """(n,) whether it is a correction."""

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some classes of a linear layer."""

    classes: NDArray[np.int64]
    """(C',)"""
    weights: NDArray[np.float64]
    """(C', M)"""
    bias: NDArray[np.float64]
    """(C',)"""
    seen: NDArray[np.bool_]
    """(C', M) prototypes that a class sees at all; weights of the others are 0 and stay so."""

    @classmethod
    def of(cls, linear: Linear, classes: NDArray[np.int64]) -> "Rows":
        """As they are in a layer."""
        weights = np.stack([linear.row(int(number)) for number in classes])
        seen = np.ones(weights.shape, np.bool_)
        if isinstance(linear, SparseInt8Linear):
            seen[:] = False
            np.put_along_axis(seen, linear.columns[classes].astype(np.int64), True, axis=1)
        elif isinstance(linear, GroupedInt8Linear):
            seen = np.arange(weights.shape[1]) // linear.weights.shape[1] == classes[:, None]
        return cls(classes, weights, np.asarray(linear.bias[classes], np.float64), seen)

    def logits(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, M) scores -> (n, C')."""
        found: NDArray[np.float64] = scores.astype(np.float64) @ self.weights.T + self.bias
        return found


def fit_rows(start: Rows, examples: Examples, chosen: NDArray[np.int64], seed: int) -> Rows:
    """Go on from some rows.

    Parameters
    ----------
    start : Rows
    examples : Examples
    chosen : (k,) int64
        Which of them are learned from.
    seed : int
        Of the batches.
    """
    rows = _repeated(examples.is_corrected[chosen], chosen)
    scores, targets = examples.scores[rows], examples.targets[rows][:, start.classes]
    mean = scores.mean(axis=0, dtype=np.float64)
    spread = np.maximum(scores.std(axis=0, dtype=np.float64), _LEAST_SPREAD)
    tokens = ((scores - mean) / spread).astype(np.float16)
    known = np.ones((1, 1), np.bool_)
    bags = Bags([ClipTokens(one[None, None], known) for one in tokens], targets)
    head = MeanLinear(MapShape(tokens.shape[1], 1, len(start.classes)))
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(start.weights * spread))
        head.linear.bias.copy_(torch.from_numpy(start.bias + start.weights @ mean))
    seen = torch.from_numpy(start.seen).float()
    head.linear.weight.register_hook(lambda gradient: gradient * seen)
    descend([Descent(head, RECIPE, len(bags))], bags, None, seed=seed)
    weights = head.linear.weight.detach().double().numpy() / spread
    bias = head.linear.bias.detach().double().numpy() - weights @ mean
    return replace(start, weights=weights, bias=bias)


def _repeated(is_corrected: NDArray[np.bool_], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows, corrections so often that they are their share of all."""
    ours, others = chosen[is_corrected], chosen[~is_corrected]
    if not len(ours) or not len(others):
        return chosen
    wanted = CORRECTIONS_SHARE / (1 - CORRECTIONS_SHARE) * len(others)
    return np.concatenate([others, np.tile(ours, max(1, round(wanted / len(ours))))])


def with_rows(linear: Linear, rows: Rows) -> Linear:
    """A layer with some rows exchanged; all others stay to the bit.

    Raises
    ------
    TypeError
        Of a kind that nobody told this how to change.
    """
    at = rows.classes
    if isinstance(linear, FloatLinear):
        weights = linear.weights.copy()
        weights[at] = rows.weights
        return FloatLinear(weights, _exchanged(linear.bias, at, rows.bias))
    own = rows.weights
    if isinstance(linear, GroupedInt8Linear):
        n_own = linear.weights.shape[1]
        own = np.stack([row[c * n_own : (c + 1) * n_own] for row, c in zip(own, at, strict=True)])
    elif isinstance(linear, SparseInt8Linear):
        own = np.take_along_axis(own, linear.columns[at].astype(np.int64), axis=1)
    elif not isinstance(linear, Int8Linear):
        raise TypeError(f"no way to change a row of {type(linear).__name__}")
    rounded = Int8Linear.from_float(own, rows.bias)
    return replace(
        linear,
        weights=_exchanged(linear.weights, at, rounded.weights),
        scale=_exchanged(linear.scale, at, rounded.scale),
        bias=_exchanged(linear.bias, at, rounded.bias),
    )


def _exchanged(array: NDArray[Any], at: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
    found = array.copy()
    found[at] = values
    return found
