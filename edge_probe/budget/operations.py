"""What an encoder has to compute for a chunk, counted from the shapes of one run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from edge_probe.errors import EncoderError

Arithmetic = Literal["float", "depthwise", "integer"]

_MATRIX = {  # where the two factors stand among the inputs
    "MatMul": (0, 1), "FusedMatMul": (0, 1), "TransposeMatMul": (0, 1), "Gemm": (0, 1),
    "FusedGemm": (0, 1), "FusedMatMulActivation": (0, 1), "MatMulInteger": (0, 1),
    "DynamicQuantizeMatMul": (0, 1), "MatMulIntegerToFloat": (0, 1), "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
}  # fmt: skip
_CONVOLUTION = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Where the kernel stands among the inputs."""

_INTEGER = frozenset({
    "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm",
    "ConvInteger", "QLinearConv", "QAttention", "DynamicQuantizeLSTM",
})  # fmt: skip

_ATTENTION = frozenset({"MultiHeadAttention"})
_PROJECTED_ATTENTION = frozenset({"Attention", "QAttention"})
_RECURRENT = frozenset({"GRU", "LSTM", "RNN", "DynamicQuantizeLSTM"})

_UNKNOWN = frozenset({"Einsum"})
"""Shapes do not tell what these multiply."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One node of the graph."""

    operator: str
    arithmetic: Arithmetic
    n_macs: int
    """Multiplications with an addition; 0 for what only moves or maps numbers."""
    moved_bytes: int
    """Read and written if nothing stays in a cache."""


Shape = Sequence[int]


def operations(nodes: Sequence[Mapping[str, Any]]) -> list[Operation]:
    """Count each node that ran.

    Parameters
    ----------
    nodes : sequence of mapping
        Of `edge_probe.encoder.profile_nodes`.

    Raises
    ------
    EncoderError
        A node whose work cannot be told from shapes.
    """
    return [_operation(node) for node in nodes]


def _operation(node: Mapping[str, Any]) -> Operation:
    operator = str(node["op_name"])
    inputs = [_shape(entry) for entry in node["input_type_shape"]]
    outputs = [_shape(entry) for entry in node["output_type_shape"]]
    moved = sum(int(node[key]) for key in ("activation_size", "parameter_size", "output_size"))
    arithmetic: Arithmetic = "integer" if operator in _INTEGER else "float"
    if operator in _CONVOLUTION and _is_depthwise(inputs[_CONVOLUTION[operator]], inputs[0]):
        arithmetic = "depthwise"
    return Operation(operator, arithmetic, _macs(operator, inputs, outputs), moved)


def _macs(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    if operator in _UNKNOWN:
        raise EncoderError(
            f"the work of {operator} cannot be told from its shapes",
            hint="measure it where it will run: edge-probe bench BUNDLE",
        )
    if operator in _MATRIX:
        left, _ = _MATRIX[operator]
        return prod(outputs[0]) * _summed(inputs[left], outputs[0])
    if operator in _CONVOLUTION:
        return prod(outputs[0]) * prod(inputs[_CONVOLUTION[operator]][1:])
    if operator == "ConvTranspose":
        return prod(inputs[0]) * prod(inputs[1][1:])
    if operator in _RECURRENT:
        n_steps, n_batch = inputs[0][0], inputs[0][1]
        return n_steps * n_batch * (prod(inputs[1]) + prod(inputs[2]))
    if operator in _ATTENTION or operator in _PROJECTED_ATTENTION:
        return _attention(operator, inputs, outputs)
    return 0


def _summed(left: Shape, out: Shape) -> int:
    """K of (M, K) x (K, N), whichever way round the left factor is stored."""
    if len(left) < 2 or len(out) < 2:
        return left[-1]
    return left[-1] * left[-2] // out[-2]


def _attention(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Queries times keys, and what comes of it times values; with or without projections."""
    query = inputs[0]
    if operator in _PROJECTED_ATTENTION and len(inputs[1]) == 2:  # weights of com.microsoft
        n_batch, n_tokens, _ = query
        return n_batch * n_tokens * prod(inputs[1]) + 2 * n_tokens * prod(outputs[0])
    n_keys = inputs[1][-2]
    return n_keys * (prod(query) + prod(outputs[0]))


def _is_depthwise(kernel: Shape, data: Shape) -> bool:
    """Each channel by itself: little arithmetic for what it moves."""
    return len(kernel) > 2 and kernel[1] == 1 and data[1] > 1


def _shape(entry: Mapping[str, Sequence[int]]) -> Shape:
    """Of ``{"float": [1, 2]}``; an input that is left out has none."""
    return next(iter(entry.values()), ())
