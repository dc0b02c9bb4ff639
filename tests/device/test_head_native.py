"""The C library: the same digits, scores and sums as NumPy, and what happens without it."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge_probe.head import GroupedInt8Linear, Int8Linear, backends, native, reference
from edge_probe.head.packing import pack_signs
from edge_probe.head.quantize import Digits, quantize

LIMIT = float(np.float32(1e38))
needs_library = pytest.mark.skipif(not native.is_usable(), reason="needs a C compiler at install")


@needs_library
@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 70)),
        elements=st.floats(-LIMIT, LIMIT, width=32),
    ),
    st.integers(1, 8),
    st.integers(0, 31),
)  # fmt: skip
def test_digits_and_scales_are_those_of_numpy(
    tokens: NDArray[np.float32], bits: int, mask: int
) -> None:
    n_tokens, n_dims = tokens.shape
    valid = np.array([mask >> t & 1 for t in range(n_tokens)], bool)
    for offset in (np.zeros(n_dims, np.float32), tokens[0] / np.float32(3)):
        expected = quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        found = native.native_quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        assert found.values.tobytes() == expected.values.tobytes()
        assert found.scale.tobytes() == expected.scale.tobytes()


@needs_library
@pytest.mark.parametrize("n_dims", [*range(1, 131), 192, 256, 384, 768, 1024])
def test_digits_of_every_length(n_dims: int) -> None:
    rng = np.random.default_rng(n_dims)
    loudness = rng.choice([1e-42, 1e-20, 1.0, 1e20, 1e37], (9, 1)).astype(np.float32)
    tokens = rng.normal(size=(9, n_dims)).astype(np.float32) * loudness
    tokens[2] = 0
    offset, valid = np.zeros(n_dims, np.float32), np.arange(9) != 5
    for bits in range(1, 9):
        expected = quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        found = native.native_quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        assert found.values.tobytes() == expected.values.tobytes(), bits
        assert found.scale.tobytes() == expected.scale.tobytes(), bits


@needs_library
@given(st.data())
def test_any_size_gives_the_scores_of_the_reference(data: st.DataObject) -> None:
    n_dims, n_tokens = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 20))
    n_prototypes, bits = data.draw(st.integers(1, 150)), data.draw(st.integers(1, 8))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    tokens = rng.normal(size=(n_tokens, n_dims)).astype(np.float32)
    tokens[rng.random(n_tokens) < 0.2] = 0
    valid = rng.random(n_tokens) > 0.2
    digits = quantize(tokens, np.zeros(n_dims, np.float32), valid, bits)  # type: ignore[arg-type]
    packed = pack_signs(rng.normal(size=(n_prototypes, n_dims)))
    expected = reference.max_scores(digits, packed)
    for kernel in native.kernels():
        if kernel.supports(bits, n_dims):  # type: ignore[arg-type]
            found = kernel.prepare(packed, n_dims)(digits)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], kernel.name


@needs_library
@pytest.mark.parametrize("n_dims", [4_095, 4_096, 4_097, 32_768, 32_769, 65_536])
def test_counters_do_not_overflow(n_dims: int) -> None:
    """All digits at their largest, all signs alike: the largest sums there are."""
    values = np.full((3, n_dims), 1.0, np.float32)
    values[1] = -1
    packed = pack_signs(np.stack([np.ones(n_dims), -np.ones(n_dims)]))
    for bits in (1, 4, 8):
        digits = quantize(values, np.zeros(n_dims, np.float32), np.ones(3, bool), bits)
        digits.values[:] = np.where(values > 0, 2**bits - 1, 0)
        expected = reference.max_scores(digits, packed)
        for kernel in native.kernels():
            if kernel.supports(bits, n_dims):
                found = kernel.prepare(packed, n_dims)(digits)
                assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], kernel.name


@needs_library
@given(st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_linear_sums_are_exact(n_classes: int, n_columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (n_classes, n_columns)).astype(np.int8)
    scores = rng.integers(-(2**20), 2**20 + 1, n_columns).astype(np.int32)
    found = native.linear_sums(weights, scores, grouped=False)
    assert found is not None
    assert (found == weights.astype(np.int64) @ scores).all()
    own = rng.integers(-(2**20), 2**20 + 1, n_classes * n_columns).astype(np.int32)
    found = native.linear_sums(weights, own, grouped=True)
    assert found is not None
    expected = (weights.astype(np.int64) * own.reshape(n_classes, n_columns)).sum(axis=1)
    assert (found == expected).all()


@needs_library
def test_the_preferred_kernel_is_one_the_cpu_has() -> None:
    names = {f"native-{name}" for order in backends.FASTEST.values() for name in order}
    for bits in range(1, 9):
        chosen = backends.choose(bits, 768, 200, 32).name  # type: ignore[arg-type]
        assert chosen in names
        assert chosen in {kernel.name for kernel in native.kernels()}
    assert backends.choose("float", 768, 200, 32).name == "numpy-gemm"


@needs_library
def test_a_kernel_that_disagrees_is_dropped_with_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = native.kernels()[0]
    real = native._Prepared.__call__

    def wrong(*arguments: object) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        scores, tokens = real(*arguments)  # type: ignore[arg-type]
        scores[-1] = np.nextafter(scores[-1], np.float32(9))
        return scores, tokens

    assert native._agrees(good)
    monkeypatch.setattr(native._Prepared, "__call__", wrong)
    with caplog.at_level(logging.WARNING):
        assert not native._agrees(good)
    assert f"{good.name} disagrees with NumPy" in caplog.text


@needs_library
def test_what_c_would_read_beyond_is_refused() -> None:
    rng = np.random.default_rng(0)
    packed = pack_signs(rng.normal(size=(20, 64)))
    digits = quantize(np.ones((3, 64), np.float32), np.zeros(64, np.float32), np.ones(3, bool), 1)
    longer = quantize(np.ones((3, 80), np.float32), np.zeros(80, np.float32), np.ones(3, bool), 1)
    kernel = native.kernels()[0]
    with pytest.raises(ValueError, match="prototypes"):
        kernel.prepare(packed, 80)
    match = kernel.prepare(packed, 64)
    with pytest.raises(ValueError, match="digits"):
        match(longer)
    with pytest.raises(ValueError, match="digits"):
        match(Digits(digits.values, digits.scale[:2], 1))
    with pytest.raises(ValueError, match="offset and valid"):
        native.native_quantize(
            np.ones((3, 64), np.float32), np.zeros(5, np.float32), np.ones(3, bool), 4
        )
    weights = np.ones((2, 300), np.int8)
    with pytest.raises(ValueError, match="scores"):
        native.linear_sums(weights, np.ones(5, np.int32), grouped=False)
    with pytest.raises(ValueError, match="scores"):
        native.linear_sums(weights, np.ones(300, np.int32), grouped=True)


@needs_library
def test_arrays_in_any_order_will_do() -> None:
    rng = np.random.default_rng(0)
    packed = pack_signs(rng.normal(size=(768, 3_000)).T)  # Fortran order
    assert not packed.flags.c_contiguous
    tokens = rng.normal(size=(9, 768)).astype(np.float32)
    digits = quantize(tokens, np.zeros(768, np.float32), np.ones(9, bool), 8)
    sliced = Digits(digits.values[::2], digits.scale[::2], 8)
    expected = reference.max_scores(sliced, packed)
    for kernel in native.kernels():
        if kernel.supports(8, 768):
            found = kernel.prepare(packed, 768)(sliced)
            assert [a.tobytes() for a in found] == [a.tobytes() for a in expected], kernel.name


WITHOUT = """
from pathlib import Path
from edge_probe.head import native, backends
native.LIBRARY = Path({path!r})
print(native.why_not())
print(backends.choose(1, 96, 200, 32).name, *(b.name for b in backends.available(8, 96)))
"""


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF" + bytes(2_000)])
def test_without_a_library_that_can_be_loaded_numpy_serves(
    content: bytes | None, tmp_path: Path
) -> None:
    """None, or one for another CPU, or half of one."""
    path = tmp_path / "libedgeprobe.so"
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(path=str(path))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    why, names = done.stdout.splitlines()
    assert ("cannot be loaded" in why) == (content is not None)
    chosen, *rest = names.split()
    assert chosen.startswith("numpy-")
    assert rest == ["numpy-gemm", "numpy-popcount"]


@needs_library
@pytest.mark.parametrize("problem", ["interface", "disagrees"])
def test_a_library_of_another_version_or_with_a_fault_is_not_used(
    problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    native.why_not.cache_clear()
    if problem == "interface":
        monkeypatch.setattr(native, "ABI", 99)
    else:
        monkeypatch.setattr(native, "_sums_agree", lambda: False)
    try:
        assert problem in str(native.why_not())
        assert problem in caplog.text
    finally:
        native.why_not.cache_clear()


@pytest.mark.parametrize("grouped", [False, True])
def test_logits_are_the_same_without_c(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n_columns = 20 if grouped else 600
    dense = Int8Linear.from_float(rng.normal(size=(30, n_columns)), rng.normal(size=30))
    linear = GroupedInt8Linear(dense.weights, dense.scale, dense.bias) if grouped else dense
    scores = rng.uniform(-1, 1, 600).astype(np.float32)
    with_c = linear.logits(scores)
    monkeypatch.setenv(native.FORCE_VARIABLE, "numpy-gemm")
    integers = np.ones(600, np.int32)
    assert native.linear_sums(linear.weights, integers, grouped=grouped) is None
    assert linear.logits(scores).tobytes() == with_c.tobytes()


def test_wide_tokens_of_many_dimensions_have_a_fast_kernel() -> None:
    """The nibble tables end at 4,096 dimensions; AVX2 alone has nothing else."""
    for bits in (2, 4, 8):
        chosen = backends.choose(bits, 8_192, 200, 32).name
        serving = {kernel.name for kernel in native.kernels() if kernel.supports(bits, 8_192)}
        assert chosen != "native-scalar" or serving == {"native-scalar"}
