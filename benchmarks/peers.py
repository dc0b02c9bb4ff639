"""The libraries we are measured against, each given the problem in the form that suits it.

A peer's call is timed with its weights and tokens already in its own layout and type; how its
result becomes prototype scores is written here and checked before anything is timed. Each peer
runs in a process of its own: importing several of them into one crashes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import peers_onnx
from numpy.typing import NDArray
from prepared import Prepared, as_scores
from problem import Problem, Size

from edge_probe.spec import TokenBits


@dataclass(frozen=True)
class Peer:
    """One way of a library to match prototypes and tokens."""

    name: str
    module: str
    """What must be installed."""
    bits: TokenBits
    """Tokens it takes: float, 8 for uint8 or int8 digits, 1 for packed signs."""
    tolerance: float
    """Largest error of a score; 0 demands equal bits."""
    prepare: Callable[[Problem], Prepared]
    bytes_per_weight: int
    """Held at once while the weights are prepared, estimated; decides what is skipped."""
    bytes_per_score: int = 8
    """Held at once of each [M, T] element during a call, estimated."""
    uses_amx: bool = False
    """Whether it is known to use AMX where the CPU has it."""

    @property
    def is_installed(self) -> bool:
        """Whether its packages are here, found without importing them."""
        needed = [self.module, *(["onnx"] if self.module == "onnxruntime" else [])]
        return all(find_spec(module) is not None for module in needed)

    def estimated_bytes(self, size: Size) -> int:
        """Memory that a measurement needs."""
        scores = size.n_prototypes * size.n_tokens
        weights = size.n_prototypes * size.n_dims
        return weights * self.bytes_per_weight + scores * self.bytes_per_score


def _numpy_float32(problem: Problem) -> Prepared:
    dense, tokens = problem.signs.astype(np.float32), problem.unit_tokens
    return Prepared(lambda: np.max(dense @ tokens.T, axis=1), as_scores, dense.nbytes)


def _torch_float(type_name: str) -> Callable[[Problem], Prepared]:
    def prepare(problem: Problem) -> Prepared:
        torch = import_module("torch")
        torch.set_num_threads(1)
        dtype = getattr(torch, type_name)
        dense = torch.from_numpy(problem.signs).to(dtype)
        tokens = torch.from_numpy(problem.unit_tokens).to(dtype)
        return Prepared(
            lambda: (dense @ tokens.T).amax(1),
            lambda result: as_scores(result.float().numpy()),
            dense.nbytes,
        )

    return prepare


@dataclass(frozen=True)
class _Int8Form:
    """With v = 2u - 255 and i = u - 128, ``K = 2 (p·i + sum p / 2)``; s_t is doubled instead."""

    weights: NDArray[np.int8]
    """(M, D) ±1."""
    half_sums: NDArray[np.int32]
    """(M, 1); D is even."""
    tokens: NDArray[np.int8]
    """(T, D)"""
    scale: NDArray[np.float32]
    """(T,)"""

    @classmethod
    def of(cls, problem: Problem) -> "_Int8Form":
        digits, signs = problem.digits(8), problem.signs
        half_sums = signs.sum(axis=1, dtype=np.int32, keepdims=True) // 2
        tokens = (digits.values.astype(np.uint8, copy=False) ^ np.uint8(128)).view(np.int8)
        return cls(signs, half_sums, tokens, digits.scale * np.float32(2))


def _torch_int8(problem: Problem) -> Prepared:
    torch = import_module("torch")
    torch.set_num_threads(1)
    form = _Int8Form.of(problem)
    weights, tokens = torch.from_numpy(form.weights), torch.from_numpy(form.tokens).T
    half_sums, scale = torch.from_numpy(form.half_sums), torch.from_numpy(form.scale)
    return Prepared(
        lambda: torch._int_mm(weights, tokens).add_(half_sums).mul(scale).amax(1),
        lambda result: as_scores(result.numpy()),
        form.weights.nbytes,
    )


def _numkong_int8(problem: Problem) -> Prepared:
    numkong = import_module("numkong")
    form = _Int8Form.of(problem)
    tokens = numkong.dots_pack(form.tokens)

    def call() -> NDArray[np.float32]:
        sums = np.asarray(numkong.dots_packed(form.weights, tokens))
        sums += form.half_sums
        scores = sums.astype(np.float32)
        scores *= form.scale
        best: NDArray[np.float32] = scores.max(axis=1)
        return best

    return Prepared(call, as_scores, form.weights.nbytes)


def _from_distances(distances: NDArray[Any], problem: Problem) -> NDArray[np.float32]:
    """Smallest Hamming distance of each prototype -> ``s (D - 2 d)``; s is that of any token."""
    sums = problem.size.n_dims - 2 * distances.reshape(-1).astype(np.int64)
    scores: NDArray[np.float32] = sums.astype(np.float32) * problem.digits(1).scale[0]
    return scores


def _faiss(use_heap: bool) -> Callable[[Problem], Prepared]:
    """The tokens are the index and the prototypes ask for their nearest neighbour."""

    def prepare(problem: Problem) -> Prepared:
        faiss = import_module("faiss")
        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(problem.size.n_dims)
        index.use_heap = use_heap
        index.add(problem.packed_tokens)
        packed = problem.packed
        return Prepared(
            lambda: index.search(packed, 1),
            lambda result: _from_distances(result[0], problem),
            packed.nbytes,
            lambda result: np.asarray(result[1]).reshape(-1),
        )

    return prepare


def _numkong_hamming(problem: Problem) -> Prepared:
    numkong = import_module("numkong")
    tokens, packed = numkong.hammings_pack(problem.packed_tokens), problem.packed
    return Prepared(
        lambda: np.asarray(numkong.hammings_packed(packed, tokens)).min(axis=1),
        lambda result: _from_distances(result, problem),
        packed.nbytes,
    )


def _simsimd(problem: Problem) -> Prepared:
    """Distances as float32: uint32 measured the same, the default float64 slower."""
    simsimd = import_module("simsimd")
    tokens, packed = problem.packed_tokens, problem.packed
    options = {"metric": "hamming", "dtype": "bin8", "out_dtype": "float32", "threads": 1}
    return Prepared(
        lambda: np.asarray(simsimd.cdist(packed, tokens, **options)).min(axis=1),
        lambda result: _from_distances(result, problem),
        packed.nbytes,
    )


def _usearch(problem: Problem) -> Prepared:
    usearch = import_module("usearch.index")
    tokens, packed = problem.packed_tokens, problem.packed
    options = {"exact": True, "threads": 1, "dtype": "b1"}
    metric = usearch.MetricKind.Hamming
    return Prepared(
        lambda: usearch.search(tokens, packed, 1, metric, **options),
        lambda result: _from_distances(result.distances, problem),
        packed.nbytes,
        lambda result: np.asarray(result.keys).reshape(-1).astype(np.int64),
    )


_FLOAT32, _BFLOAT16, _INT8_INSIDE = 2e-6, 2e-2, 2e-2
"""Allowed errors of scores: rounding of float32, of bfloat16, of int8 tokens inside a peer."""

PEERS = (
    Peer("numpy float32", "numpy", "float", _FLOAT32, _numpy_float32, 8),
    Peer("onnxruntime MatMul float32", "onnxruntime", "float", _FLOAT32, peers_onnx.float32, 20),
    Peer("torch float32", "torch", "float", _FLOAT32, _torch_float("float32"), 8),
    Peer(
        "torch bfloat16", "torch", "float", _BFLOAT16, _torch_float("bfloat16"), 8, uses_amx=True
    ),
    *(
        Peer(
            f"onnxruntime MatMulNBits {width}-bit accuracy_level {level}", "onnxruntime", "float",
            _INT8_INSIDE if level else _FLOAT32, peers_onnx.n_bits(width, level), 8,
        )
        for width in (4, 2)
        for level in (0, 4)
    ),
    Peer(
        "onnxruntime MatMulInteger", "onnxruntime", 8, 0, peers_onnx.integer, 8, 16, uses_amx=True
    ),
    Peer("torch int8", "torch", 8, 0, _torch_int8, 4, uses_amx=True),
    Peer("numkong dots_packed int8", "numkong", 8, 0, _numkong_int8, 4, 12, uses_amx=True),
    Peer("faiss IndexBinaryFlat heap", "faiss", 1, 0, _faiss(True), 1),
    Peer("faiss IndexBinaryFlat counting", "faiss", 1, 0, _faiss(False), 1),
    Peer("numkong hammings_packed", "numkong", 1, 0, _numkong_hamming, 1),
    Peer("simsimd cdist hamming", "simsimd", 1, 0, _simsimd, 1),
    Peer("usearch exact hamming", "usearch", 1, 0, _usearch, 1),
)  # fmt: skip

BASELINE = PEERS[0]
"""The peer in whose process every kernel of ours is timed, however slow."""


def find(name: str) -> Peer:
    """The peer of that name."""
    return next(peer for peer in PEERS if peer.name == name)
