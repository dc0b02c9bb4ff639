"""Every pooling head by name: its size, its deafness to padding, and that it learns."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pages import of_page
from support.token_maps import noise_maps, token_maps
from torch import Tensor
from torch.nn import functional

from export.heads import HEADS, Head, MapShape, TokenMaps, head_bytes, n_parameters

every_head = pytest.mark.parametrize("name", HEADS)
PER_CLASS = 3


def built(name: str, shape: MapShape, seed: int = 0) -> Head:
    """An untrained head whose parameters have all left their starting values."""
    torch.manual_seed(seed)
    head = HEADS[name].build(shape, PER_CLASS).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return head


D, C, H = 768, 10, 512


@pytest.mark.parametrize(
    ("name", "n_cls", "expected"),
    [
        ("linear", 0, D * C + C),
        ("linear", 1024, 1024 * C + C),
        ("linear-mean", 1024, D * C + C),
        ("mlp", 0, H * D + H + C * H + C),
        ("linearc", 0, 2 * D * C + C),
        ("linearc", 1024, (1024 + D) * C + C),
        ("conv", 0, 9 * D * 256 + 256 + C * 256 + C),
        ("linpre", 0, D * C + C),
        ("mhca", 0, 1_188_106),
        ("simpool", 0, 2 * D * D + 2 * D + D * C + C),
        ("ep", 0, D * D + 32 * D + D * C + C),
        ("abmilp", 0, D * D + 2 * D + D * C + C),
        ("proto", 0, 20 * C * D + 20 * C + C),
        ("protofloat", 0, 155_610),
    ],
)
def test_parameters_are_those_of_the_equation(name: str, n_cls: int, expected: int) -> None:
    head = HEADS[name].build(MapShape(D, 8, C, n_cls), 20)
    assert n_parameters(head) == expected
    assert head_bytes(head) == 4 * expected


def test_frozen_parameters_are_not_counted() -> None:
    head = HEADS["linear"].build(MapShape(5, 1, 2), PER_CLASS)
    next(head.parameters()).requires_grad_(False)
    assert (n_parameters(head), head_bytes(head)) == (2, 8)


@every_head
def test_weight_decay_spares_prototypes_and_queries(name: str) -> None:
    head = built(name, MapShape(8, 2, 3))
    parameters = {key for key, _ in head.named_parameters()}
    assert head.no_decay <= parameters
    assert parameters & {"prototypes", "query", "queries"} <= head.no_decay


@every_head
@settings(max_examples=12, deadline=None)
@given(
    n_steps=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    n_more=st.integers(0, 4),
    n_cls=st.sampled_from([0, 7]),
    n_freq=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
def test_padding_changes_no_logit(
    name: str, n_steps: list[int], n_more: int, n_cls: int, n_freq: int, seed: int
) -> None:
    """A clip scores alone what it scores in a batch of longer clips and of padding."""
    shape = MapShape(12, n_freq, 4, n_cls)
    head = built(name, shape, seed)
    batch = noise_maps(shape, n_steps, seed)
    longer = token_maps(functional.pad(batch.tokens, (0, 0, 0, n_more)), n_steps, batch.cls)
    logits = head(longer)
    assert logits.shape == (len(n_steps), 4)
    for row, length in enumerate(n_steps):
        cls = None if batch.cls is None else batch.cls[row : row + 1]
        alone = head(token_maps(batch.tokens[row : row + 1, :, :length], cls=cls))
        torch.testing.assert_close(logits[row], alone[0], rtol=1e-5, atol=1e-5)


@every_head
def test_clip_without_a_token_has_finite_logits_and_gradients(name: str) -> None:
    shape = MapShape(12, 2, 4)
    head = built(name, shape)
    maps = replace(noise_maps(shape, [3, 3], 0), tokens=torch.zeros(2, 12, 3, 2))
    maps = replace(maps, valid=torch.tensor([True, False])[:, None, None].expand(2, 3, 2))
    logits = head(maps)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


@every_head
def test_a_seed_makes_one_head(name: str) -> None:
    shape = MapShape(12, 2, 4, 7)
    maps = noise_maps(shape, [3, 5], 1)
    first, again, other = (built(name, shape, seed)(maps) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_head
def test_evaluation_in_float32_is_that_in_float64(name: str) -> None:
    shape = MapShape(48, 2, 4, 48)
    maps = noise_maps(shape, [6, 3, 1], 2)
    head = built(name, shape)
    logits = head(maps)
    assert logits.dtype == torch.float32
    cls = None if maps.cls is None else maps.cls.double()
    exact = head.double()(replace(maps, tokens=maps.tokens.double(), cls=cls))
    assert exact.dtype == torch.float64
    torch.testing.assert_close(logits.double(), exact, rtol=1e-5, atol=1e-5)


def planted(shape: MapShape, n_clips: int, seed: int) -> tuple[TokenMaps, Tensor]:
    """Noise tokens, one of them, anywhere, mostly the pattern of the clip's class."""
    generator = torch.Generator().manual_seed(seed)
    maps = noise_maps(shape, [6] * n_clips, seed)
    labels = torch.randint(shape.n_classes, (n_clips,), generator=generator)
    steps = torch.randint(6, (n_clips,), generator=generator)
    bands = torch.randint(shape.n_freq, (n_clips,), generator=generator)
    patterns = torch.randn(shape.n_classes, shape.n_dims, generator=torch.manual_seed(9)).sign()
    maps.tokens[torch.arange(n_clips), :, steps, bands] += 3 * patterns[labels]
    return maps, labels


@every_head
def test_a_planted_token_is_learned(name: str) -> None:
    shape = MapShape(16, 2, 3)
    torch.manual_seed(0)
    head = HEADS[name].build(shape, PER_CLASS)
    maps, labels = planted(shape, 300, seed=1)
    targets = functional.one_hot(labels).float()
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.03)
    for _ in range(160):
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(head(maps), targets)
        (loss + head.penalty()).backward()
        optimiser.step()
    unheard, expected = planted(shape, 300, seed=2)
    right = head.eval()(unheard).argmax(dim=1) == expected
    assert right.float().mean() > 0.9  # one third by guessing


def test_the_readme_lists_every_head(capsys: pytest.CaptureFixture[str]) -> None:
    exec(of_page("export/heads/README.md"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(HEADS)
