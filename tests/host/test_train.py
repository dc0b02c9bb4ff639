"""Descent: decay, clipping, early stopping; heads do not disturb each other."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support.planted_bags import labelled, planted_bags
from torch import Tensor

from export.heads import Head
from export.heads.pooled import MeanLinear
from export.heads.protobin import ClassBoundProtobin, Protobin
from export.tokens import ClipTokens
from export.train import Bags, Batch, Descent, Loss, Recipe, descend, logits_of
from export.train.descend import MIN_STEPS_PER_EPOCH

TARGETS = [[1, 0], [0, 1], [0, 0]] * 16
"""48 clips: three steps of 16 an epoch."""


def bags() -> Bags:
    return labelled(TARGETS)


STEPS = MIN_STEPS_PER_EPOCH
"""Of an epoch of `bags`."""


def copies(head: Head) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in head.named_parameters()}


def nothing_to_learn(head: Head, batch: Batch) -> Tensor:
    """A loss whose gradient is zero, but there."""
    nothing: Tensor = 0 * head(batch.maps).sum()
    return nothing


@pytest.mark.parametrize("kind", [Protobin, ClassBoundProtobin])
def test_weight_decay_shrinks_linear_weights_only(kind: type[Protobin]) -> None:
    """AdamW: a step of learning rate r takes r times the decay; r falls along half a cosine."""
    head = kind(bags().shape, 3, learn_offset=True, standardise=True)
    with torch.no_grad():
        head.offset.fill_(0.5)
        head.linear.bias.fill_(0.5)
    before, recipe = copies(head), Recipe(epochs=2, learning_rate=0.1, weight_decay=0.3)
    descent = Descent(head, recipe, 48, partial(nothing_to_learn, head))
    descend([descent], bags(), None, seed=0)
    after = copies(head)
    n_steps = 2 * STEPS
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(n_steps) / n_steps))
    shrunk = before["linear.weight"] * float(np.prod(1 - 0.3 * rates))
    torch.testing.assert_close(after["linear.weight"], shrunk)
    for name in ("prototypes", "offset", "linear.bias"):
        assert torch.equal(after[name], before[name]), name


@pytest.mark.parametrize(("scale", "expected"), [(1e6, 1.0), (1e-6, None)])
def test_long_gradients_are_cut_and_short_ones_kept(scale: float, expected: float | None) -> None:
    head = MeanLinear(bags().shape)
    batch = next(bags().batches(16, np.random.default_rng(0)))

    def loss(batch: Batch) -> Tensor:
        value: Tensor = scale * head(batch.maps).square().sum()
        return value

    parameters = list(head.parameters())
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss(batch), parameters)])
    Descent(head, Recipe(), 48, loss).step(batch)
    given = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    assert given.norm().item() == pytest.approx(expected or exact.norm().item(), rel=1e-4)
    torch.testing.assert_close(given / given.norm(), exact / exact.norm())


def scripted(script: Sequence[float], patience: int) -> tuple[MeanLinear, Descent, list[float]]:
    """A head whose weight in every epoch is written down, and the weight of every step taken."""
    head = MeanLinear(bags().shape)
    steps: list[float] = []
    recipe = Recipe(epochs=len(script), learning_rate=0.0, weight_decay=0.0, patience=patience)

    def objective(batch: Batch) -> Tensor:
        steps.append(weight := script[len(steps) // STEPS])
        with torch.no_grad():
            head.linear.weight.fill_(weight)
        return nothing_to_learn(head, batch)

    return head, Descent(head, recipe, 48, objective), steps


def ranked() -> Bags:
    """Two clips, of constant tokens 1 and 2, the second of class 0.

    Its average precision is 1 under a positive weight, else 1/2.
    """
    tokens = [np.full((1, 2, 4), value, np.float16) for value in (1.0, 2.0)]
    clips = [ClipTokens(each, np.ones((1, 2), bool)) for each in tokens]
    return Bags(clips, np.array([[0, 0], [1, 0]], np.float32))


@pytest.mark.parametrize(
    ("script", "patience", "kept", "n_epochs"),
    [
        pytest.param([-1, 0, 1, -1, -1, 0, 0, 0], 3, 1, 6, id="stops three epochs after the best"),
        pytest.param([0, -1, 0, 1, -1], 3, 1, 5, id="a better one in time starts the count again"),
        pytest.param([0.25, 0.5, -1, 2], 9, 0.25, 4, id="of equal ones the first is kept"),
        pytest.param([1, -1, -1, -1], 1, 1, 2, id="impatient"),
    ],
)
def test_the_best_epoch_is_kept(
    script: list[float], patience: int, kept: float, n_epochs: int
) -> None:
    head, descent, steps = scripted(script, patience)
    descend([descent], bags(), ranked(), seed=0)
    assert steps == [float(weight) for weight in script[:n_epochs] for _ in range(STEPS)]
    assert (head.linear.weight == kept).all()
    assert not head.training


def test_without_validation_the_last_epoch_is_kept() -> None:
    head, descent, steps = scripted([1, -1, -1, 0, 0.5], patience=1)
    descend([descent], bags(), None, seed=0)
    assert len(steps) == 5 * STEPS
    assert (head.linear.weight == 0.5).all()


def test_validation_without_a_counted_class_keeps_the_last() -> None:
    head, descent, _ = scripted([1, -1], patience=1)
    descend([descent], bags(), labelled([[0, 0], [0, 0]]), seed=0)
    assert (head.linear.weight == -1).all()


def test_a_finished_head_rests_while_others_go_on() -> None:
    first, descent, steps = scripted([1, -1, -1, -1], patience=1)
    other, _, _ = scripted([0], patience=1)
    going = Descent(other, Recipe(epochs=4), 48)
    descend([descent, going], bags(), ranked(), seed=0)
    assert len(steps) == 2 * STEPS
    assert (first.linear.weight == 1).all()


@pytest.mark.parametrize("other", [Recipe(epochs=2), Recipe(epochs=4, batch=64)])
def test_heads_of_other_lengths_are_not_trained_together(other: Recipe) -> None:
    heads = [MeanLinear(bags().shape) for _ in range(2)]
    before = [copies(head) for head in heads]
    together = [
        Descent(head, recipe, 48)
        for head, recipe in zip(heads, (Recipe(epochs=4), other), strict=True)
    ]
    with pytest.raises(ValueError, match=r"one \(epochs, batch\) of all heads, found \[\("):
        descend(together, bags(), None, seed=0)
    for head, state in zip(heads, before, strict=True):
        assert torch.equal(head.linear.weight, state["linear.weight"])


def protobin(recipe: Recipe, seed: int) -> Descent:
    torch.manual_seed(seed)
    head = Protobin(bags().shape, 3, learn_offset=True, standardise=True, dropout=0.5)
    return Descent(head, recipe, len(bags()))


RECIPES = [
    Recipe(epochs=3),
    Recipe(epochs=3, learning_rate=1e-3),
    Recipe(epochs=3, loss=Loss("bce"), weight_decay=0.1),
]


def test_heads_come_out_together_as_alone() -> None:
    """To the bit, dropout included."""
    validation = planted_bags(12, 1, 1, seed=1, shape=(2, 4))
    together = [protobin(recipe, seed) for seed, recipe in enumerate(RECIPES)]
    descend(together, bags(), validation, seed=4)
    for seed, recipe in enumerate(RECIPES):
        alone = protobin(recipe, seed)
        descend([alone], bags(), validation, seed=4)
        state = alone.head.state_dict()
        for name, value in together[seed].head.state_dict().items():
            assert torch.equal(value, state[name]), name


def test_the_seed_decides() -> None:
    def trained(seed: int) -> Tensor:
        descent = protobin(RECIPES[0], seed=0)
        descend([descent], bags(), None, seed=seed)
        return torch.from_numpy(logits_of(descent.head, bags()))

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_a_penalty_is_part_of_the_loss() -> None:
    class Held(MeanLinear):
        def penalty(self) -> Tensor:
            return 50 * self.linear.bias.square().sum()

    def bias_of(kind: Callable[..., MeanLinear]) -> float:
        torch.manual_seed(0)
        descent = Descent(kind(bags().shape), replace(RECIPES[2], epochs=20), len(bags()))
        descend([descent], bags(), None, seed=0)
        return descent.head.get_parameter("linear.bias").abs().max().item()

    assert bias_of(Held) < 0.1 < bias_of(MeanLinear)


@pytest.mark.parametrize(
    ("n_clips", "size", "n_steps"),
    [(3, 16, 8), (100, 16, 8), (200, 25, 8), (1024, 128, 8), (10_000, 128, 79)],
)
def test_batches_shrink_before_epochs_get_too_short(n_clips: int, size: int, n_steps: int) -> None:
    assert Recipe().batch_size(n_clips) == size
    assert Recipe().steps_per_epoch(n_clips) == n_steps


def test_validation_logits_are_those_of_every_clip() -> None:
    clips = planted_bags(70, 2, 1, seed=0)
    head = MeanLinear(clips.shape)
    logits = logits_of(head, clips)
    assert logits.shape == (70, 2)
    expected = np.stack([
        tokens.astype(np.float32).mean(axis=0) for tokens, _ in clips.rows()
    ]) @ head.linear.weight.detach().numpy().T + head.linear.bias.detach().numpy()  # fmt: skip
    np.testing.assert_allclose(logits, expected, atol=1e-5)
