"""Which kernel matches the prototypes: a matter of speed only, never of the result.

Every backend returns the same bits for integer digits, so the choice is made by a short timing
on this machine and shown by ``edge-probe info``; ``EDGE_PROBE_KERNEL`` forces one.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from edge_probe.head import gemm, popcount
from edge_probe.head.packing import n_bytes
from edge_probe.head.quantize import Digits
from edge_probe.spec import TokenBits

Kernel = Callable[[Digits, NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.int32]]]

FORCE_VARIABLE = "EDGE_PROBE_KERNEL"

_TIMING_S = 0.02
"""Time spent on choosing, in seconds, all candidates together."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation of `edge_probe.head.reference.max_scores`."""

    name: str
    max_scores: Kernel
    supports: Callable[[object, int], bool]


BACKENDS = tuple(
    Backend(module.NAME, module.max_scores, module.supports) for module in (gemm, popcount)
)
"""Every backend of this build, the preferred one first."""


def available(bits: TokenBits, n_dims: int) -> list[Backend]:
    """Backends that score such digits exactly.

    Parameters
    ----------
    bits : "float" or 1..8
    n_dims : int
        D.
    """
    return [backend for backend in BACKENDS if backend.supports(bits, n_dims)]


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
    candidates = available(bits, n_dims)
    forced = os.environ.get(FORCE_VARIABLE)
    if forced:
        for backend in candidates:
            if backend.name == forced:
                return backend
        names = ", ".join(backend.name for backend in candidates)
        raise EdgeProbeError(
            f"{FORCE_VARIABLE}={forced}: no such kernel for {bits}-bit tokens, D = {n_dims}",
            hint=f"choose one of: {names}; or unset {FORCE_VARIABLE}",
        )
    if len(candidates) == 1:
        return candidates[0]
    return _fastest(bits, n_dims, min(n_prototypes, 512), min(n_tokens, 128))


@cache
def _fastest(bits: TokenBits, n_dims: int, n_prototypes: int, n_tokens: int) -> Backend:
    """Time the candidates in turns on one made-up chunk and keep the quickest single run."""
    candidates = available(bits, n_dims)
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
