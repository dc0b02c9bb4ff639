"""What the trainer may expect of every pooling head."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from export.heads.maps import TokenMaps


class Head(nn.Module, ABC):
    """Token maps in, logits out."""

    no_decay: ClassVar[frozenset[str]]
    """Names of the parameters without weight decay: prototypes, queries, gains and biases."""

    @abstractmethod
    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C) float; no padding token changes them."""

    def penalty(self) -> Tensor:
        """What the loss gets on top: a scalar, 0 for most heads."""
        return torch.zeros(())


def candidates(valid: Tensor) -> Tensor:
    """(B, T) bool: the valid tokens, or all (zero) tokens of a clip that has no valid one.

    A softmax or a maximum over no token at all is not a number.
    """
    return valid | ~valid.any(dim=1, keepdim=True)


def n_parameters(head: nn.Module) -> int:
    """Trained parameters; frozen ones are not counted."""
    return sum(p.numel() for p in head.parameters() if p.requires_grad)


def head_bytes(head: nn.Module) -> int:
    """Bytes of the trained parameters in the precision they are trained in (float32)."""
    return sum(p.numel() * p.element_size() for p in head.parameters() if p.requires_grad)
