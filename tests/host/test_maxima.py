"""The sparse maximum equals the dense one: values, gradients, whatever the slabs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.heads import maxima
from export.heads.maxima import MaxSimilarity


def integers(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Values whose products and sums are exact in float64, in any order."""
    return torch.randint(-(10**6), 10**6, shape, generator=generator).double().requires_grad_()


def dense(tokens: Tensor, prototypes: Tensor, valid: Tensor) -> Tensor:
    similarity = tokens @ prototypes.T
    candidates = valid | ~valid.any(dim=1, keepdim=True)
    return similarity.where(candidates[..., None], -torch.inf).max(dim=1).values


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 8), st.integers(1, 7)),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    slab_bytes=st.sampled_from([1, 1000, 64 * 2**20]),
    seed=st.integers(0, 10**6),
)
def test_equals_the_dense_formulation(
    sizes: tuple[int, int, int, int], share: float, slab_bytes: int, seed: int
) -> None:
    n_clips, n_tokens, n_dims, n_prototypes = sizes
    generator = torch.Generator().manual_seed(seed)
    tokens = integers((n_clips, n_tokens, n_dims), generator)
    prototypes = integers((n_prototypes, n_dims), generator)
    weights = integers((n_clips, n_prototypes), generator).detach() // 1000
    valid = torch.rand(n_clips, n_tokens, generator=generator) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maxima, "SLAB_BYTES", slab_bytes)
        scores = MaxSimilarity.apply(tokens, prototypes, valid)
    expected = dense(tokens, prototypes, valid)
    assert torch.equal(scores, expected)
    got = torch.autograd.grad((scores * weights).sum(), (tokens, prototypes))
    wanted = torch.autograd.grad((expected * weights).sum(), (tokens, prototypes))
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1])


def test_numerical_gradient() -> None:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    prototypes = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [False] * 6])
    assert torch.autograd.gradcheck(MaxSimilarity.apply, (tokens, prototypes))
    assert torch.autograd.gradcheck(MaxSimilarity.apply, (tokens, prototypes, valid))
    assert torch.autograd.gradcheck(MaxSimilarity.apply, (tokens.detach(), prototypes))


def test_zero_token_scores_zero_unless_it_is_excluded() -> None:
    tokens = torch.tensor([[[-1.0, -2.0], [0.0, 0.0]]])
    prototype = torch.ones(1, 2)
    assert MaxSimilarity.apply(tokens, prototype).item() == 0
    assert MaxSimilarity.apply(tokens, prototype, torch.tensor([[True, False]])).item() == -3
    assert MaxSimilarity.apply(tokens, prototype, torch.tensor([[False, True]])).item() == 0


def test_token_layout_does_not_matter() -> None:
    tokens = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
    prototypes = tokens[0, :3]
    strided = tokens.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    assert torch.equal(
        MaxSimilarity.apply(strided, prototypes), MaxSimilarity.apply(tokens, prototypes)
    )
