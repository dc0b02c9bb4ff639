"""Losses for many labels of which few are present."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

LossKind = Literal["asl", "bce"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean over the batch of the sum over classes; unknown targets (NaN) count for nothing.

    "asl", the asymmetric loss: positives weigh ``(1 - p)^gamma_positive``; negatives are shifted
    by ``clip`` and weigh ``p^gamma_negative``, so the many easy negatives fall silent. Ridnik et
    al., "Asymmetric Loss for Multi-Label Classification", ICCV 2021, arXiv 2009.14119; defaults
    are those of Bird-MAE and AudioProtoPNet. "bce": binary cross-entropy.
    """

    kind: LossKind = "asl"
    gamma_negative: float = 4.0
    gamma_positive: float = 1.0
    clip: float = 0.05

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits and targets, both (B, C) float32: a scalar."""
        known = ~targets.isnan()
        heard = torch.where(known, targets, 0.0)
        per_class = self._bce(logits, heard) if self.kind == "bce" else self._asl(logits, heard)
        return (per_class * known).sum(dim=1).mean()

    @staticmethod
    def _bce(logits: Tensor, heard: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, heard, reduction="none")

    def _asl(self, logits: Tensor, heard: Tensor) -> Tensor:
        present = torch.sigmoid(logits)
        absent = (1 - present + self.clip).clamp(max=1)
        gain_present = (
            heard * present.clamp(min=1e-8).log() * _power(1 - present, self.gamma_positive)
        )
        gain_absent = (
            (1 - heard) * absent.clamp(min=1e-8).log() * _power(1 - absent, self.gamma_negative)
        )
        return -(gain_present + gain_absent)


def _power(base: Tensor, exponent: float) -> Tensor:
    """``base ** exponent`` of numbers from 0; at 0 without a gradient, which may be infinite."""
    positive = base > 0
    return torch.where(positive, torch.where(positive, base, 1.0) ** exponent, 0.0**exponent)


ASYMMETRIC = Loss()
