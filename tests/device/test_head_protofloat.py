"""Float prototypes: the cosine as it is defined, at every scale, in bounded memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from edge_probe.head import FloatLinear, ProtobinHead, ProtofloatHead
from edge_probe.head.packing import pack_signs
from edge_probe.head.protofloat import unit_length

LIMIT = float(np.float32(3.3e38))
finite = st.floats(-LIMIT, LIMIT, width=32)


def head(
    vectors: NDArray[np.floating], offset: NDArray[np.float32], *, floor: bool = False
) -> ProtofloatHead:
    n_prototypes = len(vectors)
    linear = FloatLinear(np.ones((1, n_prototypes), np.float32), np.zeros(1))
    means = np.zeros(n_prototypes, np.float32)
    return ProtofloatHead(unit_length(vectors), offset, linear, means, floor)


def cosines(
    vectors: NDArray[np.floating], centred: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The definition in float64, (M, T); 0 for padding and for tokens that equal the offset."""
    found = np.zeros((len(vectors), len(centred)))
    found[:, ~valid] = -np.inf
    for t, token in enumerate(centred.astype(np.float64)):
        if valid[t] and token.any():
            unit = token / np.abs(token).max()
            for m, vector in enumerate(vectors.astype(np.float64)):
                product = vector @ unit
                found[m, t] = product / np.linalg.norm(vector) / np.linalg.norm(unit)
    return found


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("n_prototypes", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("n_dims", [1, 7, 96, 1024])
def test_a_score_is_the_largest_cosine(n_dims: int, n_prototypes: int, floor: bool) -> None:
    rng = np.random.default_rng([n_dims, n_prototypes])
    vectors = rng.normal(size=(n_prototypes, n_dims)) * 100
    offset = rng.normal(size=n_dims).astype(np.float32)
    loudness = rng.choice([1e-20, 1.0, 1e20], (6, 1)).astype(np.float32)
    tokens = rng.normal(size=(6, n_dims)).astype(np.float32) * loudness
    valid = np.array([True, True, False, True, True, False])
    probe = head(vectors, offset, floor=floor)
    expected = cosines(vectors, tokens - offset, valid)
    found = probe.summarise(tokens, valid)
    least = 0.0 if floor else -1.0
    np.testing.assert_allclose(found.scores, np.maximum(expected.max(axis=1), least), atol=1e-6)
    at_best = expected[np.arange(n_prototypes), found.tokens]
    np.testing.assert_allclose(at_best, expected.max(axis=1), atol=1e-6)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 20)), elements=finite))
def test_any_finite_tokens_have_a_score(tokens: NDArray[np.float32]) -> None:
    n_dims = tokens.shape[1]
    vectors = np.random.default_rng(n_dims).normal(size=(5, n_dims))
    valid = np.ones(len(tokens), bool)
    found = head(vectors, np.zeros(n_dims, np.float32)).summarise(tokens, valid)
    expected = cosines(vectors, tokens, valid).max(axis=1)
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)


def test_floor_lifts_negative_scores_and_no_others() -> None:
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    token, valid = np.array([[3.0, 4.0]], np.float32), np.ones(1, bool)
    zero = np.zeros(2, np.float32)
    free = head(vectors, zero).summarise(token, valid).scores
    kept = head(vectors, zero, floor=True).summarise(token, valid).scores
    np.testing.assert_allclose(free, [0.6, -0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(kept, [0.6, 0, 0.8], atol=1e-6)
    assert kept[1] == 0


@pytest.mark.parametrize("floor", [False, True])
def test_padding_and_tokens_equal_to_the_offset_score_plus_zero(floor: bool) -> None:
    rng = np.random.default_rng(0)
    offset = rng.normal(size=12).astype(np.float32)
    probe = head(rng.normal(size=(9, 12)), offset, floor=floor)
    silent = probe.summarise(np.stack([offset, offset + 1]), np.array([True, False]))
    assert silent.scores.tobytes() == np.zeros(9, np.float32).tobytes()


def test_prototypes_of_equal_components_are_those_of_protobin() -> None:
    """±1 / sqrt(D) in float32 is what packed signs stand for."""
    rng = np.random.default_rng(1)
    signs, offset = rng.choice([-1.0, 1.0], (40, 64)), rng.normal(size=64).astype(np.float32)
    tokens, valid = rng.normal(size=(30, 64)).astype(np.float32), rng.random(30) > 0.3
    each = FloatLinear(np.eye(40, dtype=np.float32), np.zeros(40))
    real = replace(head(signs, offset), linear=each)
    packed = ProtobinHead(pack_signs(signs), offset, "float", each, real.reference_scores)
    one, other = real.summarise(tokens, valid), packed.summarise(tokens, valid)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert (one.tokens == other.tokens).all()
    negative = real.summarise(-tokens, valid)
    window = real.merge([one, negative])
    assert (window.scores == np.maximum(one.scores, negative.scores)).all()
    assert (real.logits(window) == window.scores).all()
    assert real.evidence(window, 3) == [(int(window.chunks[3]), int(window.tokens[3]))]


def test_scores_of_all_pairs_are_never_held() -> None:
    """20,000 prototypes and 512 tokens have 39 MiB of scores."""
    rng = np.random.default_rng(2)
    probe = head(rng.normal(size=(20_000, 16)), np.zeros(16, np.float32))
    tokens, valid = rng.normal(size=(512, 16)).astype(np.float32), np.ones(512, bool)
    tracemalloc.start()
    probe.summarise(tokens, valid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_prototype_without_a_direction_is_refused(value: float) -> None:
    vectors = np.array([[1.0, 2.0], [0.0, value]])
    with pytest.raises(EdgeProbeError, match="prototype 1") as caught:
        unit_length(vectors)
    assert caught.value.hint


@given(hnp.arrays(np.float64, (3, 5), elements=st.floats(-1e300, 1e300, allow_subnormal=False)))
def test_unit_length(vectors: NDArray[np.float64]) -> None:
    vectors[:, 0] += 1 + (vectors[:, 0] == -1)
    unit = unit_length(vectors)
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert (np.sign(unit) * np.sign(vectors) >= 0).all()
