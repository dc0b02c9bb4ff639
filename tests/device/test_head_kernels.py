"""Digits, packing and kernels: integers are exact, so every comparison is of bytes."""

import math
from fractions import Fraction

import numpy as np
import pytest
from bitarray import bitarray
from bitarray.util import count_xor
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from edge_probe.head import backends, native, popcount, reference
from edge_probe.head.packing import n_bytes, pack_signs, padding_is_zero, to_words, unpack_signs
from edge_probe.head.quantize import STEP_RMS, Digits, quantize

ALL_DIMS = [*range(1, 131), 192, 256, 384, 768, 1024]
LIMIT = float(np.float32(3.3e38))
finite = st.floats(-LIMIT, LIMIT, width=32)


def made_up(
    n_dims: int, bits: object, *, n_tokens: int = 9, n_prototypes: int = 17, seed: int = 0
) -> tuple[Digits, NDArray[np.uint8]]:
    """Tokens of wildly different loudness, one all zero and one masked, and prototypes."""
    rng = np.random.default_rng([seed, n_dims])
    loudness = rng.choice([1e-42, 1e-20, 1.0, 1e20, 1e37], (n_tokens, 1)).astype(np.float32)
    tokens = rng.normal(size=(n_tokens, n_dims)).astype(np.float32) * loudness
    tokens[3 % n_tokens] = 0
    valid = np.ones(n_tokens, bool)
    valid[5 % n_tokens] = False
    offset = np.zeros(n_dims, np.float32)
    packed = pack_signs(rng.normal(size=(n_prototypes, n_dims)))
    return quantize(tokens, offset, valid, bits), packed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backend", "bits"),
    [
        pytest.param(backend, bits, id=f"{backend.name}-{bits}")
        for backend in backends.backends()
        for bits in range(1, 9)
        if backend.supports(bits, 1)  # type: ignore[arg-type]
    ],
)
def test_backend_equals_reference_bit_for_bit(backend: backends.Backend, bits: int) -> None:
    for n_dims in ALL_DIMS:
        digits, packed = made_up(n_dims, bits)
        expected = reference.max_scores(digits, packed)
        found = backend.max_scores(digits, packed)
        for one, other in zip(expected, found, strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes(), (n_dims, bits)


@pytest.mark.parametrize("n_prototypes", [1, 63, 64, 65, 255, 256, 257, 513])
@pytest.mark.parametrize("n_tokens", [1, 2, 63, 64, 65, 130])
def test_backends_agree_around_their_block_sizes(n_prototypes: int, n_tokens: int) -> None:
    for bits in (1, 4, 8):
        digits, packed = made_up(70, bits, n_tokens=n_tokens, n_prototypes=n_prototypes)
        expected = reference.max_scores(digits, packed)
        for backend in backends.available(bits, 70):
            found = backend.max_scores(digits, packed)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], backend.name


@pytest.mark.parametrize("n_dims", [*range(1, 131, 7), 192, 256, 384, 768, 1024])
def test_float_tokens_agree_to_1e_6(n_dims: int) -> None:
    digits, packed = made_up(n_dims, "float")
    expected, _ = reference.max_scores(digits, packed)
    for backend in backends.available("float", n_dims):
        found, tokens = backend.max_scores(digits, packed)
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
        assert tokens.dtype == np.int32


def test_popcount_without_bitwise_count_gives_the_same_bits() -> None:
    """NumPy 1.x has no bitwise_count: the byte table stands in for it."""
    words = np.random.default_rng(0).integers(0, 2**64, (5, 7), np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert popcount._count_by_table(words).tolist() == expected
    assert popcount.popcount(words).tolist() == expected


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 70)), elements=finite),
    st.integers(0, 2**32 - 1),
)
def test_one_bit_score_is_what_bitarray_counts(tokens: NDArray[np.float32], seed: int) -> None:
    """An oracle that shares no code: bitarray's XOR count on both sides' signs."""
    n_tokens, n_dims = tokens.shape
    signs = np.random.default_rng(seed).normal(size=(3, n_dims))
    digits = quantize(tokens, np.zeros(n_dims, np.float32), np.ones(n_tokens, bool), 1)
    prototypes = [bitarray((row >= 0).tolist(), endian="little") for row in signs]
    bits = [bitarray((row >= 0).tolist(), endian="little") for row in tokens]
    packed = pack_signs(signs)
    assert packed.tobytes() == b"".join(prototype.tobytes() for prototype in prototypes)
    for backend in backends.available(1, n_dims):
        scores, _ = backend.max_scores(digits, packed)
        for prototype, score in zip(prototypes, scores, strict=True):
            cosines = [
                (n_dims - 2 * count_xor(row, prototype)) / n_dims if token.any() else 0.0
                for row, token in zip(bits, tokens, strict=True)
            ]
            assert score == pytest.approx(max(cosines), abs=1e-6)


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 40)), elements=finite))
def test_packing_round_trip(values: NDArray[np.float32]) -> None:
    packed = pack_signs(values)
    n_dims = values.shape[1]
    assert packed.shape == (len(values), n_bytes(n_dims))
    assert padding_is_zero(packed, n_dims)
    assert (unpack_signs(packed, n_dims) == np.where(values >= 0, 1, -1)).all()
    assert to_words(packed).view(np.uint8).sum() == packed.sum(dtype=np.uint64)


def test_padding_bit_is_noticed() -> None:
    packed = pack_signs(np.ones((2, 9)))
    packed[1, 1] |= 2
    assert not padding_is_zero(packed, 9)


def test_sign_of_zero_is_plus_one() -> None:
    assert unpack_signs(pack_signs(np.array([[0.0, -0.0, -1e-45]])), 3).tolist() == [[1, 1, -1]]


@pytest.mark.parametrize("bits", ["float", 1, 4, 8])
def test_zero_and_masked_tokens_score_zero(bits: object) -> None:
    """They are a floor of 0 for every prototype, +0.0 exactly."""
    tokens = np.stack([np.zeros(33), -np.ones(33)]).astype(np.float32)
    valid = np.array([True, False])
    digits = quantize(tokens, np.zeros(33, np.float32), valid, bits)  # type: ignore[arg-type]
    packed = pack_signs(np.stack([np.ones(33), -np.ones(33)]))
    for backend in backends.available(bits, 33):  # type: ignore[arg-type]
        scores, first = backend.max_scores(digits, packed)
        assert scores.tobytes() == np.zeros(2, np.float32).tobytes()
        assert first.tolist() == [0, 0]


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_offset_equal_to_the_token_is_a_zero_token(bits: int) -> None:
    token = np.linspace(-1, 1, 20, dtype=np.float32)
    digits = quantize(token[None], token, np.ones(1, bool), bits)  # type: ignore[arg-type]
    assert digits.scale[0] == 0


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 24)), elements=finite),
    st.sampled_from([2, 4, 8]),
)
def test_digits_follow_the_written_rule(tokens: NDArray[np.float32], bits: int) -> None:
    """The same digits from exact rationals: only the two documented roundings remain."""
    n_tokens, n_dims = tokens.shape
    digits = quantize(tokens, np.zeros(n_dims, np.float32), np.ones(n_tokens, bool), bits)  # type: ignore[arg-type]
    for row, values, scale in zip(tokens, digits.values, digits.scale, strict=True):
        if not row.any():
            assert scale == 0
            continue
        largest = max(abs(Fraction(float(x))) for x in row)
        exponent = math.floor(math.log2(largest)) - 2
        while largest >= Fraction(2) ** exponent:
            exponent += 1
        grid = [round(Fraction(float(x)) * Fraction(2) ** (15 - exponent)) for x in row]
        step = math.sqrt(sum(g * g for g in grid) / n_dims) * STEP_RMS[bits]
        per_step = np.float32(1.0 / step)
        level = [math.floor(np.float32(g) * per_step) + 2 ** (bits - 1) for g in grid]
        expected = [min(max(u, 0), 2**bits - 1) for u in level]
        assert values.tolist() == expected
        norm = sum((2 * u - (2**bits - 1)) ** 2 for u in expected)
        assert scale == np.float32(1.0 / math.sqrt(n_dims * norm))


@pytest.mark.parametrize(("bits", "distortion"), [(7, 0.15**2 / 12), (8, 0.125**2 / 12)])
def test_a_normal_token_loses_the_noise_of_a_uniform_step(bits: int, distortion: float) -> None:
    tokens = np.random.default_rng(1).normal(size=(50, 768)).astype(np.float32)
    digits = quantize(tokens, np.zeros(768, np.float32), np.ones(50, bool), bits)  # type: ignore[arg-type]
    signed = digits.values * 2.0 - (2**bits - 1)
    norms = np.linalg.norm(signed, axis=1) * np.linalg.norm(tokens, axis=1)
    cosine = (signed * tokens).sum(axis=1) / norms
    assert np.mean(1 - cosine**2) == pytest.approx(distortion, rel=0.05)


def test_scale_of_a_token_cancels() -> None:
    """Digits of 2^k times a token are the digits of the token, over float32's whole range."""
    token = np.random.default_rng(2).normal(size=(1, 64)).astype(np.float32)
    offset, valid = np.zeros(64, np.float32), np.ones(1, bool)
    expected = quantize(token, offset, valid, 8).values.tobytes()
    for power in range(-100, 125, 9):
        assert quantize(np.ldexp(token, power), offset, valid, 8).values.tobytes() == expected


def test_forced_kernel_is_used_and_a_wrong_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.FORCE_VARIABLE, popcount.NAME)
    assert backends.choose(1, 768, 200, 32).name == popcount.NAME
    with pytest.raises(EdgeProbeError, match="no such kernel"):
        backends.choose("float", 768, 200, 32)
    monkeypatch.setenv(native.FORCE_VARIABLE, "abacus")
    with pytest.raises(EdgeProbeError, match="abacus") as caught:
        backends.choose(1, 768, 200, 32)
    assert "numpy-gemm" in str(caught.value.hint)
