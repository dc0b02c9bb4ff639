"""A plain linear layer on the mean token: two arrays, ``weight`` and ``bias``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.foreign import CheckpointError
from export.foreign.containers import Checkpoint


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """``logits = W mean_t z[t] + b``."""

    weights: NDArray[np.float32]
    """(C, D)"""
    bias: NDArray[np.float32]
    """(C,)"""


def find_dense(checkpoint: Checkpoint) -> DenseLayer:
    """The layer of a file that holds ``weight`` (C, D), ``bias`` (C,) and nothing else.

    Whole models are not searched: which of their layers reads the mean token cannot be told from
    names and shapes.

    Raises
    ------
    CheckpointError
        Other tensors are in it, or their shapes do not fit together.
    """
    names = sorted(checkpoint.tensors)
    if [name.split(".")[-1] for name in names] != ["bias", "weight"]:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise CheckpointError(
            f"{checkpoint.path}: holds no head that is known here: expected prototype_vectors and "
            f"their linear layer, or exactly weight (C, D) and bias (C,), found {shown}",
            hint="export/README.md lists the heads that can be imported",
        )
    bias, weights = (checkpoint.array(name) for name in names)
    if weights.ndim != 2 or bias.shape != weights.shape[:1]:
        raise CheckpointError(
            f"{checkpoint.path}: expected weight (C, D) and bias (C,), "
            f"found {weights.shape} and {bias.shape}",
            hint="one row of weights for each class",
        )
    return DenseLayer(weights, bias)
