"""The linear layer of a head in standard ONNX operators: int8 weights give the bits of NumPy."""

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, helper

from edge_probe.head.linear import (
    SCORE_BITS,
    FloatLinear,
    Int8Linear,
    Linear,
    SparseInt8Linear,
)
from export.nodes import Nodes

_BLOCK_WEIGHTS = 1 << 18
"""Weights held as float64 at a time: 2 MiB."""


def add_linear(graph: Nodes, linear: Linear, inputs: str) -> str:
    """Logits (C,) float64 of (M,) inputs.

    Parameters
    ----------
    graph : Nodes
    linear : Linear
    inputs : str
        Name of the (M,) scores or mean token.

    Returns
    -------
    str
        Name of the logits.
    """
    if isinstance(linear, FloatLinear):
        sums = _dense_sums(graph, linear, inputs)
        return graph.add("Add", sums, graph.constant(linear.bias))
    grid = graph.add("Mul", inputs, graph.constant(np.float32(2**SCORE_BITS)))
    integers = graph.add("Round", grid)
    dense = isinstance(linear, Int8Linear)
    sums = (_dense_sums if dense else _own_sums)(graph, linear, integers)
    scaled = graph.add("Mul", sums, graph.constant(linear.scale * 2.0**-SCORE_BITS))
    return graph.add("Add", scaled, graph.constant(linear.bias))


def _own_sums(graph: Nodes, linear: Linear, inputs: str) -> str:
    """Each class on its own prototypes; sums of integers, exact in float64."""
    wide = graph.add("Cast", inputs, to=TensorProto.DOUBLE)
    if isinstance(linear, SparseInt8Linear):
        own = graph.add("Gather", wide, graph.constant(linear.columns))
    else:
        own = graph.add("Reshape", wide, graph.constant(list(linear.weights.shape)))
    weights = graph.add("Cast", graph.constant(linear.weights), to=TensorProto.DOUBLE)
    product = graph.add("Mul", own, weights)
    return graph.add("ReduceSum", product, graph.constant([1]), keepdims=0)


def _dense_sums(graph: Nodes, linear: Linear, inputs: str) -> str:
    """All classes on all inputs, some classes at a time."""
    wide = graph.add("Cast", inputs, to=TensorProto.DOUBLE)
    blocks = _class_blocks(linear)
    body = _linear_body(blocks, wide)
    product = graph.add("Scan", graph.constant(blocks), num_scan_inputs=1, body=body)
    flat = graph.add("Reshape", product, graph.constant([-1]))
    return graph.add("Slice", flat, graph.constant([0]), graph.constant([len(linear.bias)]))


def _class_blocks(linear: Linear) -> NDArray[np.int8] | NDArray[np.float32]:
    """Rows of weights in equal blocks, zeros at the end: (n_blocks, rows, M)."""
    n_classes, n_inputs = linear.weights.shape
    n_blocks = -(-n_classes // max(1, _BLOCK_WEIGHTS // n_inputs))
    n_rows = -(-n_classes // n_blocks)
    padded = np.zeros((n_blocks * n_rows, n_inputs), linear.weights.dtype)
    padded[:n_classes] = linear.weights
    return padded.reshape(n_blocks, n_rows, n_inputs)


def _linear_body(blocks: NDArray[np.int8] | NDArray[np.float32], inputs: str) -> GraphProto:
    """One block: weights (rows, M) -> products (rows,); float64 is exact for int8 weights."""
    _, n_rows, n_inputs = blocks.shape
    body = Nodes("head/linear/")
    wide = body.add("Cast", "head/weights", to=TensorProto.DOUBLE)
    body.call(body.add("MatMul", wide, inputs), "head/product")
    kind = helper.np_dtype_to_tensor_dtype(blocks.dtype)
    weights = helper.make_tensor_value_info("head/weights", kind, [n_rows, n_inputs])
    product = helper.make_tensor_value_info("head/product", TensorProto.DOUBLE, [n_rows])
    return helper.make_graph(body.nodes, "linear", [weights], [product], body.constants)
