"""The state of a head's prototypes: what is planted is found, and what is promised holds."""

import dataclasses
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Int8Linear,
    ProtobinHead,
    ProtofloatHead,
)
from edge_probe.head.linear import Linear
from edge_probe.head.packing import pack_signs
from edge_probe.head.protofloat import unit_length
from export.prototypes import (
    _BLOCK,
    CHANCE,
    MAX_CHANGE,
    UNUSED,
    Pair,
    Pruning,
    chance_limit_bits,
    report_prototypes,
)

Array = NDArray[Any]


def head_of(signs: Array, weights: Array | None = None, kind: str = "int8") -> ProtobinHead:
    """A head with these prototypes, (M, D); weights are (C, M), or (C, J) where grouped."""
    rng = np.random.default_rng(len(signs))
    weights = rng.normal(size=(5, len(signs))) if weights is None else weights
    bias = rng.normal(size=len(weights))
    exact = Int8Linear.from_float(weights, bias)
    linear: Linear = exact
    if kind == "float32":
        linear = FloatLinear(weights.astype(np.float32), bias)
    elif kind == "int8-grouped":
        linear = GroupedInt8Linear(exact.weights, exact.scale, bias)
    reference = rng.uniform(-0.2, 0.4, len(signs)).astype(np.float32)
    offset = np.zeros(signs.shape[1], np.float32)
    return ProtobinHead(pack_signs(signs), offset, 1, linear, reference)


def float_head_of(vectors: Array) -> ProtofloatHead:
    bits = head_of(vectors)
    unit = unit_length(vectors)
    return ProtofloatHead(unit, bits.offset, bits.linear, bits.reference_scores, True)


def random_signs(n_prototypes: int, n_dims: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).choice([-1, 1], (n_prototypes, n_dims))


def pruned(head: ProtobinHead, pruning: Pruning) -> ProtobinHead:
    """What the report says could be done, done: for int8 and float32 layers."""
    linear, gone = head.linear, [*pruning.removable, *(copy for copy, _ in pruning.mergeable)]
    assert not isinstance(linear, GroupedInt8Linear)
    bias, weights = linear.bias.copy(), linear.weights.astype(np.float64)
    rows = np.stack([linear.row(index) for index in range(head.n_classes)])
    for m in pruning.removable:
        bias += rows[:, m] * head.reference_scores[m]
    for copy, kept in pruning.mergeable:
        weights[:, kept] += weights[:, copy]
    assert isinstance(linear, FloatLinear) or np.abs(weights).max() <= 127
    kept_weights: Array = np.delete(weights, gone, axis=1).astype(linear.weights.dtype)
    changes: dict[str, Any] = {"weights": kept_weights, "bias": bias}
    return ProtobinHead(
        np.delete(head.prototypes, gone, axis=0), head.offset, head.bits,
        dataclasses.replace(linear, **changes),
        np.delete(head.reference_scores, gone),
    )  # fmt: skip


def stored_bytes(head: ProtobinHead) -> int:
    return head.prototypes.nbytes + head.linear.weights.nbytes + head.reference_scores.nbytes


def test_planted_copies_mirror_images_and_near_copies_are_found() -> None:
    signs = random_signs(60, 256)
    signs[7] = signs[41] = signs[3]
    signs[50] = -signs[12]
    signs[33] = signs[20]
    signs[33, [5, 100]] *= -1
    signs[59] = -signs[3]
    signs[59, :9] *= -1
    found = report_prototypes(head_of(signs))
    assert found.copies == ((3, 7, 41),)
    assert found.close == (
        Pair(12, 50, -1.0), Pair(20, 33, 1 - 4 / 256), Pair(3, 59, 18 / 256 - 1),
    )  # fmt: skip
    assert [pair.n_different(256) for pair in found.close] == [0, 2, 9]
    assert [pair.mirrored for pair in found.close] == [True, False, True]


def test_float_prototypes_are_compared_by_their_cosine() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 64))
    vectors[7] = vectors[3]
    vectors[21] = -2 * vectors[5]
    vectors[30] = vectors[11] + 0.3 * np.abs(vectors[11]) * random_signs(1, 64)[0]
    found = report_prototypes(float_head_of(vectors))
    assert found.copies == ((3, 7),)
    mirrored, near = found.close
    assert (mirrored.first, mirrored.second, near.first, near.second) == (5, 21, 11, 30)
    assert mirrored.cosine == pytest.approx(-1)
    expected = vectors[11] @ vectors[30] / np.linalg.norm(vectors[11]) / np.linalg.norm(vectors[30])
    assert near.cosine == pytest.approx(expected)
    assert (found.binary, found.chance_cosine, found.near_cosine) == (False, None, 0.9)


def test_prototypes_in_one_orthant_are_no_finding() -> None:
    """Those of a PPNet start in [0, 1): closer than any chance on a sphere, and nothing wrong."""
    vectors = np.random.default_rng(0).random((60, 64))
    assert report_prototypes(float_head_of(vectors)).close == ()


@pytest.mark.parametrize("seed", range(10))
def test_repeats_of_random_prototypes_are_no_finding(seed: int) -> None:
    """As a head of several thresholds a dimension begins."""
    signs = np.tile(random_signs(200, 96, seed), 3)
    head = dataclasses.replace(head_of(signs), n_thresholds=3)
    found = report_prototypes(head)
    assert (found.copies, found.close) == ((), ())
    assert found.chance_cosine == report_prototypes(head_of(signs[:, :96])).chance_cosine


@pytest.mark.parametrize("seed", range(10))
def test_random_prototypes_are_no_finding(seed: int) -> None:
    found = report_prototypes(head_of(random_signs(200, 96, seed)))
    assert (found.copies, found.close) == ((), ())


@given(st.integers(1, 300), st.integers(1, 400))
def test_chance_limit_is_the_binomial_one(n_dims: int, n_prototypes: int) -> None:
    limit = chance_limit_bits(head_of(np.ones((n_prototypes, n_dims))))
    tails, total = [], 0
    for k in range(n_dims):
        total += comb(n_dims, k)
        tails.append(Fraction(total, 2**n_dims) * max(1, n_prototypes * (n_prototypes - 1)))
    assert limit == sum(tail < Fraction(CHANCE) for tail in tails) - 1


def test_near_copies_are_found_across_blocks() -> None:
    assert _BLOCK == 2048
    signs, planted = random_signs(2500, 128), []
    for number, (first, second) in enumerate([(3, 2499), (5, 9), (2047, 2048), (2100, 2400)]):
        signs[second] = signs[first] * (-1) ** number
        signs[second, : number + 1] *= -1
        planted.append(Pair(first, second, (-1) ** number * (1 - 2 * (number + 1) / 128)))
    found = report_prototypes(head_of(signs, np.ones((1, 2500))))
    assert found.close == tuple(planted)


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["int8", "float32"]),
    seed=st.integers(0, 2**32 - 1),
    n_tiny=st.integers(0, 40),
    exponent=st.floats(-6, -2),
    n_copies=st.integers(0, 5),
)
def test_pruning_keeps_its_promise(
    kind: str, seed: int, n_tiny: int, exponent: float, n_copies: int
) -> None:
    rng = np.random.default_rng(seed)
    signs, weights = random_signs(60, 40, seed), rng.normal(size=(4, 60))
    weights[:, rng.permutation(60)[:n_tiny]] *= 10**exponent
    weights[:, 0] = 9  # leaves room for the sum of two others in int8
    signs[1 : 1 + n_copies] = signs[10 : 10 + n_copies]
    head = head_of(signs, weights, kind)
    found = report_prototypes(head)
    smaller = pruned(head, found.pruning)
    assert stored_bytes(head) - stored_bytes(smaller) == found.pruning.saved_bytes
    assert set(found.pruning.removable) <= set(found.unused)
    assert found.pruning.max_change <= MAX_CHANGE
    exact = 1e-9 if kind == "int8" else 1e-4
    for _ in range(5):
        tokens = (rng.normal(size=(8, 40)) * rng.choice([0, 1], (8, 1))).astype(np.float32)
        before, after = (
            each.logits(each.merge([each.summarise(tokens, np.ones(8, bool))]))
            for each in (head, smaller)
        )
        moved = np.abs(before - after).max()
        assert moved <= found.pruning.max_change + exact


def test_the_stated_change_is_reached_by_the_worst_scores_and_not_passed() -> None:
    weights = np.ones((1, 30))
    weights[0, 20:] = np.linspace(1e-3, 9e-3, 10)
    head = head_of(random_signs(30, 64), weights, "float32")
    head = dataclasses.replace(head, reference_scores=np.abs(head.reference_scores))
    pruning = report_prototypes(head).pruning
    gone = np.array(pruning.removable)
    assert set(gone) < set(range(20, 30)), "some of the unused ones are too much together"
    scores = np.zeros(30, np.float32)
    scores[gone] = -1  # as far as can be from a positive reference
    usual = scores.copy()
    usual[gone] = head.reference_scores[gone]
    moved = float(np.abs(head.linear.logits(scores) - head.linear.logits(usual))[0])
    assert moved <= pruning.max_change < moved * 1.001


def test_equal_copies_are_merged_only_where_int8_holds_the_sum() -> None:
    signs = random_signs(6, 64)
    signs[1], signs[3] = signs[0], signs[2]
    weights = np.array([[1.0, 0.5, 0.4, 0.5, 0.3, 0.2]])
    assert report_prototypes(head_of(signs, weights)).pruning.mergeable == ((3, 2),)
    merged = report_prototypes(head_of(signs, weights, "float32")).pruning
    assert merged.mergeable == ((1, 0), (3, 2))
    assert merged.saved_bytes == 2 * (64 // 8 + 4 + 4)


def test_unused_means_weights_times_spread() -> None:
    weights = np.ones((3, 8))
    weights[:, 2] = UNUSED / 2
    weights[:, 5] = 0
    head = head_of(random_signs(8, 64), weights, "float32")
    assert report_prototypes(head).unused == (5, 2)
    spread = np.full(8, 0.1)
    spread[7] = 1e-4
    found = report_prototypes(head, spread, 500)
    assert found.unused == (5, 2, 7)
    assert found.pruning.removable == (2, 5), "a quiet prototype may speak elsewhere"
    assert found.spread_windows == 500


def test_a_class_bound_head_loses_as_many_of_each_class() -> None:
    weights = np.ones((3, 4))
    weights[0, :3] = weights[1, 1] = weights[2, 2:] = 0
    head = head_of(random_signs(12, 64), weights, "int8-grouped")
    found = report_prototypes(head)
    assert found.unused == (0, 1, 2, 5, 10, 11)
    assert found.pruning.removable == (0, 5, 10)
    assert found.pruning.max_change == 0
    assert found.pruning.saved_bytes == 3 * (64 // 8 + 1 + 4)


def test_a_head_that_says_nothing_and_a_single_prototype() -> None:
    silent = report_prototypes(head_of(random_signs(4, 64), np.zeros((2, 4)), "float32"))
    assert silent.unused == (0, 1, 2, 3)
    alone = report_prototypes(head_of(random_signs(1, 64)))
    assert (alone.copies, alone.close, alone.unused) == ((), (), ())
