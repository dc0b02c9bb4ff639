"""Somebody's linear layer as one that a bundle can hold."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import FloatLinear, GroupedInt8Linear, Int8Linear
from edge_probe.head.linear import Linear

LinearKind = Literal["float32", "int8"]

MAX_DENSE_WEIGHTS = 2**23
"""C x M up to which a class-bound layer is written out in float32 by default: 32 MiB, most of it
zeros. The 9,736 classes of AudioProtoPNet would take 0.4 GB for each prototype of a class."""


def linear_layer(
    weights: NDArray[np.floating],
    bias: NDArray[np.floating],
    n_prototypes: int,
    kind: LinearKind | None = None,
) -> Linear:
    """The layer of a bundle's prototype head.

    Parameters
    ----------
    weights : (C, M) float, or (C, M / C) float
        In the second form class c sees prototypes c M / C to (c + 1) M / C only.
    bias : (C,) float
    n_prototypes : int
        M.
    kind : "float32" or "int8", optional
        float32 computes what was trained; int8 takes a quarter of the bytes, and of a class-bound
        layer a share of 1 / (4 C). Default: float32, unless a class-bound layer is too large.
    """
    n_classes = len(weights)
    class_bound = weights.shape[1] != n_prototypes
    if kind is None:
        fits = n_classes * n_prototypes <= MAX_DENSE_WEIGHTS
        kind = "float32" if fits or not class_bound else "int8"
    if kind == "int8":
        layer = GroupedInt8Linear if class_bound else Int8Linear
        return layer.from_float(weights, bias)
    if class_bound:
        own = np.arange(n_prototypes).reshape(weights.shape)
        dense = np.zeros((n_classes, n_prototypes), np.float32)
        np.put_along_axis(dense, own, weights.astype(np.float32), axis=1)
        weights = dense
    return FloatLinear(weights.astype(np.float32), bias.astype(np.float64))


def rounding_loss(weights: NDArray[np.floating], linear: Linear) -> float:
    """The most by which int8 weights can move a logit, whatever the scores: these are within ±1.

    Parameters
    ----------
    weights : (C, M) or (C, M / C) float
        As given to `linear_layer`.
    linear : Linear
        What it made of them.
    """
    if isinstance(linear, FloatLinear):
        return 0.0
    rounded = linear.weights * linear.scale[:, np.newaxis]
    return float(np.abs(rounded - weights).sum(axis=1).max())
