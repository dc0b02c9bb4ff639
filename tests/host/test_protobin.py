"""The trained head: its signs, its gradients, its size, and that the device computes the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_probe.head import ProtobinHead
from export.heads.protobin import ProtobinModule, TrainedHead, _PrototypeSign, _TokenSign
from export.parity import torch_scores
from export.train.loss import asymmetric_loss


def trained(module: ProtobinModule) -> TrainedHead:
    return TrainedHead.of(module, torch.zeros(len(module.prototypes)))


def module_of(n_dims: int, n_prototypes: int, n_classes: int, seed: int = 0) -> ProtobinModule:
    """A module none of whose parameters is at its starting value."""
    torch.manual_seed(seed)
    module = ProtobinModule(n_dims, n_prototypes, n_classes).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def test_sign_of_zero_is_plus_one() -> None:
    values = torch.tensor([-1.0, -0.0, 0.0, 1e-30])
    for sign in (_PrototypeSign, _TokenSign):
        assert sign.apply(values).tolist() == [-1, 1, 1, 1]


def test_gradient_of_prototypes_is_the_identity_and_of_tokens_that_of_tanh() -> None:
    values = torch.tensor([-30.0, -0.5, 0.0, 0.5, 30.0], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    (gradient,) = torch.autograd.grad((_PrototypeSign.apply(values) * weights).sum(), values)
    assert gradient.tolist() == weights.tolist()
    (gradient,) = torch.autograd.grad((_TokenSign.apply(values) * weights).sum(), values)
    (expected,) = torch.autograd.grad((torch.tanh(values) * weights).sum(), values)
    assert torch.allclose(gradient, expected)


@pytest.mark.parametrize(
    ("n_classes", "per_class", "expected"),
    [(10, 20, 155_610), (21, 20, 331_401), (527, 10, 6_825_177)],
)
def test_prototypes_and_linear_layer_have_the_papers_size(
    n_classes: int, per_class: int, expected: int
) -> None:
    """arXiv 2509.24901 counts latent prototypes and the linear layer at D = 768."""
    module = ProtobinModule(768, per_class * n_classes, n_classes)
    counted = [module.prototypes, *module.linear.parameters()]
    assert sum(parameter.numel() for parameter in counted) == expected
    others = {name: p.numel() for name, p in module.named_parameters() if "linear" not in name}
    assert others == {
        "prototypes": 768 * per_class * n_classes, "offset": 768,
        "gain": per_class * n_classes, "shift": per_class * n_classes,
    }  # fmt: skip


@pytest.mark.parametrize("sign_share", [0.0, 0.4, 1.0])
def test_dead_tokens_and_padding_score_zero(sign_share: float) -> None:
    module = module_of(24, 6, 2)
    module.sign_share = sign_share
    tokens = torch.randn(1, 5, 24)
    tokens[0, 2] = module.offset.detach()
    valid = torch.tensor([[True, True, True, False, False]])
    scores = module.scores(tokens, valid)
    alone = module.scores(tokens[:, :2])
    assert torch.equal(scores, alone.clamp(min=0))
    assert torch.equal(module.scores(tokens, torch.zeros(1, 5, dtype=torch.bool)), scores * 0)


@settings(max_examples=25)
@given(n_dims=st.integers(1, 130), seed=st.integers(0, 99), bits=st.sampled_from([1, "float"]))
def test_device_head_computes_what_was_trained(n_dims: int, seed: int, bits: int | str) -> None:
    module = module_of(n_dims, 7, 3, seed)
    module.sign_share = 1.0 if bits == 1 else 0.0
    tokens = torch.randn(1, 9, n_dims)
    tokens[0, 4] = module.offset.detach()
    valid = torch.ones(1, 9, dtype=torch.bool)
    valid[0, 7:] = False
    head = trained(module).runtime(bits, "float32")  # type: ignore[arg-type]
    summary = head.summarise(tokens[0].numpy(), valid[0].numpy())
    with torch.no_grad():
        expected = module.scores(tokens, valid)[0].numpy()
        logits = module(tokens, valid)[0].numpy()
    np.testing.assert_allclose(summary.scores, expected, atol=1e-6)
    np.testing.assert_allclose(head.logits(head.merge([summary])), logits, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        torch_scores(head, tokens[0].numpy(), valid[0].numpy()), expected, atol=1e-6
    )


def test_int8_layer_stays_close_to_the_trained_one() -> None:
    """Rounding W to 127 steps a row moves a logit by at most half a step per prototype."""
    module = module_of(48, 40, 5)
    head = trained(module)
    tokens = np.random.default_rng(0).normal(size=(30, 48)).astype(np.float32)
    valid = np.ones(30, bool)
    exact, rounded = head.runtime(1, "float32"), head.runtime(1, "int8")
    assert isinstance(exact, ProtobinHead)
    scores = exact.summarise(tokens, valid)
    bound = np.abs(head.weights).max(axis=1) / 127 / 2 * np.abs(scores.scores).sum() + 1e-3
    window = exact.merge([scores])
    moved = np.abs(exact.logits(window) - rounded.logits(window))
    assert (moved <= bound).all()
    assert moved.max() > 0


def test_asymmetric_loss_is_the_published_formula() -> None:
    """Ridnik et al.: -(y (1-p)^g+ log p + (1-y) pm^g- log(1-pm)) with pm = max(p - m, 0)."""
    rng = np.random.default_rng(3)
    logits, targets = rng.normal(0, 3, (6, 4)), rng.integers(0, 2, (6, 4)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    shifted = np.maximum(p - 0.05, 0)
    terms = targets * (1 - p) * np.log(p) + (1 - targets) * shifted**4 * np.log(1 - shifted)
    given = asymmetric_loss(torch.tensor(logits), torch.tensor(targets))
    assert given.item() == pytest.approx(-terms.sum(axis=1).mean())


def test_asymmetric_loss_without_focus_is_cross_entropy() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    given = asymmetric_loss(logits, targets, gamma_negative=0, gamma_positive=0, clip=0)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="sum"
    )
    assert given.item() == pytest.approx(expected.item() / 5)


def test_extreme_logits_give_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[1.0, 0.0, 1.0]]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
