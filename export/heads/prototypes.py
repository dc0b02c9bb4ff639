"""Heads of float prototypes: the relatives that protobin is measured against."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.heads.head import Head
from export.heads.maps import MapShape, TokenMaps
from export.heads.maxima import MaxSimilarity

PROTO_BIAS_START = -2.0
"""Of ``proto``: no class is present until its prototypes say so (Bird-MAE)."""
PROTOFLOAT_START_STD = 0.02
"""Of ``protofloat``: that of protobin's latent prototypes."""


class Proto(Head):
    """``proto``: J float prototypes p[c, j] of each class c; nothing speaks against a class.

    ``score[c, j] = relu(max_t cos(z[t], p[c, j]))``,
    ``logits[c] = sum_j relu(w[c, j]) score[c, j] + b[c]``. C J D + C J + C parameters.

    Source: the head of Bird-MAE and AudioProtoPNet (arXiv 2504.12880, 2404.10420) with its
    starting values, its non-negative scores and weights and its orthogonality penalty; inferred
    for arXiv 2509.24901, of which we know that it is float and class-bound. Theirs divides scores
    by 1.01 (here in w), doubles the map by interpolation and may subtract [cls]: left out, for
    neither is a matter of pooling.

    Parameters
    ----------
    shape : MapShape
    prototypes_per_class : int
        J; prototypes stand in class order, ``c * J + j``.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"prototypes", "bias"})

    def __init__(self, shape: MapShape, prototypes_per_class: int) -> None:
        super().__init__()
        n_prototypes = shape.n_classes * prototypes_per_class
        self.prototypes = nn.Parameter(torch.rand(n_prototypes, shape.n_dims))
        self.weight = nn.Parameter(torch.ones(shape.n_classes, prototypes_per_class))
        self.bias = nn.Parameter(torch.full((shape.n_classes,), PROTO_BIAS_START))

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        scores = _best_cosines(maps, self.prototypes).relu().unflatten(1, self.weight.shape)
        logits: Tensor = (scores * self.weight.relu()).sum(dim=2) + self.bias
        return logits

    def penalty(self) -> Tensor:
        """``|| (P_c P_c' - I) over all c ||_F / (C J^2)``, P_c the unit prototypes of class c.

        Keeps the prototypes of a class apart; goes into the loss with weight 1.
        """
        of_class = functional.normalize(self.prototypes, dim=1).unflatten(0, self.weight.shape)
        gram = of_class @ of_class.transpose(1, 2)
        apart = gram - torch.eye(gram.shape[1], dtype=gram.dtype)
        size: Tensor = apart.norm() / apart.numel()
        return size


class ProtoFloat(Head):
    """``protofloat``: protobin without the sign, to see what the sign costs.

    ``score[m] = max_t cos(z[t], p[m])``, ``logits = W score + b`` with M = C J prototypes that
    belong to no class. M D + C M + C parameters. Source: Table 7 of arXiv 2509.24901.

    Parameters
    ----------
    shape : MapShape
    prototypes_per_class : int
        J = M / C.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"prototypes", "linear.bias"})

    def __init__(self, shape: MapShape, prototypes_per_class: int) -> None:
        super().__init__()
        n_prototypes = shape.n_classes * prototypes_per_class
        self.prototypes = nn.Parameter(
            torch.randn(n_prototypes, shape.n_dims) * PROTOFLOAT_START_STD
        )
        self.linear = nn.Linear(n_prototypes, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.linear(_best_cosines(maps, self.prototypes))
        return logits


def _best_cosines(maps: TokenMaps, prototypes: Tensor) -> Tensor:
    """``max_t cos(z[t], p[m])`` over valid tokens: (B, M); a zero token scores 0."""
    tokens, valid = maps.rows()
    best: Tensor = MaxSimilarity.apply(
        functional.normalize(tokens, dim=2), functional.normalize(prototypes, dim=1), valid
    )
    return best
