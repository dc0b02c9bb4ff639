"""Heads for the device: weak clips are learned, precisions are made up for, seeds decide."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.planted_bags import device_logits, planted_bags

from edge_probe.head import Head, ProtobinHead, SparseInt8Linear
from edge_probe.spec import TokenBits
from export.heads.protobin import TrainedHead
from export.metrics import quality
from export.train import Bags, HeadOptions, Recipe, fit_head, fit_heads, fit_protobin, pack
from export.train.fit import LinearLayer


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
    options = HeadOptions(recipe=Recipe(epochs=20), sign_recipe=Recipe(12, learning_rate=3e-3))
    heads = fit_heads(minutes(240, seed=0), ["float", "1", "mean-linear"], options, seed=0)
    assert worst_and_best(heads["float"])[0] > 0.95
    assert worst_and_best(heads["1"])[0] > 0.95
    assert worst_and_best(heads["mean-linear"])[1] < 0.75


@pytest.fixture(scope="module")
def lesson() -> Bags:
    return planted_bags(48, 2, 1, seed=0)


@pytest.mark.parametrize("class_bound", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_cut_tokens_leave_the_mean_logits_where_they_were(
    bits: TokenBits, class_bound: bool, lesson: Bags
) -> None:
    trained = trained_head(lesson, class_bound)
    cut = pack(trained, lesson, bits, "float32")
    scores = [mean_scores(head, lesson) for head in (trained.runtime("float", "float32"), cut)]
    exact, given = (
        (trained.weights * each.reshape(-1, trained.weights.shape[1])).sum(axis=1) + bias
        for each, bias in zip(scores, (trained.bias, cut.linear.bias), strict=True)
    )
    np.testing.assert_allclose(given, exact, atol=1e-5)
    assert np.abs(cut.linear.bias - trained.bias).max() > 1e-5
    np.testing.assert_allclose(cut.reference_scores, scores[1], atol=1e-6)


def trained_head(bags: Bags, class_bound: bool = False) -> TrainedHead:
    options = HeadOptions(prototypes_per_class=10, class_bound=class_bound, recipe=Recipe(epochs=2))
    return TrainedHead.of(fit_protobin(bags, options, seed=1), bags.in_order())


def mean_scores(head: ProtobinHead, bags: Bags) -> NDArray[np.float64]:
    scores = [head.summarise(t.astype(np.float32), valid).scores for t, valid in bags.rows()]
    mean: NDArray[np.float64] = np.mean(scores, axis=0, dtype=np.float64)
    return mean


@pytest.mark.parametrize("bits", [1, "float"])
def test_trained_precisions_keep_their_bias(bits: TokenBits, lesson: Bags) -> None:
    trained = trained_head(lesson)
    assert np.array_equal(pack(trained, lesson, bits, "float32").linear.bias, trained.bias)


@pytest.mark.parametrize("bits", ["float", 4])
def test_sparse_layer_keeps_a_tenth_of_the_weights_and_the_mean_logits(
    bits: TokenBits, lesson: Bags
) -> None:
    dense, sparse = (
        pack(trained_head(lesson), lesson, bits, layer) for layer in ("int8", "int8-sparse")
    )
    assert isinstance(sparse.linear, SparseInt8Linear)
    assert sparse.linear.weights.shape == (2, 2)  # of 20 prototypes
    means = [device_logits(head, lesson).mean(axis=0) for head in (dense, sparse)]
    np.testing.assert_allclose(means[1], means[0], atol=0.02)


@pytest.mark.parametrize(
    ("bits", "linear", "class_bound", "layer"),
    [
        (1, "int8", False, "int8"),
        (4, "float32", False, "float32"),
        ("float", "int8-sparse", False, "int8-sparse"),
        (1, "int8-sparse", True, "int8-grouped"),
    ],
)
def test_the_head_that_was_asked_for(
    bits: TokenBits, linear: LinearLayer, class_bound: bool, layer: str, lesson: Bags
) -> None:
    options = HeadOptions(
        bits=bits, linear=linear, class_bound=class_bound, prototypes_per_class=3,
        recipe=Recipe(epochs=1), sign_recipe=Recipe(epochs=1),
    )  # fmt: skip
    head = fit_head(lesson, options, seed=0)
    assert isinstance(head, ProtobinHead)
    assert (head.bits, head.linear.kind, head.n_prototypes) == (bits, layer, 6)
    assert head.n_thresholds == (4 if bits == 1 else 1)


def test_heads_come_out_together_as_alone(lesson: Bags) -> None:
    """With equal seeds to the bit; with another seed they are other heads."""
    names = ["mean-linear", "float", "8", "4", "1"]
    options = HeadOptions(
        prototypes_per_class=3, recipe=Recipe(epochs=2), sign_recipe=Recipe(epochs=2)
    )
    together = fit_heads(lesson, names, options, seed=1)
    assert set(together) == set(names)
    for name in names:
        alone = fit_heads(lesson, [name], options, seed=1)[name]
        other = fit_heads(lesson, [name], options, seed=2)[name]
        assert np.array_equal(device_logits(alone, lesson), device_logits(together[name], lesson))
        assert not np.array_equal(device_logits(other, lesson), device_logits(alone, lesson))
