"""Pooling heads over frozen token maps, one short class each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from export.heads.attention import AbMilp, EfficientProbing, Mhca, SimPool
from export.heads.head import Head, head_bytes, n_parameters
from export.heads.maps import MapShape, TokenMaps
from export.heads.pooled import (
    ConcatLinear,
    MeanLinear,
    SummaryLinear,
    SummaryMlp,
    TokenConv,
    TokenLinear,
)
from export.heads.protobin import ClassBoundProtobin, Protobin
from export.heads.prototypes import Proto, ProtoFloat

__all__ = ["HEADS", "Head", "HeadEntry", "MapShape", "TokenMaps", "head_bytes", "n_parameters"]


@dataclass(frozen=True, slots=True)
class HeadEntry:
    """A head that can be asked for by name."""

    build: Callable[..., Head]
    """Head for a shape and J prototypes per class, and `options` by name; untrained, from torch's
    random generator."""
    description: str
    """One line for a table or a help text."""
    has_prototypes: bool = False
    """Prototypes want higher learning rates than other parameters."""
    options: frozenset[str] = frozenset()
    """Names of the numbers that ``build`` takes besides."""


def _without_prototypes(head: Callable[[MapShape], Head]) -> Callable[[MapShape, int], Head]:
    return lambda shape, prototypes_per_class: head(shape)


HEADS: Mapping[str, HeadEntry] = MappingProxyType({
    "linear": HeadEntry(
        _without_prototypes(SummaryLinear), "linear layer on [cls], or the mean token"
    ),
    "linear-mean": HeadEntry(_without_prototypes(MeanLinear), "linear layer on the mean token"),
    "mlp": HeadEntry(_without_prototypes(SummaryMlp), "two layers on [cls], or the mean token"),
    "linearc": HeadEntry(
        _without_prototypes(ConcatLinear), "linear layer on [cls] (or maximum) and mean token"
    ),
    "conv": HeadEntry(_without_prototypes(TokenConv), "3 x 3 convolution, mean, linear layer"),
    "linpre": HeadEntry(_without_prototypes(TokenLinear), "linear layer on tokens, maximum"),
    "mhca": HeadEntry(_without_prototypes(Mhca), "attention of one learned query in 12 heads"),
    "simpool": HeadEntry(_without_prototypes(SimPool), "attention of the mean token"),
    "ep": HeadEntry(
        _without_prototypes(EfficientProbing), "attention of 32 learned queries, no keys"
    ),
    "abmilp": HeadEntry(_without_prototypes(AbMilp), "attention scored by a small network"),
    "proto": HeadEntry(
        Proto, "float prototypes of each class, cosine, maximum", has_prototypes=True
    ),
    "protobin": HeadEntry(
        Protobin, "binary prototypes of no class, cosine, maximum, linear", has_prototypes=True
    ),
    "protofloat": HeadEntry(ProtoFloat, "protobin with float prototypes", has_prototypes=True),
    "protobin-offset": HeadEntry(
        partial(Protobin, learn_offset=True, standardise=True),
        "protobin with a learned token offset, scores standardised",
        has_prototypes=True,
        options=frozenset({"dropout"}),
    ),
    "protobin-bound": HeadEntry(
        partial(ClassBoundProtobin, learn_offset=True, standardise=True),
        "protobin-offset whose classes see only their own prototypes",
        has_prototypes=True,
        options=frozenset({"dropout"}),
    ),
})  # fmt: skip
"""The heads of arXiv 2509.24901 and ours by name, in the order of its tables."""
