"""What an encoder graph is allowed to be, checked without an ONNX library and without running it.

Field numbers are those of onnx.proto (onnx 1.16 to 1.23). Everything these versions can write is
either walked, skipped because it cannot act, or refused.
"""

from collections.abc import Mapping
from typing import NoReturn

from edge_probe.bundle.files import name_is_bare
from edge_probe.bundle.operators import ALLOWED, CPU_DEPENDENT
from edge_probe.bundle.reject import Rejection, reject, shown
from edge_probe.bundle.wire import Message, Schema, integer_of, read_message, text_of

MAX_DEPTH = 8
"""Graphs inside graphs."""

_EXTERNAL = 1

MODEL: Schema = {1: "v", 2: "b", 3: "b", 4: "b", 5: "v", 6: "b", 7: "B", 8: "b*", 14: "b*"}
MODEL |= {20: "B*", 25: "B*"}  # training_info, functions: kept to be refused
GRAPH: Schema = {1: "B*", 2: "b", 5: "B*", 10: "b", 11: "b*", 12: "b*", 13: "b*", 14: "b*"}
GRAPH |= {15: "B*", 16: "b*"}
NODE: Schema = {1: "b*", 2: "b*", 3: "b", 4: "B", 5: "B*", 6: "b", 7: "B", 8: "b", 9: "b*"}
ATTRIBUTE: Schema = {1: "b", 2: "f", 3: "v", 4: "b", 5: "B", 6: "B", 7: "f*", 8: "v*", 9: "b*"}
ATTRIBUTE |= {10: "B*", 11: "B*", 13: "b", 14: "b", 15: "b*", 20: "v", 22: "B", 23: "B*"}
TENSOR: Schema = {1: "v*", 2: "v", 3: "b", 4: "f*", 5: "v*", 6: "b*", 7: "v*", 8: "b", 9: "b"}
TENSOR |= {10: "d*", 11: "v*", 12: "b", 13: "B*", 14: "V", 16: "b*"}
SPARSE_TENSOR: Schema = {1: "B", 2: "B", 3: "v*"}
ENTRY: Schema = {1: "B", 2: "B"}


def check_graph(data: bytes, listed_bytes: Mapping[str, int]) -> set[str]:
    """Refuse a graph that is not made of allowed parts.

    Parameters
    ----------
    data : bytes
        The ONNX model, its hash already checked.
    listed_bytes : mapping of file name to size in bytes
        Files that may hold its external data.

    Returns
    -------
    set of str
        Files that do hold external data.

    Raises
    ------
    RejectedBundleError
    """
    model = read_message(memoryview(data), MODEL, "model")
    if 25 in model or 20 in model:
        reject(
            Rejection.GRAPH_FUNCTION,
            "encoder graph: holds functions or training code of its own",
            hint="inline the functions: onnx.inliner.inline_local_functions(model)",
        )
    if 7 not in model:
        reject(
            Rejection.GRAPH_PROTOBUF,
            "encoder graph: the model holds no graph",
            hint="expected an ONNX model as written by torch.onnx, tf2onnx or onnxruntime",
        )
    walk = _Walk(listed_bytes)
    walk.graph(model[7][0], 1)
    return walk.external


class _Walk:
    """Visits every node and every tensor of a graph and of the graphs inside it."""

    def __init__(self, listed_bytes: Mapping[str, int]) -> None:
        self.external: set[str] = set()
        self._listed_bytes = listed_bytes

    def graph(self, data: memoryview, depth: int) -> None:
        if depth > MAX_DEPTH:
            reject(
                Rejection.GRAPH_PROTOBUF,
                f"encoder graph: graphs are nested more than {MAX_DEPTH} deep",
                hint="export the encoder as a flat graph",
            )
        graph = read_message(data, GRAPH, "graph")
        for node in graph.get(1, ()):
            self._node(node, depth)
        for tensor in graph.get(5, ()):
            self._tensor(tensor)
        for sparse in graph.get(15, ()):
            self._sparse_tensor(sparse)

    def _node(self, data: memoryview, depth: int) -> None:
        node = read_message(data, NODE, "node")
        _check_operator(text_of(node, 7, "node"), text_of(node, 4, "node"))
        for attribute in node.get(5, ()):
            fields = read_message(attribute, ATTRIBUTE, "attribute")
            for graph in (*fields.get(6, ()), *fields.get(11, ())):
                self.graph(graph, depth + 1)
            for tensor in (*fields.get(5, ()), *fields.get(10, ())):
                self._tensor(tensor)
            for sparse in (*fields.get(22, ()), *fields.get(23, ())):
                self._sparse_tensor(sparse)

    def _sparse_tensor(self, data: memoryview) -> None:
        fields = read_message(data, SPARSE_TENSOR, "sparse tensor")
        for tensor in (*fields.get(1, ()), *fields.get(2, ())):
            self._tensor(tensor)

    def _tensor(self, data: memoryview) -> None:
        tensor = read_message(data, TENSOR, "tensor")
        is_external = integer_of(tensor, 14) == _EXTERNAL
        if not is_external and 13 not in tensor and integer_of(tensor, 14) == 0:
            return
        entries = [_entry(entry) for entry in tensor.get(13, ())]
        values = dict(entries)
        location = values.get("location", "")
        if not is_external or len(values) != len(entries) or not name_is_bare(location):
            _bad_external(f"{shown(location)} is not the bare name of a file")
        if location not in self._listed_bytes:
            _bad_external(f"{location} is not a data file that the manifest lists")
        offset, length = _size(values, "offset"), _size(values, "length")
        if offset + length > self._listed_bytes[location]:
            _bad_external(f"a tensor reaches past the end of {location}")
        self.external.add(location)


def _entry(data: memoryview) -> tuple[str, str]:
    entry: Message = read_message(data, ENTRY, "external data")
    return text_of(entry, 1, "external data"), text_of(entry, 2, "external data")


def _size(values: Mapping[str, str], key: str) -> int:
    text = values.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        _bad_external(f"{key} {shown(text)} is not a number of bytes")
    return int(text)


def _check_operator(domain: str, operator: str) -> None:
    if operator in CPU_DEPENDENT:
        reject(
            Rejection.GRAPH_CPU_DEPENDENT,
            f"encoder graph: the results of {operator} change with the CPU",
            hint="quantise with DynamicQuantizeMatMul or MatMulInteger instead",
        )
    allowed = ALLOWED.get(domain)
    if allowed is None:
        layout = domain.startswith(("com.microsoft.", "com.ms."))
        reject(
            Rejection.GRAPH_DOMAIN,
            f"encoder graph: {shown(operator)} comes from the domain {shown(domain)}",
            hint="optimise with ORT_ENABLE_EXTENDED: ENABLE_ALL bakes in the layout of one CPU"
            if layout
            else "use operators of ai.onnx or com.microsoft",
        )
    if operator not in allowed:
        reject(
            Rejection.GRAPH_OPERATOR,
            f"encoder graph: {shown(operator)} of domain {domain or 'ai.onnx'} is not allowed",
            hint="the allowed operators stand in edge_probe/bundle/operators.py",
        )


def _bad_external(problem: str) -> NoReturn:
    reject(
        Rejection.GRAPH_EXTERNAL_DATA,
        f"encoder graph: external data: {problem}",
        hint="keep external data in files beside the graph and list them in the bundle",
    )
