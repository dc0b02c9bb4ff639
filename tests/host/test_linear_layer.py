"""Smaller linear layers: what they keep, what they lose, and what they take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.bundle.tensors import pack_head
from edge_probe.errors import EdgeProbeError
from edge_probe.head import FloatLinear, GroupedInt8Linear, Int8Linear, ProtobinHead
from edge_probe.head.linear import Linear, layer_bytes
from edge_probe.head.packing import pack_signs
from export.linear_layer import sparsify


def scores_of(rng: np.random.Generator, n_clips: int, n_prototypes: int) -> NDArray[np.float32]:
    """Prototype scores as they are: far from 0, close together, not independent."""
    shared = rng.normal(size=(n_clips, 4)) @ rng.normal(size=(4, n_prototypes))
    noise = rng.normal(size=(n_clips, n_prototypes))
    return (0.3 + 0.02 * shared + 0.01 * noise).clip(-1, 1).astype(np.float32)


def logits(layer: Linear, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.stack([layer.logits(row) for row in scores])


@given(st.integers(1, 12), st.data())
def test_columns_are_what_the_format_demands(n_prototypes: int, data: st.DataObject) -> None:
    """Also where there are fewer clips than weights, or weights and scores that say nothing."""
    k = data.draw(st.integers(1, n_prototypes))
    n_clips = data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = rng.normal(size=(3, n_prototypes)) * (rng.random((3, n_prototypes)) < 0.5)
    scores = scores_of(rng, n_clips, n_prototypes)
    scores[:, rng.random(n_prototypes) < 0.3] = 0.25
    layer = sparsify(weights, np.zeros(3), k, scores)
    assert layer.weights.shape == layer.columns.shape == (3, k)
    assert layer.columns.dtype == np.int32
    assert (layer.columns >= 0).all()
    assert (layer.columns < n_prototypes).all()
    assert (np.diff(layer.columns) > 0).all()
    assert layer.n_inputs == n_prototypes
    found, dense = logits(layer, scores).mean(axis=0), (scores @ weights.T).mean(axis=0)
    np.testing.assert_allclose(found, dense, atol=1e-2 * np.abs(weights).max(initial=1e-9))


def test_a_layer_that_is_sparse_already_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    weights = np.zeros((2, 40))
    weights[0, [3, 17, 30]] = 5, -4, 3
    weights[1, [0, 39]] = 1, 2
    scores, bias = scores_of(rng, 300, 40), np.array([0.5, -1.0])
    layer = sparsify(weights, bias, 3, scores)
    assert layer.columns[0].tolist() == [3, 17, 30]
    assert {0, 39} <= set(layer.columns[1].tolist())
    expected = scores @ weights.T + bias
    np.testing.assert_allclose(logits(layer, scores), expected, atol=0.02)


def test_fitting_anew_loses_less_than_cutting() -> None:
    rng = np.random.default_rng(1)
    weights, scores = rng.normal(size=(4, 200)) * 20, scores_of(rng, 500, 200)
    train, test = scores[:300], scores[300:]
    expected = test @ weights.T
    kept = np.argsort(-np.abs(weights), axis=1)[:, :20]
    cut = np.zeros_like(weights)
    np.put_along_axis(cut, kept, np.take_along_axis(weights, kept, axis=1), axis=1)
    centred = (test - train.mean(axis=0)) @ cut.T + train.mean(axis=0) @ weights.T
    fitted = logits(sparsify(weights, np.zeros(4), 20, train), test)
    assert np.abs(fitted - expected).mean() < 0.5 * np.abs(centred - expected).mean()


@pytest.mark.parametrize("k", [0, 9, -1])
def test_an_impossible_number_of_weights_is_refused(k: int) -> None:
    with pytest.raises(EdgeProbeError, match=f"1 to 8 weights a class, found {k}"):
        sparsify(np.ones((2, 8)), np.zeros(2), k, np.ones((4, 8)))


def test_group_sees_each_class_s_own_prototypes() -> None:
    weights, bias = np.array([[1.0, -0.5], [0.25, 2.0]]), np.array([0.5, 0.0])
    layer = GroupedInt8Linear.from_float(weights, bias)
    rows = np.stack([layer.row(0), layer.row(1)])
    np.testing.assert_allclose(rows, [[1, -0.5, 0, 0], [0, 0, 0.25, 2]], atol=2 / 127 / 2)
    found = layer.logits(np.array([0.5, 0.25, 1.0, -1.0], np.float32))
    np.testing.assert_allclose(found, [0.875, -1.75], atol=0.02)


def test_layer_bytes_are_those_of_the_file() -> None:
    """A head file grows by as much as its layer, but for the names in its header."""
    rng = np.random.default_rng(2)
    weights, bias = rng.normal(size=(50, 400)), np.zeros(50)
    dense = Int8Linear.from_float(weights, bias)
    layers: list[Linear] = [
        dense,
        sparsify(weights, bias, 20, scores_of(rng, 60, 400)),
        GroupedInt8Linear.from_float(weights[:, :8], bias),
        FloatLinear(weights.astype(np.float32), bias),
    ]
    offset, means = np.zeros(16, np.float32), np.zeros(400, np.float32)
    prototypes = pack_signs(rng.normal(size=(400, 16)))
    for layer in layers:
        head = ProtobinHead(prototypes, offset, 1, layer, means)
        rest = prototypes.nbytes + offset.nbytes + means.nbytes
        assert 0 <= len(pack_head(head)) - rest - layer_bytes(layer) < 600
    assert [layer_bytes(layer) for layer in layers] == [20_800, 5_800, 1_200, 80_400]
