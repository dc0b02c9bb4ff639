"""What the nodes of a graph tell: which values there are, and where they come from."""

from collections.abc import Iterator

import onnx
from onnx import NodeProto, TensorProto

from edge_probe.errors import EncoderError

_KEEPS_AXES = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div",
    "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "PRelu", "Pad", "Pow", "QuantizeLinear", "Relu",
    "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Swish", "Tanh",
})  # fmt: skip
"""Operators whose output has the axes of their first input."""

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "QLinearConv", "FusedConv"})


def producers(model: onnx.ModelProto) -> dict[str, NodeProto]:
    """The node that makes each value."""
    return {name: node for node in model.graph.node for name in node.output if name}


def value_of(model: onnx.ModelProto, node: str) -> str:
    """The value that a name stands for: a value, or the first output of a node.

    Raises
    ------
    EncoderError
        The graph has neither.
    """
    made = producers(model)
    if node in made:
        return node
    for candidate in model.graph.node:
        if node and candidate.name == node:
            return str(candidate.output[0])
    close = [name for name in made if node.casefold() in name.casefold()][:5]
    near = f"; there is {', '.join(close)}" if close else ""
    raise EncoderError(
        f"no value or node {node!r} in the graph{near}",
        hint="leave --tokens out to see the maps that the graph has",
    )


def float_maps(model: onnx.ModelProto) -> list[str]:
    """Values of type float32 and four axes, in the order in which they are computed."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    known = {
        value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.output)
    }
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if all(name in constants or not name for name in node.input):
            constants |= set(node.output)  # weights that are computed from constants
            continue
        for name in node.output:
            kind = known.get(name)
            if kind and kind.elem_type == TensorProto.FLOAT and len(kind.shape.dim) == 4:
                found.append(name)
    return found


def channel_axis(model: onnx.ModelProto, value: str) -> int | None:
    """The axis of a value that holds the channels of the convolution it comes from, if it does."""
    made = producers(model)
    axis = 1  # of the value under the present one; followed upwards through transpositions below
    order: list[list[int]] = []
    for node in _upwards(made, value):
        if node.op_type in _CONVOLUTIONS:
            for perm in reversed(order):
                axis = perm.index(axis)
            return axis
        if node.op_type == "Transpose":
            perms = [list(a.ints) for a in node.attribute if a.name == "perm"]
            if not perms:
                return None
            order.append(perms[0])
        elif node.op_type not in _KEEPS_AXES:
            return None
    return None


def _upwards(made: dict[str, NodeProto], value: str) -> Iterator[NodeProto]:
    """The node that makes a value, the one that makes its first computed input, and so on."""
    while value in made:
        yield made[value]
        value = next((name for name in made[value].input if name in made), "")


def ancestors(model: onnx.ModelProto, value: str) -> list[NodeProto]:
    """All nodes that a value depends on, in the order of the graph."""
    made, wanted, waiting = producers(model), set[str](), [value]
    while waiting:
        name = waiting.pop()
        if name in made and name not in wanted:
            wanted.add(name)
            waiting.extend(made[name].input)
    return [node for node in model.graph.node if wanted.intersection(node.output)]


def first_map(model: onnx.ModelProto, value: str) -> str | None:
    """The spectrogram: what the first convolution over two axes takes, on the way to a value."""
    shapes = known_shapes(model)
    for node in ancestors(model, value):
        if node.op_type in _CONVOLUTIONS:
            kernel = shapes.get(node.input[1], [])[2:]
            if len(kernel) == 2 and min(kernel) > 1:
                return str(node.input[0])
    return None


def known_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Shapes of constants and values, as far as they are known; 0 stands for an open size."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    return shapes | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}


def number_values(graph: onnx.GraphProto) -> None:
    """Call all values but inputs and outputs ``v0_``, ``v1_`` ..., in graphs inside it, too."""
    ends = [value.name for value in (*graph.input, *graph.output)]
    names = dict.fromkeys(("", *ends))  # "": left out
    for name in (*(one.name for one in graph.initializer), *_made_in(graph)):
        names.setdefault(name, f"v{len(names)}_")
    _rename(graph, {old: new for old, new in names.items() if new})


def _made_in(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.output
        for inner in _inner_graphs(node):
            yield from (one.name for one in (*inner.input, *inner.initializer))
            yield from _made_in(inner)


def _inner_graphs(node: NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from (attribute.g, *attribute.graphs)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for one in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        one.name = names.get(one.name, one.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in _inner_graphs(node):
            _rename(inner, names)
