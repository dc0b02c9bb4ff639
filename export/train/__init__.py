"""Fit heads on cached tokens."""

from export.train.bags import Bags, Batch
from export.train.binarise import binarise
from export.train.configuration import ONE_BIT, TRAINABLE, Configuration, entry_of, train_head
from export.train.descend import Descent, OnEpoch, Recipe, descend, logits_of
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
    "ONE_BIT", "TRAINABLE", "Bags", "Batch", "Configuration", "Descent", "HeadOptions", "Loss",
    "OnEpoch", "Recipe", "binarise", "descend", "entry_of", "fit_head", "fit_heads",
    "fit_mean_linear", "fit_protobin", "logits_of", "mean_linear_runtime", "pack", "train_head",
]  # fmt: skip
