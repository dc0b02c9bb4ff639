"""The protobin head in torch: what is trained, and how it becomes the head of a bundle."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_probe.head import FloatLinear, Int8Linear, MeanLinearHead, ProtobinHead
from edge_probe.head.packing import pack_signs
from edge_probe.spec import TokenBits

GAIN_START = 8.0
"""First value of the per-prototype gain: cosines are small, logits are not."""


class _PrototypeSign(torch.autograd.Function):
    """sign(p) with sign(0) = +1; the gradient passes unchanged (identity straight-through)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return torch.where(values >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _TokenSign(torch.autograd.Function):
    """sign(x) with sign(0) = +1; the gradient is that of ``tanh(x)``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradients[0] * (1 - torch.tanh(values).square())


class ProtobinModule(nn.Module):
    """``logits = W (g * max_t cos(z[t] - c, sign(p)) + h) + b``.

    Tokens are ``(1 - a) unit(z - c) + a sign(z - c) / sqrt(D)`` with ``a = sign_share``: 0 is the
    float head of the paper, 1 the fully binary one, in between the way from one to the other.

    Parameters
    ----------
    n_dims, n_prototypes, n_classes : int
        D, M, C.
    dropout : float
        On prototype scores.
    learn_offset : bool
        Whether c is learned or stays where it is put.
    """

    def __init__(
        self,
        n_dims: int,
        n_prototypes: int,
        n_classes: int,
        *,
        dropout: float = 0.0,
        learn_offset: bool = True,
    ) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(n_prototypes, n_dims) * 0.02)
        self.offset = nn.Parameter(torch.zeros(n_dims), requires_grad=learn_offset)
        self.gain = nn.Parameter(torch.full((n_prototypes,), GAIN_START))
        self.shift = nn.Parameter(torch.zeros(n_prototypes))
        self.linear = nn.Linear(n_prototypes, n_classes)
        nn.init.zeros_(self.linear.bias)
        self.dropout = dropout
        self.sign_share = 0.0
        self.spread: Tensor
        self.register_buffer("spread", torch.ones(n_dims))

    def scores(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Prototype scores of bags.

        Parameters
        ----------
        tokens : (B, T, D) float32
        valid : (B, T) bool, optional
            False for padding tokens, which score 0.

        Returns
        -------
        (B, M) float32
            Tokens equal to the offset in every component score 0 too.
        """
        centred = tokens - self.offset
        n_dims = centred.shape[-1]
        alive = (centred != 0).any(dim=-1)
        if valid is not None:
            alive = alive & valid
        mixed = (1 - self.sign_share) * functional.normalize(centred, dim=-1)
        if self.sign_share > 0:
            signs = _TokenSign.apply(centred / self.spread)
            mixed = mixed + self.sign_share * signs / n_dims**0.5
        mixed = mixed * alive[..., None]
        binary = _PrototypeSign.apply(self.prototypes) / n_dims**0.5
        best: Tensor = (mixed @ binary.T).amax(dim=1)
        return best

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits of bags: (B, T, D) and (B, T) -> (B, C)."""
        weighed = self.scores(tokens, valid) * self.gain + self.shift
        logits: Tensor = self.linear(functional.dropout(weighed, self.dropout, self.training))
        return logits


class MeanLinearModule(nn.Module):
    """``logits = W mean_t z[t] + b`` over valid tokens: the plain linear probe."""

    def __init__(self, n_dims: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_dims, n_classes)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Logits of bags: (B, T, D) and (B, T) -> (B, C)."""
        kept = tokens * valid[..., None]
        mean = kept.sum(dim=1) / valid.sum(dim=1, keepdim=True).clamp(min=1)
        logits: Tensor = self.linear(mean)
        return logits


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A trained protobin head as plain arrays, gain and shift folded into the linear layer."""

    prototypes: NDArray[np.float32]
    """(M, D) latent; their signs are the prototypes."""
    offset: NDArray[np.float32]
    """(D,)"""
    weights: NDArray[np.float32]
    """(C, M)"""
    bias: NDArray[np.float64]
    """(C,)"""
    reference_scores: NDArray[np.float32]
    """(M,) mean score on the training bags."""

    @classmethod
    def of(cls, module: ProtobinModule, reference_scores: Tensor) -> "TrainedHead":
        """Fold and copy a module's parameters."""
        with torch.no_grad():
            weights = module.linear.weight * module.gain
            bias = module.linear.bias.double() + module.linear.weight.double() @ (
                module.shift.double()
            )
        return cls(
            module.prototypes.detach().numpy().copy(),
            module.offset.detach().numpy().copy(),
            weights.numpy().copy(),
            bias.numpy().copy(),
            reference_scores.numpy().astype(np.float32),
        )

    def runtime(self, bits: TokenBits, linear: str) -> ProtobinHead:
        """The head a bundle carries.

        Parameters
        ----------
        bits : "float" or 1..8
        linear : "int8" or "float32"
        """
        layer: Int8Linear | FloatLinear
        if linear == "int8":
            layer = Int8Linear.from_float(self.weights, self.bias)
        else:
            layer = FloatLinear(self.weights, self.bias)
        return ProtobinHead(
            pack_signs(self.prototypes), self.offset, bits, layer, self.reference_scores
        )


def mean_linear_runtime(module: MeanLinearModule) -> MeanLinearHead:
    """The runtime head of a trained linear probe."""
    return MeanLinearHead(
        FloatLinear(
            module.linear.weight.detach().numpy().copy(),
            module.linear.bias.detach().double().numpy().copy(),
        )
    )
