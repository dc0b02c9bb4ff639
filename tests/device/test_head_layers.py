"""Linear layers and heads: exact sums, windows that compose, evidence that explains."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
    SparseInt8Linear,
)
from edge_probe.head.linear import Linear, layer_bytes
from edge_probe.head.packing import pack_signs
from edge_probe.spec import TokenBits


def head(bits: TokenBits = 1, *, n_dims: int = 24, n_prototypes: int = 10) -> ProtobinHead:
    rng = np.random.default_rng(3)
    return ProtobinHead(
        pack_signs(rng.normal(size=(n_prototypes, n_dims))),
        rng.normal(0, 0.1, n_dims).astype(np.float32),
        bits,
        Int8Linear.from_float(rng.normal(size=(3, n_prototypes)), rng.normal(size=3)),
        np.full(n_prototypes, 0.1, np.float32),
    )


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_int8_logits_equal_exact_rationals(n_prototypes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    linear = Int8Linear(
        rng.integers(-127, 128, (2, n_prototypes)).astype(np.int8),
        rng.uniform(1e-4, 1, 2),
        rng.normal(size=2),
    )
    scores = rng.uniform(-1, 1, n_prototypes).astype(np.float32)
    integers = [round(Fraction(float(score)) * 2**20) for score in scores]
    for row, scale, bias, found in zip(
        linear.weights, linear.scale, linear.bias, linear.logits(scores), strict=True
    ):
        exact = sum(int(w) * s for w, s in zip(row, integers, strict=True))
        assert found == (scale * 2.0**-20) * float(exact) + bias


@pytest.mark.parametrize("kind", ["int8", "int8-sparse", "float32"])
def test_a_large_layer_is_never_held_as_float64(kind: str) -> None:
    """500 classes, 10,000 prototypes: 5 MB of int8 would be 40 MB of float64."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (500, 10_000)).astype(np.int8)
    one, zero = np.ones(500), np.zeros(500)
    all_columns = np.tile(np.arange(10_000, dtype=np.int32), (500, 1))
    layers: dict[str, Linear] = {
        "int8": Int8Linear(weights, one, zero),
        "int8-sparse": SparseInt8Linear(weights, all_columns, one, zero, 10_000),
        "float32": FloatLinear(weights.astype(np.float32), zero),
    }
    linear = layers[kind]
    scores = rng.uniform(-1, 1, 10_000).astype(np.float32)
    tracemalloc.start()
    found = linear.logits(scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    if kind == "float32":
        np.testing.assert_allclose(found, weights.astype(np.float64) @ scores, rtol=1e-12)
    else:
        integers = np.rint(scores.astype(np.float64) * 2**20).astype(np.int64)
        assert (found * 2**20 == weights.astype(np.int64) @ integers).all()


def test_grouped_layer_is_the_dense_one_with_its_zeros_left_out() -> None:
    rng = np.random.default_rng(0)
    own = Int8Linear.from_float(rng.normal(size=(5, 4)), rng.normal(size=5))
    grouped = GroupedInt8Linear(own.weights, own.scale, own.bias)
    weights = np.zeros((5, 5, 4), np.int8)
    weights[np.arange(5), np.arange(5)] = own.weights
    dense = Int8Linear(weights.reshape(5, 20), own.scale, own.bias)
    scores = rng.uniform(-1, 1, 20).astype(np.float32)
    assert grouped.logits(scores).tobytes() == dense.logits(scores).tobytes()
    assert all((grouped.row(c) == dense.row(c)).all() for c in range(5))
    assert np.count_nonzero(dense.weights) == np.count_nonzero(own.weights)


@given(st.integers(1, 40), st.data())
def test_sparse_layer_is_the_dense_one_with_its_zeros_left_out(
    n_prototypes: int, data: st.DataObject
) -> None:
    n_own = data.draw(st.integers(1, n_prototypes))
    rng = np.random.default_rng([n_prototypes, n_own])
    columns = np.sort(
        [rng.choice(n_prototypes, n_own, replace=False) for _ in range(3)], axis=1
    ).astype(np.int32)
    own = Int8Linear.from_float(rng.normal(size=(3, n_own)), rng.normal(size=3))
    sparse = SparseInt8Linear(own.weights, columns, own.scale, own.bias, n_prototypes)
    weights = np.zeros((3, n_prototypes), np.int8)
    np.put_along_axis(weights, columns.astype(np.intp), own.weights, axis=1)
    dense = Int8Linear(weights, own.scale, own.bias)
    scores = rng.uniform(-1, 1, n_prototypes).astype(np.float32)
    assert sparse.logits(scores).tobytes() == dense.logits(scores).tobytes()
    assert all((sparse.row(c) == dense.row(c)).all() for c in range(3))
    assert layer_bytes(sparse) == 3 * (5 * n_own + 16)
    assert layer_bytes(dense) == 3 * (n_prototypes + 16)


def test_int8_rows_keep_their_largest_weight() -> None:
    weights = np.array([[0.5, -2.0, 1.0], [0.0, 0.0, 0.0]])
    linear = Int8Linear.from_float(weights, np.zeros(2))
    assert linear.weights.tolist() == [[32, -127, 64], [0, 0, 0]]
    np.testing.assert_allclose(linear.row(0), weights[0], atol=2 / 127 / 2)


@pytest.mark.parametrize("bits", ["float", 1, 4, 8])
def test_a_window_is_the_maximum_over_all_its_tokens(bits: TokenBits) -> None:
    """Max decomposes over time: chunks merged equal one long chunk."""
    probe = head(bits)
    rng = np.random.default_rng(4)
    tokens = rng.normal(size=(4, 6, 24)).astype(np.float32)
    valid = rng.random((4, 6)) > 0.2
    chunks = [probe.summarise(t, v) for t, v in zip(tokens, valid, strict=True)]
    merged = probe.merge(chunks)
    whole = probe.merge([probe.summarise(tokens.reshape(24, 24), valid.reshape(24))])
    np.testing.assert_allclose(merged.scores, whole.scores, atol=1e-6 if bits == "float" else 0)
    if bits != "float":
        assert (merged.chunks * 6 + merged.tokens).tolist() == whole.tokens.tolist()
    np.testing.assert_allclose(probe.logits(merged), probe.logits(whole), atol=1e-5)


def test_evidence_explains_half_of_what_speaks_for_a_class() -> None:
    probe = head()
    tokens = np.random.default_rng(5).normal(size=(6, 24)).astype(np.float32)
    window = probe.merge([probe.summarise(tokens, np.ones(6, bool))])
    for class_index in range(3):
        gains = probe.linear.row(class_index) * (window.scores.astype(float) - 0.1)
        chosen = probe.evidence(window, class_index)
        order = np.argsort(-gains, kind="stable")
        needed, explained = 0, 0.0
        while explained < gains[gains > 0].sum() / 2:
            explained += gains[order[needed]]
            needed += 1
        assert chosen == sorted({(0, int(window.tokens[m])) for m in order[:needed]})


def test_no_positive_evidence_gives_no_tokens() -> None:
    probe = head()
    window = probe.merge([probe.summarise(np.zeros((2, 24), np.float32), np.zeros(2, bool))])
    silent = ProtobinHead(
        probe.prototypes, probe.offset, 1,
        FloatLinear(np.ones((1, 10), np.float32), np.zeros(1)), probe.reference_scores,
    )  # fmt: skip
    assert silent.evidence(window, 0) == []


def test_mean_linear_is_the_mean_over_valid_tokens() -> None:
    rng = np.random.default_rng(6)
    probe = MeanLinearHead(FloatLinear(rng.normal(size=(2, 5)).astype(np.float32), np.ones(2)))
    tokens = rng.normal(size=(3, 4, 5)).astype(np.float32)
    valid = rng.random((3, 4)) > 0.3
    window = probe.merge([probe.summarise(t, v) for t, v in zip(tokens, valid, strict=True)])
    expected = probe.linear.weights @ tokens[valid].mean(axis=0) + 1
    np.testing.assert_allclose(probe.logits(window), expected, rtol=1e-5)
    nothing = probe.merge([probe.summarise(tokens[0], np.zeros(4, bool))])
    assert probe.logits(nothing).tolist() == [1, 1]
