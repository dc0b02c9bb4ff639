"""Peers inside onnxruntime: graphs of one product and one maximum, weights constant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from prepared import Prepared, as_scores
from problem import Problem

Node = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, output, attributes."""

_BLOCK = 64
"""Weights that share one scale in MatMulNBits."""


def float32(problem: Problem) -> Prepared:
    """``ReduceMax(MatMul(tokens, P^T))``."""
    weights = np.ascontiguousarray(problem.signs.T).astype(np.float32)
    nodes: list[Node] = [("MatMul", ["tokens", "weights"], "scores", {})]
    return _prepared(nodes, {"weights": weights}, {"tokens": problem.unit_tokens}, weights.nbytes)


def integer(problem: Problem) -> Prepared:
    """uint8 digits times int8 ±1: ``K = 2 (p·(u - 128) + sum p / 2)``; s_t is doubled instead."""
    digits = problem.digits(8)
    signs = problem.signs
    weights = np.ascontiguousarray(signs.T)
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "zero": np.array(128, np.uint8),
        "half_sums": signs.sum(axis=1, dtype=np.float32) / 2,
    }
    nodes: list[Node] = [
        ("MatMulInteger", ["digits", "weights", "zero"], "product", {}),
        ("Cast", ["product"], "real", {"to": 1}),
        ("Add", ["real", "half_sums"], "sums", {}),
        ("Mul", ["sums", "scale"], "scores", {}),
    ]
    inputs: dict[str, NDArray[Any]] = {
        "digits": digits.values,
        "scale": digits.scale[:, None] * np.float32(2),
    }
    return _prepared(nodes, constants, inputs, weights.nbytes)


def n_bits(width: int, accuracy_level: int) -> Callable[[Problem], Prepared]:
    """MatMulNBits: ±1 as ``width``-bit integers around its default zero point, scale 1."""

    def prepare(problem: Problem) -> Prepared:
        n_prototypes, n_dims = problem.size.n_prototypes, problem.size.n_dims
        weights = _packed_integers(problem.signs, width)
        scales = np.ones(n_prototypes * (n_dims // _BLOCK), np.float32)
        attributes = {
            "K": n_dims, "N": n_prototypes, "bits": width, "block_size": _BLOCK,
            "accuracy_level": accuracy_level, "domain": "com.microsoft",
        }  # fmt: skip
        nodes: list[Node] = [("MatMulNBits", ["tokens", "weights", "scales"], "scores", attributes)]
        constants: dict[str, NDArray[Any]] = {"weights": weights, "scales": scales}
        inputs = {"tokens": problem.unit_tokens}
        return _prepared(nodes, constants, inputs, weights.nbytes + scales.nbytes)

    return prepare


def _packed_integers(signs: NDArray[np.int8], width: int) -> NDArray[np.uint8]:
    """±1 -> (M, D / 64, 64 width / 8) bytes, the first weight in the lowest bits."""
    levels = (signs + np.int8(2 ** (width - 1))).view(np.uint8)
    per_byte = 8 // width
    weights = np.zeros((len(signs), signs.shape[1] // per_byte), np.uint8)
    for position in range(per_byte):
        weights |= levels[:, position::per_byte] << np.uint8(width * position)
    return weights.reshape(len(signs), signs.shape[1] // _BLOCK, -1)


def _prepared(
    nodes: list[Node],
    constants: dict[str, NDArray[Any]],
    inputs: dict[str, NDArray[Any]],
    weight_bytes: int,
) -> Prepared:
    """A session that ends in the maximum of ``scores`` (T, M) over the tokens."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {**constants, "axis": np.array([0])}
    graph = helper.make_graph(
        [helper.make_node(kind, names, [out], **more) for kind, names, out, more in nodes]
        + [helper.make_node("ReduceMax", ["scores", "axis"], ["best"], keepdims=0)],
        "peer",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in inputs.items()
        ],
        [helper.make_tensor_value_info("best", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Prepared(
        lambda: session.run(None, inputs), lambda best: as_scores(best[0]), weight_bytes
    )
