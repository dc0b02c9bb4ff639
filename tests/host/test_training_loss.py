"""Losses of training: golden values, unknown targets, extremes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from export.train import Loss

NAN = float("nan")


def random_pair(n_clips: int, n_classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(n_clips, n_classes, generator=generator)
    return logits, torch.randint(2, logits.shape, generator=generator).float()


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        # at logit ln 3 p is 3/4: -(1/4) ln(3/4), and -(0.7^4) ln(1 - 0.7) for p shifted to 0.7
        (Loss(), 1.0, 0.0719205181),
        (Loss(), 0.0, 0.2890738703),
        (Loss("bce"), 1.0, 0.2876820724),
        (Loss("bce"), 0.0, 1.3862943611),
        (Loss(gamma_positive=0, gamma_negative=2, clip=0), 0.0, 0.7797905781),  # (9/16) ln 4
        (Loss(), NAN, 0.0),
        (Loss("bce"), NAN, 0.0),
    ],
)
def test_golden_values(loss: Loss, target: float, expected: float) -> None:
    logit = torch.tensor([[3.0]]).log()
    assert loss(logit, torch.tensor([[target]])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["asl", "bce"])
def test_sum_over_classes_mean_over_clips(kind: str) -> None:
    loss = Loss(kind)  # type: ignore[arg-type]
    logits, targets = random_pair(6, 4)
    single = [
        loss(logits[b : b + 1, c : c + 1], targets[b : b + 1, c : c + 1]).item()
        for b in range(6)
        for c in range(4)
    ]
    assert loss(logits, targets).item() == pytest.approx(sum(single) / 6)


def test_asymmetric_loss_is_the_published_formula() -> None:
    """Ridnik et al.: -(y (1-p)^g+ log p + (1-y) pm^g- log(1-pm)) with pm = max(p - m, 0)."""
    logits, targets = random_pair(6, 4)
    p, y = 1 / (1 + np.exp(-logits.numpy().astype(float))), targets.numpy()
    shifted = np.maximum(p - 0.1, 0)
    terms = y * (1 - p) ** 2 * np.log(p) + (1 - y) * shifted**3 * np.log(1 - shifted)
    loss = Loss(gamma_negative=3, gamma_positive=2, clip=0.1)
    assert loss(logits, targets).item() == pytest.approx(-terms.sum(axis=1).mean(), rel=1e-5)


def test_asymmetric_loss_without_focus_and_shift_is_cross_entropy() -> None:
    logits, targets = random_pair(5, 3)
    plain = Loss(gamma_negative=0, gamma_positive=0, clip=0)(logits, targets)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="sum"
    )
    assert plain.item() == pytest.approx(expected.item() / 5)
    assert Loss("bce")(logits, targets).item() == pytest.approx(expected.item() / 5)


@pytest.mark.parametrize("kind", ["asl", "bce"])
def test_unknown_targets_have_no_gradient(kind: str) -> None:
    logits = torch.tensor([[0.5, -2.0, 9.0]], requires_grad=True)
    Loss(kind)(logits, torch.tensor([[NAN, 1.0, NAN]])).backward()  # type: ignore[arg-type]
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    "loss",
    [
        Loss(),
        Loss("bce"),
        Loss(clip=0),
        Loss(gamma_negative=0.5, gamma_positive=0.5),
        Loss(gamma_negative=0.5, gamma_positive=0.5, clip=0),
        Loss(gamma_negative=0, gamma_positive=0),
    ],
)
def test_extreme_logits_give_finite_loss_and_gradient(loss: Loss) -> None:
    logits = torch.tensor([[-1e4, 1e4, 0.0, 1e4, -1e4]], requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]]))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
