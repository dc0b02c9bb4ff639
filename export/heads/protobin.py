"""The protobin head in torch: what is trained, and how it becomes the head of a bundle."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_probe.head import FloatLinear, GroupedInt8Linear, Int8Linear, ProtobinHead
from edge_probe.head.packing import pack_signs
from edge_probe.spec import TokenBits
from export.heads.head import Head
from export.heads.maps import MapShape, TokenMaps
from export.heads.maxima import MaxSimilarity


class _PrototypeSign(torch.autograd.Function):
    """sign(p) with sign(0) = +1; the gradient passes unchanged (identity straight-through)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _TokenSign(torch.autograd.Function):
    """sign(x) with sign(0) = +1; the gradient is that of ``tanh(x)``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradients[0] * (1 - torch.tanh(values).square())


class _Standardise(nn.BatchNorm1d):
    """Batch normalisation without parameters, whose running figures do not remember their start.

    A start at variance 1 outweighs the 1e-3 of cosines for eighty steps, and a small data set has
    no more. So the first ten batches count alike, and only then do the older ones fade.
    """

    def __init__(self, n_prototypes: int) -> None:
        super().__init__(n_prototypes, affine=False)

    def forward(self, scores: Tensor) -> Tensor:
        if self.training:
            self.momentum = max(0.1, 1 / (int(self.get_buffer("num_batches_tracked")) + 1))
        standard: Tensor = super().forward(scores)
        return standard


class _OwnLinear(nn.Module):
    """``logits[c] = sum_j W[c, j] scores[c J + j] + b[c]``."""

    def __init__(self, n_classes: int, n_own: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_classes, n_own) / n_own**0.5)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, scores: Tensor) -> Tensor:
        own = scores.unflatten(1, self.weight.shape)
        logits: Tensor = (own * self.weight).sum(dim=2) + self.bias
        return logits


class Protobin(Head):
    """``logits = W norm(max_t cos(z[t] - c, sign(p))) + b``, M = C J prototypes for all classes.

    As in the paper c = 0 and norm is the identity: M D + M C + C parameters (155,610 for C = 10,
    J = 20, D = 768). Rauch et al., "Unmute the Patch Tokens", ICLR 2026, arXiv 2509.24901; details
    by the authors' code of BAT (arXiv 2602.16305): latent prototypes of N(0, 0.02²), sign(0) = +1,
    identity straight-through estimator, no scale or bias on the cosine.

    Ours: the token offset c is learned (D parameters more); norm standardises every prototype
    score over the batch (batch normalisation without parameters, folded into W and b afterwards),
    so that the small cosines of the maxima, whose size and mean move while tokens become
    signs, always meet the linear layer at one scale.

    `binarise` turns the head into the fully binary one: tokens become signs around R thresholds a
    component, ``[sign(z - c_1), ..., sign(z - c_R)]``, prototypes get R D components.

    Parameters
    ----------
    shape : MapShape
    prototypes_per_class : int
        J.
    learn_offset : bool
        Whether c is learned or stays where it is put (0).
    standardise : bool
        Whether prototype scores are standardised.
    dropout : float
        Share of the scores that the linear layer must do without in training.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"prototypes", "offset", "linear.bias"})

    def __init__(
        self,
        shape: MapShape,
        prototypes_per_class: int = 20,
        *,
        learn_offset: bool = False,
        standardise: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n_prototypes = shape.n_classes * prototypes_per_class
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, shape.n_dims) * 0.02)
        self.offset = nn.Parameter(torch.zeros(shape.n_dims), requires_grad=learn_offset)
        self.norm: nn.Module = _Standardise(n_prototypes) if standardise else nn.Identity()
        self.linear: nn.Linear | _OwnLinear = nn.Linear(n_prototypes, shape.n_classes)
        self.dropout = nn.Dropout(dropout)
        self.n_thresholds = 0
        """R; 0 as long as tokens are float."""
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(shape.n_dims))

    @torch.no_grad()
    def start_from(self, tokens: Tensor) -> None:
        """Take offset and spread from training tokens (n, D)."""
        self.spread.copy_(tokens.std(dim=0).clamp(min=1e-6))
        if self.offset.requires_grad:
            self.offset.copy_(tokens.median(dim=0).values)

    @torch.no_grad()
    def binarise(self, tokens: Tensor, n_thresholds: int) -> None:
        """Go on with signs of tokens, from what the float head has learned.

        Thresholds lie at the quantiles r / (R + 1) of training tokens (n, D), moved by as much as
        the offset was moved from their median.
        """
        levels = np.arange(1, n_thresholds + 1) / (n_thresholds + 1)
        quantiles = torch.from_numpy(np.quantile(tokens.numpy(), levels, axis=0)).float()
        thresholds = quantiles + self.offset - tokens.median(dim=0).values
        self.offset = nn.Parameter(thresholds.flatten(), self.offset.requires_grad)
        self.prototypes = nn.Parameter(self.prototypes.repeat(1, n_thresholds))
        self.n_thresholds = n_thresholds
        if isinstance(self.norm, _Standardise):
            self.norm.reset_running_stats()  # scores of signs have another size

    def scores(self, maps: TokenMaps) -> Tensor:
        """Prototype scores of clips: (B, M) float32.

        Padding is no candidate. A token that equals the offset in every component scores 0, and so
        does a clip without a valid token, as on the recorder.
        """
        tokens, valid = maps.rows()
        best: Tensor = MaxSimilarity.apply(
            self._directions(tokens), self.binary_prototypes(), valid
        )
        return best * valid.any(dim=1, keepdim=True)

    def _directions(self, tokens: Tensor) -> Tensor:
        """Vectors of length 1 (0 for a token that equals the offset): (B, T, D or R D)."""
        if not self.n_thresholds:
            exact: Tensor = functional.normalize(tokens - self.offset, dim=-1)
            return exact
        n_bits = len(self.offset)
        thresholds = self.offset.view(self.n_thresholds, -1)
        above = ((tokens[:, :, None] - thresholds) / self.spread).flatten(2)
        alive = (above != 0).any(dim=-1, keepdim=True)
        signs: Tensor = _TokenSign.apply(above) * alive / n_bits**0.5
        return signs

    def binary_prototypes(self) -> Tensor:
        """Prototypes of length 1 with components of one magnitude: (M, D)."""
        signs: Tensor = _PrototypeSign.apply(self.prototypes)
        unit: Tensor = signs / self.prototypes.shape[1] ** 0.5
        return unit

    def standard_scores(self, maps: TokenMaps) -> Tensor:
        """What the linear layer reads: (B, M)."""
        scores: Tensor = self.norm(self.scores(maps))
        return scores

    def classify(self, scores: Tensor) -> Tensor:
        """Logits (B, C) of standardised scores (B, M)."""
        logits: Tensor = self.linear(self.dropout(scores))
        return logits

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits of clips: (B, C)."""
        return self.classify(self.standard_scores(maps))


class ClassBoundProtobin(Protobin):
    """Protobin whose class c sees only its own J prototypes: ``W`` is C J weights, not C² J.

    M D + M + C parameters. Ours, for label sets of hundreds and more: there the dense layer is
    larger than everything else of a head.
    """

    def __init__(self, shape: MapShape, prototypes_per_class: int = 20, **options: Any) -> None:
        super().__init__(shape, prototypes_per_class, **options)
        self.linear = _OwnLinear(shape.n_classes, prototypes_per_class)


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A trained protobin head as plain arrays, standardisation folded into the linear layer."""

    prototypes: NDArray[np.float32]
    """(M, R D) latent; their signs are the prototypes."""
    offset: NDArray[np.float32]
    """(R D,)"""
    weights: NDArray[np.float32]
    """(C, M), or (C, J) of a class-bound head."""
    bias: NDArray[np.float64]
    """(C,)"""
    reference_scores: NDArray[np.float32]
    """(M,) mean score on the training clips."""
    n_thresholds: int
    """R, of a token component; 1 for float tokens."""

    @classmethod
    @torch.no_grad()
    def of(cls, head: Protobin, maps: Iterable[TokenMaps]) -> "TrainedHead":
        """Fold and copy a module's parameters; ``maps`` are those of the training clips."""
        head.eval()
        reference_scores = torch.cat([head.scores(each) for each in maps]).mean(dim=0)
        weights = head.linear.weight.detach().double()
        bias = head.linear.bias.detach().double()
        if isinstance(head.norm, _Standardise):
            variance = head.norm.get_buffer("running_var").double()
            mean = head.norm.get_buffer("running_mean").double()
            per_prototype = (variance + head.norm.eps).rsqrt()
            by_class = (-1, weights.shape[1]) if isinstance(head, ClassBoundProtobin) else (1, -1)
            weights = weights * per_prototype.reshape(by_class)
            bias = bias - (weights * mean.reshape(by_class)).sum(dim=1)
        return cls(
            head.prototypes.detach().numpy().copy(),
            head.offset.detach().numpy().copy(),
            weights.float().numpy(),
            bias.numpy(),
            reference_scores.numpy(),
            max(1, head.n_thresholds),
        )

    @property
    def class_bound(self) -> bool:
        """Whether a class sees only its own prototypes."""
        return bool(self.weights.shape[1] != len(self.prototypes))

    def runtime(self, bits: TokenBits, linear: str) -> ProtobinHead:
        """The head a bundle carries.

        Parameters
        ----------
        bits : "float" or 1..8
        linear : "int8" or "float32"
            Class-bound heads are int8 always.
        """
        layer: Int8Linear | GroupedInt8Linear | FloatLinear
        if self.class_bound:
            layer = GroupedInt8Linear.from_float(self.weights, self.bias)
        elif linear == "int8":
            layer = Int8Linear.from_float(self.weights, self.bias)
        else:
            layer = FloatLinear(self.weights, self.bias)
        return ProtobinHead(
            pack_signs(self.prototypes), self.offset, bits, layer, self.reference_scores,
            self.n_thresholds,
        )  # fmt: skip
