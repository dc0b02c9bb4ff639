"""The trained head: its signs, its gradients, its size, and that the device computes the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.planted_bags import device_logits, noise_clip
from support.token_maps import noise_maps, token_maps

from edge_probe.head import GroupedInt8Linear
from edge_probe.spec import TokenBits
from export.heads import MapShape, TokenMaps, n_parameters
from export.heads.protobin import (
    ClassBoundProtobin,
    Protobin,
    TrainedHead,
    _PrototypeSign,
    _TokenSign,
)
from export.parity import torch_scores
from export.train import Bags, logits_of

every_form = pytest.mark.parametrize("n_thresholds", [0, 1, 3])
"""R of a binary head; 0 is the float one."""


def built(
    kind: type[Protobin], shape: MapShape, n_own: int, seed: int = 0, n_thresholds: int = 0
) -> Protobin:
    """A head none of whose parameters and running figures is at its starting value."""
    torch.manual_seed(seed)
    head = kind(shape, n_own, learn_offset=True, standardise=True).eval()
    if n_thresholds:
        head.binarise(torch.randn(50, shape.n_dims), n_thresholds)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        head.spread.uniform_(0.5, 2)
        head.norm.get_buffer("running_mean").normal_(0.2, 0.1)
        head.norm.get_buffer("running_var").uniform_(1e-3, 1e-2)
    return head


def bits_of(head: Protobin) -> TokenBits:
    return 1 if head.n_thresholds else "float"


def pieces(maps: TokenMaps) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Tokens (T, D) and valid (T,) of a single clip, as the device takes them."""
    tokens, valid = maps.rows()
    return tokens[0].numpy(), valid[0].numpy()


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


def test_only_offset_and_class_bound_layer_change_the_papers_size() -> None:
    shape, n_own = MapShape(768, 1, 10), 20
    sizes = [
        n_parameters(kind(shape, n_own, learn_offset=learn, standardise=True))
        for kind in (Protobin, ClassBoundProtobin)
        for learn in (False, True)
    ]
    bound = 200 * 768 + 200 + 10
    assert sizes == [155_610, 155_610 + 768, bound, bound + 768]


@pytest.mark.parametrize("learn_offset", [False, True])
def test_a_head_starts_from_median_and_spread(learn_offset: bool) -> None:
    head = Protobin(MapShape(2, 1, 2), 2, learn_offset=learn_offset)
    head.start_from(torch.tensor([[1.0, 10], [2, 10], [6, 10]]))
    assert head.spread[0].item() == pytest.approx(7**0.5)
    assert 0 < head.spread[1].item() <= 1e-6  # never zero
    assert head.offset.tolist() == ([2, 10] if learn_offset else [0, 0])


def test_thresholds_lie_at_the_quantiles_and_keep_what_the_offset_learned() -> None:
    head = built(Protobin, MapShape(2, 1, 2), 3)
    tokens = torch.arange(101.0)[torch.randperm(101)][:, None] * torch.tensor([1.0, 2.0])
    with torch.no_grad():
        head.offset.copy_(torch.tensor([50.5, 99.0]))
    latent = head.prototypes.detach().clone()
    head.binarise(tokens, 3)
    expected = [[25.5, 49], [50.5, 99], [75.5, 149]]
    torch.testing.assert_close(head.offset.detach().view(3, 2), torch.tensor(expected))
    assert torch.equal(head.prototypes.detach().view(6, 3, 2), latent[:, None].expand(6, 3, 2))
    assert (head.norm.get_buffer("running_var") == 1).all()  # scores of signs start anew


@pytest.mark.parametrize("learn_offset", [False, True])
def test_thresholds_are_learned_where_the_offset_was(learn_offset: bool) -> None:
    head = Protobin(MapShape(4, 1, 2), 2, learn_offset=learn_offset)
    head.binarise(torch.randn(9, 4), 2)
    assert head.offset.requires_grad == learn_offset


@every_form
def test_dead_tokens_score_zero_and_padding_nothing(n_thresholds: int) -> None:
    shape = MapShape(24, 1, 2)
    head = built(Protobin, shape, 30, n_thresholds=n_thresholds)
    maps = noise_maps(shape, [3], seed=0)
    with torch.no_grad():
        head.offset.copy_(torch.full((24,), 0.25).repeat(max(1, n_thresholds)))
    maps.tokens[0, :, 2] = 0.25
    scores = head.scores(maps)
    short = token_maps(maps.tokens[:, :, :2])
    alone = head.scores(short)
    assert torch.equal(scores, alone.clamp(min=0))
    assert not torch.equal(scores, alone)
    assert torch.equal(head.scores(token_maps(maps.tokens, [2])), alone)


@every_form
def test_a_clip_without_a_valid_token_scores_zero(n_thresholds: int) -> None:
    shape = MapShape(24, 1, 2)
    head = built(Protobin, shape, 3, n_thresholds=n_thresholds)
    assert torch.equal(head.scores(noise_maps(shape, [0, 4], seed=0))[0], torch.zeros(6))


@settings(max_examples=25)
@given(
    n_dims=st.integers(1, 130),
    seed=st.integers(0, 99),
    n_thresholds=st.integers(0, 3),
    n_heard=st.integers(1, 9),
)
def test_device_head_computes_what_was_trained(
    n_dims: int, seed: int, n_thresholds: int, n_heard: int
) -> None:
    shape = MapShape(n_dims, 1, 3)
    module = built(Protobin, shape, 2, seed, n_thresholds)
    maps = noise_maps(shape, [n_heard, 9], seed)
    maps.tokens[0, :, 0, 0] = module.offset.detach()[:n_dims]
    clip = TokenMaps(maps.tokens[:1], maps.valid[:1])
    head = TrainedHead.of(module, [clip]).runtime(bits_of(module), "float32")
    summary = head.summarise(*pieces(clip))
    with torch.no_grad():
        expected, logits = module.scores(clip)[0].numpy(), module(clip)[0].numpy()
    np.testing.assert_allclose(summary.scores, expected, atol=1e-6)
    np.testing.assert_allclose(head.logits(head.merge([summary])), logits, rtol=1e-5, atol=1e-4)
    tokens, valid = pieces(clip)
    heard = torch_scores(head, tokens[valid], valid[valid])
    np.testing.assert_allclose(heard, expected, atol=1e-6)


clips_of_chunks = st.lists(
    st.tuples(st.integers(1, 4), st.none() | st.integers(1, 6)), min_size=2, max_size=4
)
"""Chunks of each clip, and valid tokens of its last one (None: all)."""


@settings(max_examples=25, deadline=None)
@given(lengths=clips_of_chunks, seed=st.integers(0, 99), n_thresholds=st.sampled_from([0, 1, 3]))
def test_a_clip_scores_alone_as_in_any_batch_and_on_the_device(
    lengths: list[tuple[int, int | None]], seed: int, n_thresholds: int
) -> None:
    rng = np.random.default_rng(seed)
    clips = [noise_clip(n_chunks, (6, 20), rng, n_last) for n_chunks, n_last in lengths]
    bags = Bags(clips, np.zeros((len(clips), 3), np.float32), n_freq=2)
    module = built(Protobin, bags.shape, 2, seed, n_thresholds)
    head = TrainedHead.of(module, bags.in_order()).runtime(bits_of(module), "float32")
    together = logits_of(module, bags)
    for row, clip in enumerate(clips):
        with torch.no_grad():
            alone = module(bags.maps([row]))[0].numpy()
        chunks = [
            head.summarise(tokens.astype(np.float32), valid)
            for tokens, valid in zip(clip.tokens, clip.valid, strict=True)
        ]
        np.testing.assert_allclose(alone, together[row], atol=1e-5)
        np.testing.assert_allclose(head.logits(head.merge(chunks)), together[row], atol=1e-5)


def folded(
    kind: type[Protobin], n_own: int, n_thresholds: int = 0
) -> tuple[Protobin, TrainedHead, Bags]:
    rng = np.random.default_rng(1)
    clips = [noise_clip(2, (6, 16), rng) for _ in range(20)]
    bags = Bags(clips, np.zeros((20, 3), np.float32))
    module = built(kind, bags.shape, n_own, n_thresholds=n_thresholds)
    return module, TrainedHead.of(module, bags.in_order()), bags


@pytest.mark.parametrize("kind", [Protobin, ClassBoundProtobin])
def test_standardisation_is_folded_into_the_layer(kind: type[Protobin]) -> None:
    module, trained, bags = folded(kind, 4)
    assert trained.weights.shape == module.linear.weight.shape
    with torch.no_grad():
        scores = torch.cat([module.scores(maps) for maps in bags.in_order()]).numpy()
    own = scores.reshape(20, -1, trained.weights.shape[1])  # dense: every class sees all
    logits = (own * trained.weights).sum(axis=2) + trained.bias
    np.testing.assert_allclose(logits, logits_of(module, bags), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trained.reference_scores, scores.mean(axis=0), atol=1e-6)


def test_class_bound_head_has_a_grouped_layer_within_half_a_step() -> None:
    module, trained, bags = folded(ClassBoundProtobin, 4)
    head = trained.runtime("float", "int8")
    assert isinstance(head.linear, GroupedInt8Linear)
    assert head.linear.weights.shape == (3, 4)
    step = np.abs(trained.weights).max(axis=1) / 127
    scores = np.stack([head.summarise(t.astype(np.float32), v).scores for t, v in bags.rows()])
    bound = step / 2 * np.abs(scores.reshape(20, 3, 4)).sum(axis=2) + 1e-3
    moved = np.abs(device_logits(head, bags) - logits_of(module, bags))
    assert (moved <= bound).all()


def test_int8_layer_stays_close_to_the_trained_one() -> None:
    """Rounding W to 127 steps a row moves a logit by at most half a step per prototype."""
    _, trained, bags = folded(Protobin, 8, n_thresholds=1)
    exact, rounded = trained.runtime(1, "float32"), trained.runtime(1, "int8")
    scores = np.stack([exact.summarise(t.astype(np.float32), v).scores for t, v in bags.rows()])
    step = np.abs(trained.weights).max(axis=1) / 127
    bound = step / 2 * np.abs(scores).sum(axis=1, keepdims=True) + 1e-3
    moved = np.abs(device_logits(exact, bags) - device_logits(rounded, bags))
    assert (moved <= bound).all()
    assert moved.max() > 0


def test_running_figures_of_scores_forget_their_start() -> None:
    """After one batch evaluation standardises as that batch did, but for n - 1 in the variance."""
    shape = MapShape(16, 1, 2)
    head = Protobin(shape, 3, standardise=True)
    maps = noise_maps(shape, [5] * 40, seed=1)
    with torch.no_grad():
        trained = head.train().standard_scores(maps)
        judged = head.eval().standard_scores(maps)
    torch.testing.assert_close(judged, trained * (39 / 40) ** 0.5, rtol=0.01, atol=1e-3)
