"""The C kernels, where they were built and where this CPU can run them.

Without the library, or where a kernel does not agree with NumPy, everything works all the same,
only slower: nothing but speed depends on this package. How a kernel is added: ``README.md``.
"""

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import reference
from edge_probe.head.packing import pack_signs
from edge_probe.head.quantize import STEP_RMS, Digits, quantize
from edge_probe.spec import TokenBits

_log = logging.getLogger(__name__)

LIBRARY = Path(__file__).with_name("libedgeprobe.so")

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
        return int(_library().ep_layout_bytes(self.index, n_prototypes, n_dims))

    def prepare(self, packed: NDArray[np.uint8], n_dims: int) -> Matcher:
        """Put prototypes into the kernel's own order, once.

        Parameters
        ----------
        packed : (M, ceil(D/8)) uint8
        n_dims : int
            D.
        """
        n_prototypes = len(packed)
        layout = _aligned(self.layout_bytes(n_prototypes, n_dims))
        _library().ep_make_layout(
            self.index, np.ascontiguousarray(packed).ctypes.data, n_prototypes, n_dims,
            layout.ctypes.data,
        )  # fmt: skip
        return partial(_match, self.index, layout, n_prototypes)


def _match(
    index: int, layout: NDArray[np.uint8], n_prototypes: int, digits: Digits
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    n_tokens, n_dims = digits.values.shape
    values = np.ascontiguousarray(digits.values, np.uint8)
    scores, tokens = np.empty(n_prototypes, np.float32), np.empty(n_prototypes, np.int32)
    failed = _library().ep_match(
        index, values.ctypes.data, digits.scale.ctypes.data, layout.ctypes.data,
        n_tokens, n_dims, n_prototypes, digits.bits, scores.ctypes.data, tokens.ctypes.data,
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
    values, scale = np.empty((n_tokens, n_dims), np.uint8), np.empty(n_tokens, np.float32)
    failed = _library().ep_quantize(
        rows.ctypes.data, centre.ctypes.data, mask.ctypes.data, n_tokens, n_dims, bits,
        STEP_RMS.get(bits, 0.0), values.ctypes.data, scale.ctypes.data,
    )  # fmt: skip
    if failed:
        raise MemoryError("no memory for a token")
    return Digits(values, scale, bits)


def linear_sums(
    weights: NDArray[np.int8], integers: NDArray[np.int32], *, grouped: bool
) -> NDArray[np.int64] | None:
    """``sum_m W8[c, m] S[m]`` exactly, or None where there is no library.

    Parameters
    ----------
    weights : (C, M) int8, or (C, J) if grouped
    integers : (M,) int32
        Below 2^20 in magnitude; M = C J if grouped.
    grouped : bool
        Class c sees prototypes c J to (c + 1) J only.
    """
    if not is_built():
        return None
    n_classes, n_columns = weights.shape
    sums = np.empty(n_classes, np.int64)
    rows, scores = np.ascontiguousarray(weights), np.ascontiguousarray(integers)
    _library().ep_linear(
        rows.ctypes.data, scores.ctypes.data, n_classes, n_columns, n_columns if grouped else 0,
        sums.ctypes.data,
    )  # fmt: skip
    return sums


def is_built() -> bool:
    """Whether the library lies in this package."""
    return LIBRARY.is_file()


def cpu_features() -> list[str]:
    """Names of what this CPU has of `FEATURES`; empty without the library."""
    if not is_built():
        return []
    found = _library().ep_cpu_features()
    return [name for bit, name in enumerate(FEATURES) if found >> bit & 1]


@cache
def kernels() -> tuple[NativeKernel, ...]:
    """The kernels this CPU can run and that agree with NumPy, by name."""
    if not is_built():
        return ()
    library = _library()
    found = library.ep_cpu_features()
    usable = [
        kernel
        for kernel in map(_kernel, range(library.ep_n_kernels()))
        if kernel.features & ~found == 0 and _agrees(kernel)
    ]
    return tuple(sorted(usable, key=lambda kernel: kernel.name))


def _kernel(index: int) -> NativeKernel:
    library = _library()
    bits = library.ep_kernel_bits(index)
    return NativeKernel(
        library.ep_kernel_name(index).decode("ascii"), index,
        frozenset(width for width in range(1, 9) if bits >> width & 1),
        library.ep_kernel_features(index), library.ep_kernel_max_dims(index),
    )  # fmt: skip


def _agrees(kernel: NativeKernel) -> bool:
    """Score some made-up tokens as the reference does, with this kernel and our quantiser."""
    rng = np.random.default_rng(0)
    n_dims = 77
    tokens = rng.normal(size=(11, n_dims)).astype(np.float32)
    tokens[4] = 0
    packed = pack_signs(rng.normal(size=(70, n_dims)))
    offset, valid = np.full(n_dims, 0.1, np.float32), np.arange(11) != 7
    match = kernel.prepare(packed, n_dims)
    for bits in sorted(kernel.bits):
        digits = quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        ours = native_quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
        pairs = [
            *zip(reference.max_scores(digits, packed), match(digits), strict=True),
            (digits.values, ours.values),
            (digits.scale, ours.scale),
        ]
        if any(one.tobytes() != other.tobytes() for one, other in pairs):
            _log.warning("%s disagrees with NumPy on %d bits: not used", kernel.name, bits)
            return False
    return True


def _aligned(n_bytes: int) -> NDArray[np.uint8]:
    memory = np.empty(n_bytes + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + n_bytes]


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    signatures = {
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
