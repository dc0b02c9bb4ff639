"""The head: token map in, logits out. Formula, kernels and rules: ``head/README.md``."""

from edge_probe.head.linear import (
    FloatLinear,
    GroupedInt8Linear,
    Int8Linear,
    SparseInt8Linear,
)
from edge_probe.head.mean_linear import MeanLinearHead, TokenSum
from edge_probe.head.protobin import ProtobinHead
from edge_probe.head.protofloat import ProtofloatHead
from edge_probe.head.prototypes import (
    PrototypeHead,
    PrototypeMaxima,
    WindowMaxima,
    located,
    strongest,
)

Head = PrototypeHead | MeanLinearHead
"""Every kind offers ``summarise`` (a chunk), ``merge`` (a window), ``logits``, ``evidence``."""

ChunkSummary = PrototypeMaxima | TokenSum
"""All that is kept of a chunk once it is encoded."""

WindowSummary = WindowMaxima | TokenSum
"""What a head's logits are computed from."""

__all__ = [
    "ChunkSummary",
    "FloatLinear",
    "GroupedInt8Linear",
    "Head",
    "Int8Linear",
    "MeanLinearHead",
    "ProtobinHead",
    "ProtofloatHead",
    "PrototypeHead",
    "PrototypeMaxima",
    "SparseInt8Linear",
    "TokenSum",
    "WindowMaxima",
    "WindowSummary",
    "located",
    "strongest",
]
