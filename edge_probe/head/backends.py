"""Which kernel matches the prototypes: a matter of speed only, never of the result.

Every backend returns the same bits for integer digits. ``edge-probe info`` shows the choice;
``EDGE_PROBE_KERNEL`` forces another.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from edge_probe.head import gemm, native, popcount
from edge_probe.head.native import FORCE_VARIABLE, Matcher
from edge_probe.head.packing import n_bytes
from edge_probe.head.quantize import Digits, quantize
from edge_probe.spec import TokenBits

_TIMING_S = 0.02
"""Time spent on choosing between NumPy kernels, in seconds, both together."""

_WIDE = (
    "avx512-vnni", "neon-dot", "avx512-popcount", "avx512-lut", "neon-lut", "avx2-lut",
)  # fmt: skip
_NARROW = ("avx512-popcount", "avx512-lut", "neon-lut", "neon-dot", "avx2-lut", "scalar")

FASTEST = {
    1: ("avx512-popcount", "neon-popcount", "avx2-popcount", "neon-dot", "scalar"),
    2: _NARROW,
    3: _NARROW,
    4: ("avx512-lut", *_NARROW),
    5: ("avx512-popcount", *_WIDE),
    6: _WIDE,
    7: _WIDE,
    8: _WIDE,
}
"""C kernels by digit width, the fastest first; the first one that serves such a head here is taken.

x86-64: 1, 4 and 8 bits as measured on a Zen 4, ``benchmarks/results/kernels.json`` (M = 420 and
10,000, T = 512, D = 768); the widths between them from one run of the same sizes that was not
kept. AArch64: extrapolated from instruction counts (A53, A72, A76); no board was measured. From 5
bits NumPy's matrix product beats the scalar kernel."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation of `edge_probe.head.reference.max_scores`."""

    name: str
    prepare: Callable[[NDArray[np.uint8], int], Matcher]
    """Packed prototypes (M, ceil(D/8)) and D -> a function from digits to scores and tokens."""
    supports: Callable[[TokenBits, int], bool]
    """Bits and D -> whether it scores such digits exactly."""
    quantize: Callable[..., Digits] = quantize
    """As `edge_probe.head.quantize.quantize`."""

    def max_scores(
        self, digits: Digits, packed: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Prototype scores of one chunk; see `edge_probe.head.reference.max_scores`."""
        return self.prepare(packed, digits.values.shape[1])(digits)


def _in_numpy(
    max_scores: Callable[..., tuple[NDArray[np.float32], NDArray[np.int32]]],
    packed: NDArray[np.uint8],
    _n_dims: int,
) -> Matcher:
    return partial(max_scores, packed=packed)


NUMPY = tuple(
    Backend(module.NAME, partial(_in_numpy, module.max_scores), module.supports)
    for module in (gemm, popcount)
)


@cache
def backends() -> tuple[Backend, ...]:
    """Every backend that this build has and this CPU can run."""
    in_c = [
        Backend(kernel.name, kernel.prepare, kernel.supports, native.native_quantize)
        for kernel in native.kernels()
    ]
    return (*in_c, *NUMPY)


def available(bits: TokenBits, n_dims: int) -> list[Backend]:
    """Backends that score such digits exactly, here.

    Parameters
    ----------
    bits : "float" or 1..8
    n_dims : int
        D.
    """
    return [backend for backend in backends() if backend.supports(bits, n_dims)]


def choose(bits: TokenBits, n_dims: int, n_prototypes: int, n_tokens: int) -> Backend:
    """The fastest backend for such a head on this machine.

    Parameters
    ----------
    bits : "float" or 1..8
    n_dims, n_prototypes, n_tokens : int
        D, M and T of one chunk.

    Raises
    ------
    EdgeProbeError
        ``EDGE_PROBE_KERNEL`` names a backend that does not exist or cannot score such digits.
    """
    candidates = {backend.name: backend for backend in available(bits, n_dims)}
    forced = os.environ.get(FORCE_VARIABLE)
    if forced:
        if forced in candidates:
            return candidates[forced]
        raise EdgeProbeError(
            f"{FORCE_VARIABLE}={forced}: no such kernel for {bits}-bit tokens, D = {n_dims}",
            hint=f"choose one of: {', '.join(candidates)}; or unset {FORCE_VARIABLE}",
        )
    for name in FASTEST.get(bits, ()) if bits != "float" else ():
        if f"native-{name}" in candidates:
            return candidates[f"native-{name}"]
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    return _fastest(bits, n_dims, min(n_prototypes, 512), min(n_tokens, 128))


@cache
def _fastest(bits: TokenBits, n_dims: int, n_prototypes: int, n_tokens: int) -> Backend:
    """Time the NumPy kernels in turns on one made-up chunk and keep the quickest single run."""
    candidates = [backend for backend in NUMPY if backend.supports(bits, n_dims)]
    rng = np.random.default_rng(0)
    levels = 2 if bits == "float" else 2**bits
    digits = Digits(
        rng.integers(0, levels, (n_tokens, n_dims), np.uint8), np.ones(n_tokens, np.float32), bits
    )
    packed = rng.integers(0, 256, (n_prototypes, n_bytes(n_dims)), np.uint8)
    if n_dims % 8:
        packed[:, -1] &= np.uint8(2 ** (n_dims % 8) - 1)
    best = dict.fromkeys(range(len(candidates)), float("inf"))
    stop = time.perf_counter() + _TIMING_S
    while True:
        for index, backend in enumerate(candidates):
            begin = time.perf_counter()
            backend.max_scores(digits, packed)
            best[index] = min(best[index], time.perf_counter() - begin)
        if time.perf_counter() >= stop:
            return candidates[min(best, key=best.__getitem__)]
