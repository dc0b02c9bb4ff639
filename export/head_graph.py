"""The head in standard ONNX operators: equal to the bit where the contract is equality.

    tokens ─► quantiser ─► digits, scale ─► Scan over blocks of prototypes ─► scores
                                            Scan over blocks of classes ───► logits

Packed prototypes and int8 weights are widened inside a Scan: outside of one, onnxruntime folds
them to dense float tensors when it loads the model. ONNX has no popcount; XNOR and a table were
57 times slower than signs in int8 and MatMulInteger (kernels.md section 4 of the project's notes).
"""

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from edge_probe.head import Head, MeanLinearHead, ProtobinHead, ProtofloatHead, PrototypeHead
from edge_probe.head.packing import unpack_signs
from edge_probe.head.quantize import STEP_RMS
from export.linear_graph import add_linear
from export.nodes import Nodes

HEAD_OPSET, HEAD_IR_VERSION = 18, 8
"""The oldest that has every operator in use (BitwiseAnd came with opset 18)."""

_BLOCK = 64
"""Prototypes unpacked at a time: 64 x 768 int8 and 512 x 64 int32 stay in the L2 cache."""

_LOWEST = -149
_N_POWERS = 277
"""2^-149 .. 2^127: every power of two of float32."""


def add_head(graph: Nodes, head: Head, tokens: str) -> None:
    """From tokens to ``scores`` (not of a mean-linear head) and ``logits``.

    Parameters
    ----------
    graph : Nodes
    head : Head
    tokens : str
        Name of the (T, D) float32 tokens, all of them valid.
    """
    if isinstance(head, MeanLinearHead):
        wide = graph.add("Cast", tokens, to=TensorProto.DOUBLE)
        mean = graph.add("ReduceMean", wide, graph.constant([0]), keepdims=0)
        graph.call(add_linear(graph, head.linear, mean), "logits")
        return
    scores = _scores(graph, head, *_digits(graph, head, tokens))
    graph.call(scores, "scores")
    graph.call(add_linear(graph, head.linear, scores), "logits")


def head_outputs(head: Head) -> list[ValueInfoProto]:
    """Declarations of what `add_head` gives."""
    logits = helper.make_tensor_value_info("logits", TensorProto.DOUBLE, [head.n_classes])
    if isinstance(head, MeanLinearHead):
        return [logits]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [head.n_prototypes])
    return [logits, scores]


def head_model(head: Head) -> ModelProto:
    """The head alone: ``tokens`` (T, D) float32 in, the outputs of `add_head` out; any T >= 1.

    Opset 18, IR version 8.
    """
    graph = Nodes()
    add_head(graph, head, "tokens")
    return _model(graph, [_tokens_info(head)], head_outputs(head))


def digits_model(head: PrototypeHead) -> ModelProto:
    """The quantiser: ``tokens`` (T, D) float32 in, ``digits`` (T, R D), ``scale`` (T, 1) out."""
    graph = Nodes()
    digits, scale = _digits(graph, head, "tokens")
    graph.call(digits, "digits")
    graph.call(scale, "scale")
    return _model(graph, [_tokens_info(head)], _digits_infos(head))


def scores_model(head: PrototypeHead) -> ModelProto:
    """The matching: ``digits`` (T, R D) and ``scale`` (T, 1) in, ``scores`` (M,) float32 out."""
    graph = Nodes()
    graph.call(_scores(graph, head, "digits", "scale"), "scores")
    return _model(graph, _digits_infos(head), head_outputs(head)[1:])


def logits_model(head: PrototypeHead) -> ModelProto:
    """The linear layer: ``scores`` (M,) float32 in, ``logits`` (C,) float64 out."""
    graph = Nodes()
    graph.call(add_linear(graph, head.linear, "scores"), "logits")
    logits, scores = head_outputs(head)
    return _model(graph, [scores], [logits])


def _model(graph: Nodes, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
    return helper.make_model(
        helper.make_graph(graph.nodes, "head", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", HEAD_OPSET)],
        ir_version=HEAD_IR_VERSION,
        producer_name="edge-probe",
    )


def _tokens_info(head: Head) -> ValueInfoProto:
    return helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["T", head.n_token_dims])


def _digits_infos(head: PrototypeHead) -> list[ValueInfoProto]:
    kind = TensorProto.FLOAT if head.bits == "float" else TensorProto.UINT8
    return [
        helper.make_tensor_value_info("digits", kind, ["T", head.n_dims]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["T", 1]),
    ]


def _digits(graph: Nodes, head: PrototypeHead, tokens: str) -> tuple[str, str]:
    """`edge_probe.head.quantize.quantize`, operation by operation: (T, R D) and (T, 1)."""
    if head.n_thresholds > 1:
        tokens = graph.add("Concat", *[tokens] * head.n_thresholds, axis=1)
    centred = graph.add("Sub", tokens, graph.constant(head.offset))
    rows = graph.constant([1])
    largest = graph.add("ReduceMax", graph.add("Abs", centred), rows, keepdims=1)
    alive = graph.add("Greater", largest, graph.constant(np.float32(0)))
    if head.bits == 1:
        positive = graph.add("GreaterOrEqual", centred, graph.constant(np.float32(0)))
        norm = graph.constant(np.float64(head.n_dims))
        return graph.add("Cast", positive, to=TensorProto.UINT8), _scale(graph, head, norm, alive)
    if head.bits == "float":
        values = _scaled(graph, centred, largest, 0)
        wide = graph.add("Cast", values, to=TensorProto.DOUBLE)
        norm = graph.add("ReduceSumSquare", wide, rows, keepdims=1)
        return values, _scale(graph, head, norm, alive)
    level = _levels(graph, head.bits, _scaled(graph, centred, largest, 15), head.n_dims)
    doubled = graph.add("Mul", level, graph.constant(np.float32(2)))
    signed = graph.add("Sub", doubled, graph.constant(np.float32(2**head.bits - 1)))
    wide = graph.add("Cast", signed, to=TensorProto.DOUBLE)
    norm = graph.add("ReduceSumSquare", wide, rows, keepdims=1)  # integers below 2^53: exact
    return graph.add("Cast", level, to=TensorProto.UINT8), _scale(graph, head, norm, alive)


def _scaled(graph: Nodes, centred: str, largest: str, top: int) -> str:
    """Times the power of two that brings each token's maximum into [2^(top-1), 2^top).

    The power is found by counting those that are not above the maximum, and applied in two
    halves, because one float32 cannot hold it for the smallest and the largest tokens.
    """
    one = np.float32(1)
    powers = np.ldexp(one, np.arange(_LOWEST, _LOWEST + _N_POWERS)).astype(np.float32)
    reached = graph.add("GreaterOrEqual", largest, graph.constant(powers))
    ones = graph.add("Cast", reached, to=TensorProto.INT32)
    count = graph.add("ReduceSum", ones, graph.constant([1]), keepdims=1)
    shift = top - (np.arange(_N_POWERS + 1) + _LOWEST)
    first = shift // 2
    halves = (np.ldexp(one, half).astype(np.float32) for half in (first, shift - first))
    for half in halves:
        factor = graph.add("Gather", graph.constant(half), count)
        centred = graph.add("Mul", centred, factor)
    return centred


def _levels(graph: Nodes, bits: int, scaled: str, n_dims: int) -> str:
    """Digits ``u`` as float32, from the mean square of the 16-bit grid."""
    grid = graph.add("Round", scaled)
    wide = graph.add("Cast", grid, to=TensorProto.DOUBLE)
    squares = graph.add("ReduceSumSquare", wide, graph.constant([1]), keepdims=1)
    mean_square = graph.add("Div", squares, graph.constant(np.float64(n_dims)))
    step = graph.add("Mul", graph.add("Sqrt", mean_square), graph.constant(STEP_RMS[bits]))
    zero = graph.constant(np.float64(0))
    inverse = graph.add("Div", graph.constant(np.float64(1)), step)
    finite = graph.add("Where", graph.add("Greater", step, zero), inverse, zero)
    per_step = graph.add("Cast", finite, to=TensorProto.FLOAT)
    level = graph.add("Floor", graph.add("Mul", grid, per_step))
    shifted = graph.add("Add", level, graph.constant(np.float32(2 ** (bits - 1))))
    top = graph.constant(np.float32(2**bits - 1))
    return graph.add("Clip", shifted, graph.constant(np.float32(0)), top)


def _scale(graph: Nodes, head: PrototypeHead, norm: str, alive: str) -> str:
    """``float32(1 / sqrt(D * N_t))`` in float64, 0 for tokens that equal the offset."""
    product = graph.add("Mul", norm, graph.constant(np.float64(head.n_dims)))
    inverse = graph.add("Div", graph.constant(np.float64(1)), graph.add("Sqrt", product))
    scale = graph.add("Where", alive, inverse, graph.constant(np.float64(0)))
    return graph.add("Cast", scale, to=TensorProto.FLOAT)


def _scores(graph: Nodes, head: PrototypeHead, digits: str, scale: str) -> str:
    """Maximum over tokens of the score, a block of prototypes at a time: (M,)."""
    if isinstance(head, ProtofloatHead):
        best = _float_maxima(graph, head, digits, scale)
    else:
        assert isinstance(head, ProtobinHead)  # noqa: S101  there are no other kinds
        best = _bit_maxima(graph, head, digits, scale)
    flat = graph.add("Reshape", best, graph.constant([-1]))
    kept = graph.add("Slice", flat, graph.constant([0]), graph.constant([head.n_prototypes]))
    if isinstance(head, ProtofloatHead) and head.floor_at_zero:
        kept = graph.add("Relu", kept)
    # The contract is +0.0 for the product of 0 and a negative K; adding zero is optimised away.
    zero = graph.constant(np.float32(0))
    return graph.add("Where", graph.add("Equal", kept, zero), zero, kept)


def _float_maxima(graph: Nodes, head: ProtofloatHead, digits: str, scale: str) -> str:
    """`edge_probe.head.gemm.max_cosines` in blocks: (n_blocks, block)."""
    n_blocks = -(-head.n_prototypes // _BLOCK)
    n_rows = -(-head.n_prototypes // n_blocks)
    rows = np.zeros((n_blocks * n_rows, head.n_dims), np.float32)
    rows[: head.n_prototypes] = head.prototypes
    blocks = rows.reshape(n_blocks, n_rows, head.n_dims).transpose(0, 2, 1)
    length = graph.constant(np.float32(np.sqrt(head.n_dims)))
    stretched = graph.add("Mul", scale, length)
    body = Nodes("head/matching/")
    _call_best(body, body.add("MatMul", digits, "head/block"), stretched)
    block = helper.make_tensor_value_info("head/block", TensorProto.FLOAT, [head.n_dims, n_rows])
    matching = _matching(body, [block], n_rows)
    constant = graph.constant(np.ascontiguousarray(blocks))
    return graph.add("Scan", constant, num_scan_inputs=1, body=matching)


def _bit_maxima(graph: Nodes, head: ProtobinHead, digits: str, scale: str) -> str:
    """Maximum over tokens of ``s_t float32(K)`` in blocks: (n_blocks, block)."""
    packed, sums = _blocks(head)
    level = (2 ** int(head.bits) - 1) * sums if head.bits != "float" else None
    inputs = [packed] if level is None else [packed, level]
    body = _matching_body(head, digits, scale, block=sums.shape[1])
    names = [graph.constant(each) for each in inputs]
    return graph.add("Scan", *names, num_scan_inputs=len(names), body=body)


def _blocks(head: ProtobinHead) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Prototypes in blocks of some 64, packed along M, and the sum of each one's signs.

    Returns
    -------
    packed : (n_blocks, D, block / 8) uint8
        Little bit order; the last block is filled up with all -1.
    sums : (n_blocks, block) int32
    """
    n_blocks = -(-head.n_prototypes // _BLOCK)
    n_bytes = -(-head.n_prototypes // (8 * n_blocks))
    signs = np.full((n_blocks * n_bytes * 8, head.n_dims), -1, np.int8)
    signs[: head.n_prototypes] = unpack_signs(head.prototypes, head.n_dims)
    blocks = signs.reshape(n_blocks, n_bytes * 8, head.n_dims)
    packed = np.packbits(blocks.transpose(0, 2, 1) > 0, axis=2, bitorder="little")
    return packed, blocks.sum(axis=2, dtype=np.int32)


def _matching_body(head: ProtobinHead, digits: str, scale: str, block: int) -> GraphProto:
    """One block: packed (D, block / 8) and, for integer digits, level (block,) -> best (block,).

    ``K = sum_d (2 p_d) u_d - (2^B - 1) sum_d p_d``; ±2 in int8 saves the doubling of K.
    """
    floats = head.bits == "float"
    # onnxruntime 1.18 has no Where for int8. Cast from uint8 is defined to wrap 254 to -2.
    plus, minus = (np.float32(1), np.float32(-1)) if floats else (np.uint8(2), np.uint8(254))
    body = Nodes("head/matching/")
    columns = body.add("Unsqueeze", "head/packed", body.constant([2]))
    masks = body.constant(np.uint8(1) << np.arange(8, dtype=np.uint8))
    isset = body.add("Cast", body.add("BitwiseAnd", columns, masks), to=TensorProto.BOOL)
    signs = body.add("Where", isset, body.constant(plus), body.constant(minus))
    weights = body.add("Reshape", signs, body.constant([head.n_dims, block]))
    packed = helper.make_tensor_value_info(
        "head/packed", TensorProto.UINT8, [head.n_dims, block // 8]
    )
    level = helper.make_tensor_value_info("head/level", TensorProto.INT32, [block])
    if floats:
        sums = body.add("MatMul", digits, weights)
    else:
        weights = body.add("Cast", weights, to=TensorProto.INT8)
        doubled = body.add("MatMulInteger", digits, weights)
        integers = body.add("Sub", doubled, "head/level")
        sums = body.add("Cast", integers, to=TensorProto.FLOAT)
    _call_best(body, sums, scale)
    return _matching(body, [packed] if floats else [packed, level], block)


def _call_best(body: Nodes, sums: str, scale: str) -> None:
    """Sums (T, block) and scale (T, 1) -> ``head/best`` (block,), the best score of each."""
    scores = body.add("Mul", sums, scale)
    body.call(body.add("ReduceMax", scores, body.constant([0]), keepdims=0), "head/best")


def _matching(body: Nodes, inputs: list[ValueInfoProto], block: int) -> GraphProto:
    best = helper.make_tensor_value_info("head/best", TensorProto.FLOAT, [block])
    return helper.make_graph(body.nodes, "matching", inputs, [best], body.constants)
