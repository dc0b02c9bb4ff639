"""Fit heads for the device: the float protobin head, the way to one bit, the linear probe."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import FloatLinear, MeanLinearHead, ProtobinHead
from edge_probe.spec import TokenBits
from export.heads.pooled import MeanLinear
from export.heads.protobin import ClassBoundProtobin, Protobin, TrainedHead
from export.linear_layer import sparsify
from export.train.bags import Bags
from export.train.binarise import binarise
from export.train.descend import Recipe, train_anew

LinearLayer = Literal["int8", "int8-sparse", "float32"]
"""Of a head that is not class-bound; class-bound ones have int8 weights for their own."""

SPARSE_SHARE = 0.1
"""Weights that a sparse layer keeps of each class, as a share of the prototypes."""

FLOAT_RECIPE = Recipe()
SIGN_RECIPE = Recipe(epochs=40, learning_rate=3e-3)


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """What a head is and how it is trained."""

    kind: Literal["protobin", "mean-linear"] = "protobin"
    bits: TokenBits = 1
    """Token precision. 1 is trained for; 2..8 cut the float head's tokens after training."""
    linear: LinearLayer = "int8"
    prototypes_per_class: int = 20
    class_bound: bool = False
    """Whether a class sees only its own prototypes."""
    learn_offset: bool = True
    dropout: float = 0.3
    recipe: Recipe = FLOAT_RECIPE
    """Of the float head."""
    sign_recipe: Recipe = SIGN_RECIPE
    """Of the way from float tokens to one bit."""
    probe_recipe: Recipe | None = None
    """Of the linear probe; None: that of the float head."""


def fit_head(
    bags: Bags,
    options: HeadOptions,
    *,
    seed: int,
    validation: Bags | None = None,
    progress: str | None = None,
) -> ProtobinHead | MeanLinearHead:
    """Train one head and pack it for the device.

    Parameters
    ----------
    bags : Bags
        Training clips; rows of targets without any class are background.
    options : HeadOptions
    seed : int
        The same seed, bags and thread count give the same head.
    validation : Bags, optional
        Clips that decide when to stop.
    progress : str, optional
        Name of a progress bar.
    """
    name = "mean-linear" if options.kind == "mean-linear" else str(options.bits)
    return fit_heads(bags, [name], options, seed=seed, validation=validation, progress=progress)[
        name
    ]


def fit_heads(
    bags: Bags,
    names: Sequence[str],
    options: HeadOptions,
    *,
    seed: int,
    validation: Bags | None = None,
    progress: str | None = None,
) -> dict[str, ProtobinHead | MeanLinearHead]:
    """Train heads for the device over the same clips.

    Parameters
    ----------
    bags, options, seed, validation, progress
        As in `fit_head`; ``options.kind`` and ``options.bits`` do not count.
    names : sequence of str
        "mean-linear", or token precisions "float", "8", "4", "1": they share one float head.
    """
    how = {"seed": seed, "validation": validation, "progress": progress}
    heads: dict[str, ProtobinHead | MeanLinearHead] = {}
    if "mean-linear" in names:
        heads["mean-linear"] = fit_mean_linear(bags, options, **how)  # type: ignore[arg-type]
    if set(names) == {"mean-linear"}:
        return heads
    module = fit_protobin(bags, options, **how)  # type: ignore[arg-type]
    trained = TrainedHead.of(module, bags.in_order())
    for name in names:
        if name not in ("1", "mean-linear"):
            bits: TokenBits = "float" if name == "float" else int(name)  # type: ignore[assignment]
            heads[name] = pack(trained, bags, bits, options.linear)
    if "1" in names:
        binarise(module, bags, options.sign_recipe, **how)  # type: ignore[arg-type]
        heads["1"] = pack(TrainedHead.of(module, bags.in_order()), bags, 1, options.linear)
    return heads


def fit_protobin(
    bags: Bags,
    options: HeadOptions,
    *,
    seed: int,
    validation: Bags | None = None,
    progress: str | None = None,
) -> Protobin:
    """The float protobin head; `binarise` takes it on to one bit."""
    kind = ClassBoundProtobin if options.class_bound else Protobin
    build = partial(
        kind, prototypes_per_class=options.prototypes_per_class,
        learn_offset=options.learn_offset, standardise=True, dropout=options.dropout,
    )  # fmt: skip
    return train_anew(
        build, options.recipe, bags, seed=seed, validation=validation, progress=progress
    )


def fit_mean_linear(
    bags: Bags,
    options: HeadOptions,
    *,
    seed: int,
    validation: Bags | None = None,
    progress: str | None = None,
) -> MeanLinearHead:
    """The plain linear probe on the mean token."""
    recipe = options.probe_recipe or options.recipe
    head = train_anew(MeanLinear, recipe, bags, seed=seed, validation=validation, progress=progress)
    return mean_linear_runtime(head)


def mean_linear_runtime(head: MeanLinear) -> MeanLinearHead:
    """The runtime head of a trained linear probe."""
    weights, bias = head.linear.weight.detach(), head.linear.bias.detach()
    return MeanLinearHead(FloatLinear(weights.numpy().copy(), bias.double().numpy()))


def pack(trained: TrainedHead, bags: Bags, bits: TokenBits, linear: LinearLayer) -> ProtobinHead:
    """The head a bundle carries, made up for what its precision and layer leave out.

    Odd digits of 2 to 8 bits have no zero: where a token map is mostly zeros, every prototype's
    scores shift by an amount of its own. Their means over the training bags are brought back to
    those of float tokens; the correction goes into b. Float and 1-bit heads compute what they were
    trained to. A sparse layer is fitted to the dense one on the training bags.
    """
    dense = "float32" if linear == "float32" else "int8"
    if bits not in ("float", 1):
        trained = _shifted_back(trained, bags, bits)
    head = trained.runtime(bits, dense)
    if linear != "int8-sparse" or trained.class_bound:
        return head
    kept = max(1, round(SPARSE_SHARE * head.n_prototypes))
    layer = sparsify(trained.weights, trained.bias, kept, _runtime_scores(head, bags))
    return replace(head, linear=layer)


def _shifted_back(trained: TrainedHead, bags: Bags, bits: TokenBits) -> TrainedHead:
    exact, cut = (
        _runtime_scores(trained.runtime(precision, "float32"), bags).mean(axis=0)
        for precision in ("float", bits)
    )
    shift = (exact - cut).reshape(-1, trained.weights.shape[1])  # (1, M), class-bound (C, J)
    moved = (trained.weights.astype(np.float64) * shift).sum(axis=1)
    return replace(trained, bias=trained.bias + moved, reference_scores=cut.astype(np.float32))


def _runtime_scores(head: ProtobinHead, bags: Bags) -> NDArray[np.float64]:
    """Prototype scores of every training bag as the device computes them: (N, M) float64."""
    return np.stack([
        head.summarise(tokens.astype(np.float32), valid).scores.astype(np.float64)
        for tokens, valid in bags.rows()
    ])  # fmt: skip
