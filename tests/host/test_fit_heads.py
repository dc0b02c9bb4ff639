"""Heads for the device: weak clips are learned, precisions are made up for, seeds decide."""

import numpy as np
import pytest
from support.planted_bags import device_logits, planted_bags

from edge_probe.head import Head, ProtobinHead
from edge_probe.head.linear import layer_arrays
from edge_probe.spec import TokenBits
from export.heads.protobin import TrainedHead
from export.metrics import quality
from export.train import Bags, HeadOptions, Recipe, at_bits, fit_head, fit_protobin
from export.train.anneal import anneal

QUICK = HeadOptions(
    prototypes_per_class=3, recipe=Recipe(epochs=4), sign_recipe=Recipe(4, learning_rate=3e-3)
)


def minutes(n_clips: int, seed: int) -> Bags:
    """Clips of 60 s: 47 chunks of 1.28 s, the call in three of them, sites that sound unlike."""
    return planted_bags(n_clips, 47, 3, seed, shape=(4, 32), site=0.2)


def worst_and_best(head: Head) -> tuple[float, float]:
    """Average precision of the classes on clips that took no part in training."""
    unheard = minutes(60, seed=1)
    precision = quality(device_logits(head, unheard), unheard.targets).average_precision
    return float(precision.min()), float(precision.max())


def test_a_call_of_3_s_in_a_clip_of_60_s_is_learned() -> None:
    """With float tokens and with signs; the mean token hides it, or the test would be easy."""
    lesson = minutes(240, seed=0)
    options = HeadOptions(recipe=Recipe(epochs=20), sign_recipe=Recipe(12, learning_rate=3e-3))
    module = fit_protobin(lesson, options, seed=0)
    exact = TrainedHead.of(module, lesson.in_order()).runtime("float", "int8")
    assert worst_and_best(exact)[0] > 0.95
    anneal(module, lesson, options.sign_recipe, seed=0)
    binary = TrainedHead.of(module, lesson.in_order()).runtime(1, "int8")
    assert worst_and_best(binary)[0] > 0.95
    probe = fit_head(lesson, HeadOptions("mean-linear", recipe=Recipe(epochs=40)), seed=0)
    assert worst_and_best(probe)[1] < 0.75


@pytest.fixture(scope="module")
def lesson() -> Bags:
    return planted_bags(48, 2, 1, seed=0)


@pytest.mark.parametrize("class_bound", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_cut_tokens_leave_the_mean_logits_where_they_were(
    bits: TokenBits, class_bound: bool, lesson: Bags
) -> None:
    options = HeadOptions(prototypes_per_class=3, class_bound=class_bound, recipe=Recipe(epochs=2))
    module = fit_protobin(lesson, options, seed=1)
    trained = TrainedHead.of(module, lesson.in_order())
    cut = at_bits(trained, lesson, bits)

    def mean_logits(head: TrainedHead, at: TokenBits) -> np.ndarray:
        device = head.runtime(at, "float32")
        scores = np.mean([
            device.summarise(tokens.astype(np.float32), valid).scores
            for tokens, valid in lesson.rows()
        ], axis=0)  # fmt: skip
        own = scores.reshape(-1, head.weights.shape[1])
        logits: np.ndarray = (head.weights * own).sum(axis=1) + head.bias
        return logits

    np.testing.assert_allclose(mean_logits(cut, bits), mean_logits(trained, "float"), atol=1e-5)
    moved = np.abs(cut.bias - trained.bias).max()
    assert moved > 1e-5
    assert np.array_equal(cut.weights, trained.weights)


@pytest.mark.parametrize("bits", [1, "float"])
def test_trained_precisions_are_left_alone(bits: TokenBits, lesson: Bags) -> None:
    trained = TrainedHead.of(fit_protobin(lesson, QUICK, seed=1), lesson.in_order())
    assert at_bits(trained, lesson, bits) is trained


@pytest.mark.parametrize(
    ("options", "layer"),
    [
        (HeadOptions(bits=1), "int8"),
        (HeadOptions(bits=4, linear="float32"), "float32"),
        (HeadOptions(bits="float", class_bound=True), "int8-grouped"),
    ],
)
def test_the_head_that_was_asked_for(options: HeadOptions, layer: str, lesson: Bags) -> None:
    quick = HeadOptions(
        bits=options.bits, linear=options.linear, class_bound=options.class_bound,
        prototypes_per_class=3, recipe=Recipe(epochs=1), sign_recipe=Recipe(epochs=1),
    )  # fmt: skip
    head = fit_head(lesson, quick, seed=0)
    assert isinstance(head, ProtobinHead)
    assert (head.bits, head.linear.kind, head.n_prototypes) == (options.bits, layer, 6)


@pytest.mark.parametrize("kind", ["protobin", "mean-linear"])
def test_a_seed_makes_one_head(kind: str, lesson: Bags) -> None:
    options = HeadOptions(
        kind, prototypes_per_class=3, recipe=Recipe(epochs=2), sign_recipe=Recipe(epochs=2)  # type: ignore[arg-type]
    )  # fmt: skip
    layers = [layer_arrays(fit_head(lesson, options, seed=seed).linear) for seed in (1, 1, 2)]
    first, again, other = (np.concatenate([*layer["weights"]]) for layer in layers)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
