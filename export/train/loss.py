"""The asymmetric loss for many labels of which few are present."""

import torch
from torch import Tensor


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_negative: float = 4.0,
    gamma_positive: float = 1.0,
    clip: float = 0.05,
) -> Tensor:
    """Mean over the batch of the sum over classes.

    Positives weigh ``(1 - p)^gamma_positive``; negatives are shifted by ``clip`` and weigh
    ``p^gamma_negative``, so the many easy negatives fall silent. Ridnik et al., "Asymmetric Loss
    for Multi-Label Classification", ICCV 2021, arXiv 2009.14119.

    Parameters
    ----------
    logits, targets : (B, C) float32

    Returns
    -------
    scalar
    """
    present = torch.sigmoid(logits)
    absent = (1 - present + clip).clamp(max=1)
    gain_present = targets * present.clamp(min=1e-8).log() * (1 - present) ** gamma_positive
    gain_absent = (1 - targets) * absent.clamp(min=1e-8).log() * (1 - absent) ** gamma_negative
    return -(gain_present + gain_absent).sum(dim=1).mean()
