"""The C kernels, where they were built and where this CPU can run them.

Without the library, or where it does not agree with NumPy, everything works all the same, only
slower: nothing but speed depends on this package. How a kernel is added: ``README.md``.
"""

import ctypes
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import reference
from edge_probe.head.packing import n_bytes, pack_signs
from edge_probe.head.quantize import STEP_RMS, Digits, quantize
from edge_probe.spec import TokenBits

_log = logging.getLogger(__name__)

FORCE_VARIABLE = "EDGE_PROBE_KERNEL"
"""Environment variable that names the kernel to use; ``numpy-...`` means nothing in C at all."""

LIBRARY = Path(__file__).with_name("libedgeprobe.so")

ABI = 1
"""Of what Python calls in the library; changes with any signature (``EP_ABI`` in common.c)."""

FEATURES = ("popcnt", "avx2", "avx512", "avx512-vpopcntdq", "avx512-vnni", "neon", "dotprod")
"""Names of the feature bits in ``kernel.h``, lowest first."""

_ALIGNMENT = 64

Matcher = Callable[[Digits], tuple[NDArray[np.float32], NDArray[np.int32]]]
"""Digits of a chunk -> scores (M,) and first best tokens (M,)."""


@dataclass(frozen=True, slots=True)
class NativeKernel:
    """One kernel of the library."""

    name: str
    index: int
    bits: frozenset[int]
    features: int
    max_dims: int

    def supports(self, bits: TokenBits, n_dims: int) -> bool:
        """Whether it scores such digits."""
        return bits in self.bits and n_dims <= self.max_dims

    def layout_bytes(self, n_prototypes: int, n_dims: int) -> int:
        """Bytes of M prototypes of D dimensions in the kernel's own order."""
        return int(_loaded().ep_layout_bytes(self.index, n_prototypes, n_dims))

    def prepare(self, packed: NDArray[np.uint8], n_dims: int) -> Matcher:
        """Put prototypes into the kernel's own order, once.

        Parameters
        ----------
        packed : (M, ceil(D/8)) uint8
        n_dims : int
            D.
        """
        rows = np.ascontiguousarray(packed, np.uint8)
        _expect("prototypes", rows.shape, (len(rows), n_bytes(n_dims)))
        layout = _aligned(self.layout_bytes(len(rows), n_dims))
        _loaded().ep_make_layout(
            self.index, rows.ctypes.data, len(rows), n_dims, layout.ctypes.data
        )
        return _Prepared(self, layout, len(rows), n_dims)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Prototypes in a kernel's own order."""

    kernel: NativeKernel
    layout: NDArray[np.uint8]
    n_prototypes: int
    n_dims: int

    def __call__(self, digits: Digits) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        values = np.ascontiguousarray(digits.values, np.uint8)
        scale = np.ascontiguousarray(digits.scale, np.float32)
        _expect("digits", values.shape, (len(scale), self.n_dims))
        if not self.kernel.supports(digits.bits, self.n_dims):
            raise ValueError(f"{self.kernel.name} does not score {digits.bits}-bit digits")
        scores = np.empty(self.n_prototypes, np.float32)
        tokens = np.empty(self.n_prototypes, np.int32)
        failed = _loaded().ep_match(
            self.kernel.index, values.ctypes.data, scale.ctypes.data, self.layout.ctypes.data,
            len(values), self.n_dims, self.n_prototypes, digits.bits, scores.ctypes.data,
            tokens.ctypes.data,
        )  # fmt: skip
        if failed:
            raise MemoryError("no memory for a chunk of tokens")
        return scores, tokens


def native_quantize(
    tokens: NDArray[np.float32],
    offset: NDArray[np.float32],
    valid: NDArray[np.bool_],
    bits: TokenBits,
) -> Digits:
    """The quantiser in C; see `edge_probe.head.quantize.quantize`."""
    if bits == "float":
        return quantize(tokens, offset, valid, bits)
    rows = np.ascontiguousarray(tokens, np.float32)
    centre, mask = np.ascontiguousarray(offset, np.float32), np.ascontiguousarray(valid, np.uint8)
    n_tokens, n_dims = rows.shape
    _expect("offset and valid", (*centre.shape, *mask.shape), (n_dims, n_tokens))
    values, scale = np.empty((n_tokens, n_dims), np.uint8), np.empty(n_tokens, np.float32)
    failed = _loaded().ep_quantize(
        rows.ctypes.data, centre.ctypes.data, mask.ctypes.data, n_tokens, n_dims, bits,
        STEP_RMS.get(bits, 0.0), values.ctypes.data, scale.ctypes.data,
    )  # fmt: skip
    if failed:
        raise MemoryError("no memory for a token")
    return Digits(values, scale, bits)


def linear_sums(
    weights: NDArray[np.int8], integers: NDArray[np.int32], *, grouped: bool
) -> NDArray[np.int64] | None:
    """``sum_m W8[c, m] S[m]`` exactly, or None where NumPy has to do it.

    Parameters
    ----------
    weights : (C, M) int8, or (C, J) if grouped
    integers : (M,) int32
        Scores as multiples of 2^-20; M = C J if grouped.
    grouped : bool
        Class c sees prototypes c J to (c + 1) J only.
    """
    if os.environ.get(FORCE_VARIABLE, "").startswith("numpy-") or not is_usable():
        return None
    rows, scores = np.ascontiguousarray(weights, np.int8), np.ascontiguousarray(integers, np.int32)
    n_classes, n_columns = rows.shape
    _expect("scores", scores.shape, (rows.size if grouped else n_columns,))
    sums = np.empty(n_classes, np.int64)
    _loaded().ep_linear(
        rows.ctypes.data, scores.ctypes.data, n_classes, n_columns, n_columns if grouped else 0,
        sums.ctypes.data,
    )  # fmt: skip
    return sums


def is_usable() -> bool:
    """Whether the library is there, is ours, and does the sums of NumPy."""
    return why_not() is None


@cache
def why_not() -> str | None:
    """Why nothing in C is used, or None."""
    if not LIBRARY.is_file():
        return "no C kernels were built (no C compiler at installation?)"
    try:
        found = _loaded().ep_abi()
    except (OSError, AttributeError) as error:
        return _refused(f"cannot be loaded: {error}")
    if found != ABI:
        return _refused(f"has interface {found}, expected {ABI}: install edge-probe again")
    if not _sums_agree():
        return _refused("disagrees with NumPy in its quantiser or its sums")
    return None


def _refused(problem: str) -> str:
    _log.warning("%s %s; using NumPy", LIBRARY.name, problem)
    return f"the library {problem}"


def cpu_features() -> list[str]:
    """Names of what this CPU has of `FEATURES`; empty where nothing in C is used."""
    if not is_usable():
        return []
    found = _loaded().ep_cpu_features()
    return [name for bit, name in enumerate(FEATURES) if found >> bit & 1]


@cache
def kernels() -> tuple[NativeKernel, ...]:
    """The kernels this CPU can run and that agree with NumPy, by name."""
    if not is_usable():
        return ()
    library = _loaded()
    found = library.ep_cpu_features()
    usable = [
        kernel
        for kernel in map(_kernel, range(library.ep_n_kernels()))
        if kernel.features & ~found == 0 and _agrees(kernel)
    ]
    return tuple(sorted(usable, key=lambda kernel: kernel.name))


def _kernel(index: int) -> NativeKernel:
    library = _loaded()
    bits = library.ep_kernel_bits(index)
    return NativeKernel(
        library.ep_kernel_name(index).decode("ascii"), index,
        frozenset(width for width in range(1, 9) if bits >> width & 1),
        library.ep_kernel_features(index), library.ep_kernel_max_dims(index),
    )  # fmt: skip


_N_DIMS = 77
"""Of the self-tests: whole words and a rest of every size."""


def _made_up() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Tokens (one of them zero), offset and valid (one of them padding) of the self-tests."""
    tokens = np.random.default_rng(0).normal(size=(11, _N_DIMS)).astype(np.float32)
    tokens[4] = 0
    return tokens, np.full(_N_DIMS, 0.1, np.float32), np.arange(11) != 7


def _sums_agree() -> bool:
    """Whether the quantiser and the linear layers give the integers of NumPy."""
    tokens, offset, valid = _made_up()
    for bits in range(1, 9):
        ours = native_quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        expected = quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        if ours.values.tobytes() != expected.values.tobytes():
            return False
        if ours.scale.tobytes() != expected.scale.tobytes():
            return False
    weights = np.arange(-120, 120, dtype=np.int8).reshape(6, 40)
    scores = np.arange(-(2**20), 2**20, 8739, dtype=np.int32)[:240]
    sums = np.empty(6, np.int64)
    for stride, own in ((0, np.tile(scores[:40], (6, 1))), (40, scores.reshape(6, 40))):
        _loaded().ep_linear(
            weights.ctypes.data, scores.ctypes.data, 6, 40, stride, sums.ctypes.data
        )
        if not np.array_equal(sums, (weights.astype(np.int64) * own).sum(axis=1)):
            return False
    return True


def _agrees(kernel: NativeKernel) -> bool:
    """Score some made-up tokens as the reference does."""
    packed = pack_signs(np.random.default_rng(1).normal(size=(70, _N_DIMS)))
    match = kernel.prepare(packed, _N_DIMS)
    for bits in sorted(kernel.bits):
        digits = quantize(*_made_up(), bits)  # type: ignore[arg-type]
        pairs = zip(reference.max_scores(digits, packed), match(digits), strict=True)
        if any(one.tobytes() != other.tobytes() for one, other in pairs):
            _log.warning("%s disagrees with NumPy on %d bits: not used", kernel.name, bits)
            return False
    return True


def _expect(what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """C would read beyond what it was given."""
    if found != expected:
        raise ValueError(f"{what}: expected {expected}, found {found}")


def _aligned(size: int) -> NDArray[np.uint8]:
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size]


@cache
def _loaded() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "ep_abi": (number, []),
        "ep_cpu_features": (ctypes.c_uint32, []),
        "ep_n_kernels": (number, []),
        "ep_kernel_name": (ctypes.c_char_p, [number]),
        "ep_kernel_bits": (ctypes.c_uint32, [number]),
        "ep_kernel_features": (ctypes.c_uint32, [number]),
        "ep_kernel_max_dims": (size, [number]),
        "ep_layout_bytes": (size, [number, size, size]),
        "ep_make_layout": (None, [number, pointer, size, size, pointer]),
        "ep_match": (number, [number, *[pointer] * 3, *[size] * 3, number, pointer, pointer]),
        "ep_quantize": (
            number, [*[pointer] * 3, size, size, number, ctypes.c_double, pointer, pointer],
        ),
        "ep_linear": (None, [pointer, pointer, size, size, size, pointer]),
    }  # fmt: skip
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
