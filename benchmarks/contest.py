"""One process: one peer and our kernels on one problem, called in turns.

Run by ``bench_kernels.py`` with a request as JSON; prints the rows as JSON. Every row of one
process was measured together, so the ratio in it holds whatever the machine did meanwhile.
"""

import ctypes
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
from numpy.typing import NDArray
from problem import Problem, Size

from edge_probe.head import backends, native
from edge_probe.head.packing import to_words
from edge_probe.head.popcount import popcount
from edge_probe.head.quantize import Digits
from edge_probe.spec import TokenBits

ScoresOf = Callable[[Digits], tuple[NDArray[np.float32], NDArray[np.int32]]]
"""A kernel of ours that has its prototypes."""

OUR_BITS: tuple[TokenBits, ...] = ("float", 8, 4, 1)

ALL_UP_TO = 10_000
"""Prototypes up to which all our kernels are timed beside the baseline: slow ones take minutes."""

_OUR_FLOAT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class FirstCall:
    """What is learnt from calling something once, before it is timed; it warms up, too."""

    result: Any
    seconds: float
    peak_bytes: int
    peak_by: str

    @classmethod
    def of(cls, call: Callable[[], Any], traced: bool) -> "FirstCall":
        """Call it and see what it allocates at most, its result included.

        NumPy reports its allocations (`traced`); for other libraries it is the growth of
        resident memory, known to some hundred KiB, after freed memory was given back.
        """
        gc.collect()
        if traced:
            tracemalloc.start()
        else:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _resident_bytes("VmRSS")
        begin = time.process_time()
        result = call()
        seconds = time.process_time() - begin
        if not traced:
            return cls(result, seconds, max(0, _resident_bytes("VmHWM") - before), "VmHWM")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return cls(result, seconds, peak, "tracemalloc")


@dataclass
class Contender:
    """Something that is called in turns, and what is known of it."""

    who: str
    """``peer`` or ``ours``."""
    name: str
    bits: TokenBits
    kind: str
    """``match`` (tokens in the contender's own form) or ``step`` (from float32 tokens)."""
    call: Callable[[], Any]
    error: float
    exact: bool
    weight_bytes: int
    first: FirstCall
    cpu_s: list[float] = field(default_factory=list)


def bind(backend: backends.Backend, problem: Problem) -> tuple[ScoresOf, int]:
    """One of our backends with its prototypes, and the bytes it holds of them."""
    packed, n_dims = problem.packed, problem.size.n_dims
    in_c = {kernel.name: kernel for kernel in native.kernels()}
    held = packed.nbytes
    if backend.name in in_c:
        held = in_c[backend.name].layout_bytes(len(packed), n_dims)
    return backend.prepare(packed, n_dims), held


def cpu_s(call: Callable[[], object]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def _resident_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def the_peer(peer: peers.Peer, problem: Problem) -> Contender:
    """The peer, checked against the reference at its own precision.

    It is called first of all, while the process is fresh, but after a small problem: the code
    of the library is then in memory already.
    """
    peer.prepare(Problem(Size(64, 16, problem.size.n_dims))).call()
    prepared = peer.prepare(problem)
    first = FirstCall.of(prepared.call, traced=peer.module == "numpy")
    expected, _ = problem.expected(peer.bits)
    error = float(np.abs(prepared.scores(first.result) - expected).max())
    if prepared.tokens is not None:
        error = max(error, _token_error(problem, prepared.tokens(first.result), expected))
    if error > peer.tolerance:
        raise SystemExit(f"{peer.name} is wrong by {error:g}: not timed")
    return Contender(
        "peer", peer.name, peer.bits, "match", prepared.call, error, peer.tolerance == 0,
        prepared.weight_bytes, first,
    )  # fmt: skip


def _token_error(problem: Problem, tokens: NDArray[Any], expected: NDArray[Any]) -> float:
    """How far the scores at the tokens a 1-bit peer names are from the best ones.

    Another token than ours is right where it is as near.
    """
    differing = popcount(to_words(problem.packed) ^ to_words(problem.packed_tokens)[tokens])
    sums = problem.size.n_dims - 2 * differing.sum(axis=1, dtype=np.int64)
    scores = sums.astype(np.float32) * problem.digits(1).scale[0]
    return float(np.abs(scores - expected).max())


def ours(problem: Problem, bits: TokenBits, with_step: bool, all_of_them: bool) -> list[Contender]:
    """Our kernels for such tokens, or the one that would run, checked against the reference."""
    expected, digits, size = problem.expected(bits), problem.digits(bits), problem.size
    chosen = [backends.choose(bits, size.n_dims, size.n_prototypes, size.n_tokens)]
    found, steps = [], []
    for backend in backends.available(bits, size.n_dims) if all_of_them else chosen:
        scores_of, weight_bytes = bind(backend, problem)
        match = _match(backend.name, scores_of, weight_bytes, digits, expected)
        found.append(match)
        if with_step:
            steps.append(_step(match, scores_of, backend, problem))
    return found + steps


def _match(
    name: str,
    scores_of: ScoresOf,
    weight_bytes: int,
    digits: Digits,
    expected: tuple[NDArray[np.float32], NDArray[np.int32]],
) -> Contender:
    """Scores from digits."""
    exact = digits.bits != "float"
    first = FirstCall.of(lambda: scores_of(digits), traced=name.startswith("numpy"))
    scores, tokens = first.result
    error = float(np.abs(scores - expected[0]).max())
    if error > (0 if exact else _OUR_FLOAT_TOLERANCE):
        raise SystemExit(f"{name} is wrong by {error:g} at {digits.bits} bits: not timed")
    if exact and not np.array_equal(tokens, expected[1]):
        raise SystemExit(f"{name} names other tokens at {digits.bits} bits: not timed")
    return Contender(
        "ours", name, digits.bits, "match", lambda: scores_of(digits), error, exact, weight_bytes,
        first,
    )  # fmt: skip


def _step(
    match: Contender, scores_of: ScoresOf, backend: backends.Backend, problem: Problem
) -> Contender:
    """What the device does: quantise, pack and match, from float32 tokens."""

    def call() -> object:
        return scores_of(problem.digits(match.bits, backend.quantize))

    first = FirstCall.of(call, traced=match.name.startswith("numpy"))
    if not np.array_equal(first.result[0], match.first.result[0]):
        raise SystemExit(f"{match.name}: the whole step differs from the match: not timed")
    return replace(match, kind="step", call=call, first=first, cpu_s=[])


def take_turns(contenders: list[Contender], seconds: float, least: int, most: int) -> None:
    """Call everybody once a round, beginning with another one each time."""
    begin = time.monotonic()
    for number in range(most):
        if number >= least and time.monotonic() - begin > seconds:
            return
        first = number % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            contender.cpu_s.append(cpu_s(contender.call))


def row(contender: Contender, baseline: Contender, size: Size) -> dict[str, object]:
    """One line of the results; the baseline is the peer of this process."""
    own = np.array(contender.cpu_s)
    ratios = np.array(baseline.cpu_s) / own
    low, middle, high = (float(value) for value in np.percentile(own * 1e3, (5, 50, 95)))
    giga_macs = size.n_macs / middle / 1e6
    bits = contender.bits
    return {
        "peer": baseline.name,
        "n_prototypes": size.n_prototypes,
        "n_tokens": size.n_tokens,
        "n_dims": size.n_dims,
        "who": contender.who,
        "name": contender.name,
        "bits": bits,
        "kind": contender.kind,
        "cpu_ms": round(middle, 4),
        "cpu_ms_p5_p95": [round(low, 4), round(high, 4)],
        "n": len(own),
        "peer_time_over_own": round(float(np.median(ratios)), 3),
        "peer_time_over_own_p5_p95": [round(float(v), 3) for v in np.percentile(ratios, (5, 95))],
        "error": contender.error,
        "exact": contender.exact,
        "weight_bytes": contender.weight_bytes,
        "peak_bytes": contender.first.peak_bytes,
        "peak_by": contender.first.peak_by,
        "gmac_s": round(giga_macs, 2),
        "gbit_op_s": None if bits == "float" else round(giga_macs * bits, 2),
    }


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.argv[1])
    peer, size = peers.find(request["peer"]), Size(*request["size"])
    problem = Problem(size)
    contenders = [the_peer(peer, problem)]
    all_of_them = peer is peers.BASELINE and size.n_prototypes <= ALL_UP_TO
    for bits in OUR_BITS if peer.bits != 1 else (1,):
        contenders += ours(problem, bits, "float32" in peer.name, all_of_them)
    take_turns(contenders, request["seconds"], request["least"], request["most"])
    print(json.dumps([row(contender, contenders[0], size) for contender in contenders]))


if __name__ == "__main__":
    main()
