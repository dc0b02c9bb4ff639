"""Fit heads on cached tokens."""

from export.train.bags import Bags, Batch
from export.train.binarise import binarise
from export.train.descend import Descent, Recipe, descend, logits_of
from export.train.fit import (
    HeadOptions,
    at_bits,
    fit_head,
    fit_heads,
    fit_mean_linear,
    fit_protobin,
    mean_linear_runtime,
)
from export.train.loss import Loss

__all__ = [
    "Bags", "Batch", "Descent", "HeadOptions", "Loss", "Recipe", "at_bits", "binarise", "descend",
    "fit_head", "fit_heads", "fit_mean_linear", "fit_protobin", "logits_of", "mean_linear_runtime",
]  # fmt: skip
