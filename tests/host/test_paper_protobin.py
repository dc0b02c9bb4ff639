"""The paper's protobin (no offset, no scale): size, signs and gradients (arXiv 2509.24901)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.token_maps import noise_maps

from export.heads import HEADS, Head, MapShape, n_parameters

SHAPE = MapShape(24, 2, 3)


@pytest.mark.parametrize(
    ("n_classes", "per_class", "expected"),
    [(10, 20, 155_610), (21, 20, 331_401), (527, 10, 6_825_177)],
)
def test_parameters_are_those_of_the_paper(n_classes: int, per_class: int, expected: int) -> None:
    head = HEADS["protobin"].build(MapShape(768, 8, n_classes), per_class)
    assert n_parameters(head) == expected


def module() -> Head:
    torch.manual_seed(1)
    return HEADS["protobin"].build(SHAPE, 4).eval()


def test_logits_are_those_of_signs_with_sign_of_zero_plus_one() -> None:
    maps = noise_maps(SHAPE, [4, 4], seed=1)
    head = module()
    latent = head.get_parameter("prototypes")
    with torch.no_grad():
        latent[:, ::5] = 0.0
        latent[:, 1::5] = -0.0
    signs = np.where(latent.detach().numpy() >= 0, np.float32(1), np.float32(-1))
    assert (signs[:, ::5] == 1).all()
    assert (signs[:, 1::5] == 1).all()
    tokens = maps.rows()[0].numpy()
    length = np.linalg.norm(tokens, axis=2, keepdims=True) * 24**0.5
    scores = (tokens / length @ signs.T).max(axis=1)
    weight, bias = head.get_parameter("linear.weight"), head.get_parameter("linear.bias")
    expected = torch.from_numpy(scores) @ weight.T + bias
    torch.testing.assert_close(head(maps), expected, rtol=1e-5, atol=1e-6)


def test_zero_tokens_score_zero() -> None:
    maps = noise_maps(SHAPE, [2], seed=2)
    silence = replace(maps, tokens=torch.zeros_like(maps.tokens))
    head = module()
    assert torch.equal(head(silence)[0], head.get_parameter("linear.bias"))


def test_gradient_passes_the_sign_unchanged_however_large_the_latent() -> None:
    """Identity straight-through: latents of equal signs get equal gradients, unclipped."""
    maps = noise_maps(SHAPE, [4, 3], seed=3)
    head = module()
    latent = head.get_parameter("prototypes")
    gradients = []
    for scale in (1.0, 1e4):
        with torch.no_grad():
            latent.mul_(scale)
        (gradient,) = torch.autograd.grad(head(maps).square().sum(), latent)
        gradients.append(gradient)
    assert torch.equal(gradients[0], gradients[1])
    assert (gradients[0] != 0).all()
