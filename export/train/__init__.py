"""Fit heads on cached tokens."""

from export.train.bags import Bags, Batch
from export.train.binarise import binarise
from export.train.descend import Descent, Recipe, descend, logits_of
from export.train.fit import (
    HeadOptions,
    fit_head,
    fit_heads,
    fit_mean_linear,
    fit_protobin,
    mean_linear_runtime,
    pack,
)
from export.train.loss import Loss

__all__ = [
    "Bags", "Batch", "Descent", "HeadOptions", "Loss", "Recipe", "binarise", "descend", "fit_head",
    "fit_heads", "fit_mean_linear", "fit_protobin", "logits_of", "mean_linear_runtime", "pack",
]  # fmt: skip
