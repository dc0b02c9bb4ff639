"""Head matching in NumPy: our packed kernels against a dense float32 matmul and maximum.

Correctness is asserted before anything is timed; contender and baseline take turns in one run.
"""

import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np

from edge_probe.head import backends, reference
from edge_probe.head.packing import pack_signs, unpack_signs
from edge_probe.head.quantize import Digits, quantize

N_TOKENS, N_DIMS = 512, 768


def _cpu_ms(function: Callable[[], object]) -> float:
    begin = time.process_time()
    function()
    return (time.process_time() - begin) * 1e3


def _row(
    backend: backends.Backend, digits: Digits, packed: np.ndarray, tokens: np.ndarray, rounds: int
) -> dict[str, object]:
    """One kernel against the dense product on the same tokens."""
    expected, _ = reference.max_scores(digits, packed)
    error = float(np.abs(backend.max_scores(digits, packed)[0] - expected).max())
    if error:
        raise SystemExit(f"{backend.name} is wrong by {error}: not timed")
    dense = unpack_signs(packed, N_DIMS).astype(np.float32)
    ours, base = [], []
    for _ in range(rounds):
        base.append(_cpu_ms(lambda: np.max(dense @ tokens.T, axis=1)))
        ours.append(_cpu_ms(lambda: backend.max_scores(digits, packed)))
    tracemalloc.start()
    backend.max_scores(digits, packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "kernel": backend.name,
        "bits": digits.bits,
        "n_prototypes": len(packed),
        "cpu_ms": round(median(ours), 2),
        "cpu_ms_spread": [round(min(ours), 2), round(max(ours), 2)],
        "ratio_to_float32_matmul": round(median(a / b for a, b in zip(ours, base, strict=True)), 2),
        "temporaries_mib": round(peak / 2**20, 2),
        "max_error": error,
    }


def measure(rounds: int) -> dict[str, object]:
    """Medians of CPU time, ratios to the dense baseline, temporaries and error per kernel."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(N_TOKENS, N_DIMS)).astype(np.float32)
    rows = []
    for n_prototypes in (420, 10_000):
        packed = pack_signs(rng.normal(size=(n_prototypes, N_DIMS)))
        for bits in (1, 8):
            digits = quantize(tokens, np.zeros(N_DIMS, np.float32), np.ones(N_TOKENS, bool), bits)
            rows += [
                _row(backend, digits, packed, tokens, rounds)
                for backend in backends.available(bits, N_DIMS)
            ]
    return {"n_tokens": N_TOKENS, "n_dims": N_DIMS, "rounds": rounds, "rows": rows}
