"""Which prototype head a checkpoint holds, told from the names and shapes of its tensors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.foreign import CheckpointError
from export.foreign.containers import Checkpoint

VECTORS = "prototype_vectors"

_LAYERS = {
    "fc": ("fc.weight", "fc.bias"),
    "linear": ("linear.weight", "linear.bias"),
    "class_weight": ("class_weight", "class_bias"),
    "last_layer": ("last_layer.weight", "last_layer.bias"),
}
"""Layer -> its tensors. ``fc``: BAT (MIT), Protobin. ``linear``: what is known of the authors' own
code, and its float twin. ``class_weight``: the twin's block-diagonal form. ``last_layer``: PPNet of
Bird-MAE and AudioProtoPNet."""

_BEYOND = {
    "block_attention": "mixes the layers of its encoder (BAT's CGP head)",
    "layer_weights": "mixes the layers of its encoder by learned weights",
    "frequency_weights": "weighs its scores by frequency before their maximum is taken",
    "add_on_layers": "puts trained layers between encoder and prototypes",
}
"""Parts that a bundle's head does not have."""


@dataclass(frozen=True, slots=True)
class PrototypeTensors:
    """A prototype head as its checkpoint stores it."""

    prefix: str
    """Of its tensors' names, such as ``head.``."""
    layer: str
    """A key of the layers known here: ``fc``, ``linear``, ``class_weight`` or ``last_layer``."""
    vectors: NDArray[np.float32]
    """(M, D)"""
    weights: NDArray[np.float32]
    """(C, M), or (C, M / C) where ``class_bound``."""
    bias: NDArray[np.float32]
    """(C,)"""

    @property
    def class_bound(self) -> bool:
        """Whether class c sees its own prototypes only: c J to (c + 1) J."""
        return bool(self.weights.shape[1] != len(self.vectors))


def has_prototypes(checkpoint: Checkpoint) -> bool:
    """Whether any tensor is named like prototypes."""
    return bool(_prefixes(checkpoint))


def find_prototypes(checkpoint: Checkpoint) -> PrototypeTensors:
    """The one prototype head of a checkpoint.

    Raises
    ------
    CheckpointError
        There are none or several, parts are missing or of contradicting shapes, or the head does
        what no bundle can.
    """
    prefixes = _prefixes(checkpoint)
    if len(prefixes) != 1:
        found = ", ".join(prefix + VECTORS for prefix in prefixes) or "none"
        raise CheckpointError(
            f"{checkpoint.path}: expected one tensor {VECTORS}, found {found}",
            hint="save the tensors of the head you mean alone",
        )
    _refuse_parts(checkpoint)
    (prefix,) = prefixes
    layer = _layer(checkpoint, prefix)
    weight, bias = (prefix + name for name in _LAYERS[layer])
    weights = checkpoint.array(weight)
    head = PrototypeTensors(
        prefix,
        layer,
        _vectors(checkpoint, prefix),
        weights,
        checkpoint.array(bias)
        if bias in checkpoint.tensors
        else np.zeros(len(weights), np.float32),  # nn.Linear(..., bias=False)
    )
    _check_shapes(checkpoint, head)
    return head


def _prefixes(checkpoint: Checkpoint) -> list[str]:
    return sorted(
        name.removesuffix(VECTORS)
        for name in checkpoint.tensors
        if name == VECTORS or name.endswith(f".{VECTORS}")
    )


def _refuse_parts(checkpoint: Checkpoint) -> None:
    for name in checkpoint.tensors:
        if part := next((part for part in name.split(".") if part in _BEYOND), None):
            raise CheckpointError(
                f"{checkpoint.path}: {name}: this head {_BEYOND[part]}; a bundle's head cannot",
                hint="teach a head here with edge-export fit"
                if part != "layer_weights"
                else "export an encoder graph whose output is the mixture, and save the tensors "
                "of the head alone",
            )


def _layer(checkpoint: Checkpoint, prefix: str) -> str:
    found = [name for name, (weight, _) in _LAYERS.items() if prefix + weight in checkpoint.tensors]
    if len(found) == 1:
        return found[0]
    expected = ", ".join(prefix + weight for weight, _ in _LAYERS.values())
    beside = ", ".join(name for name in checkpoint.tensors if name.startswith(prefix))
    raise CheckpointError(
        f"{checkpoint.path}: expected one of {expected}, found {beside[:200]}",
        hint="save the whole head: prototypes and linear layer",
    )


def _vectors(checkpoint: Checkpoint, prefix: str) -> NDArray[np.float32]:
    vectors = checkpoint.array(prefix + VECTORS)
    if vectors.ndim < 2 or vectors.size == 0 or set(vectors.shape[2:]) - {1}:
        raise CheckpointError(
            f"{checkpoint.path}: {prefix}{VECTORS}: expected (M, D, 1, 1), found {vectors.shape}",
            hint="only prototypes of one token can be matched token by token",
        )
    return vectors.reshape(vectors.shape[:2])


def _check_shapes(checkpoint: Checkpoint, head: PrototypeTensors) -> None:
    n_prototypes, shape = len(head.vectors), head.weights.shape
    n_classes = shape[0]
    fits = (
        len(shape) == 2
        and head.bias.shape == (n_classes,)
        and (
            shape[1] == n_prototypes
            or (
                head.layer in {"class_weight", "last_layer"} and shape[0] * shape[1] == n_prototypes
            )
        )
    )
    if not fits:
        raise CheckpointError(
            f"{checkpoint.path}: {head.prefix}{_LAYERS[head.layer][0]} {shape} and its bias "
            f"{head.bias.shape} do not fit {n_prototypes} prototypes",
            hint="expected one weight for each class and prototype; CGP heads have three",
        )
