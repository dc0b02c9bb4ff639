"""ONNX models assembled by hand, so that device tests need no onnx package."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FLOAT32, INT64 = 1, 7


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def blob(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> bytes:
    code = FLOAT32 if array.dtype == np.float32 else INT64
    dims = b"".join(number(1, size) for size in array.shape)
    return dims + number(2, code) + blob(8, name) + blob(9, array.tobytes())


def external_tensor(name: str, shape: tuple[int, ...], **entries: str) -> bytes:
    dims = b"".join(number(1, size) for size in shape)
    pairs = b"".join(blob(13, blob(1, key) + blob(2, value)) for key, value in entries.items())
    return dims + number(2, FLOAT32) + blob(8, name) + pairs + number(14, 1)


def node(
    operator: str, inputs: list[str], output: str, domain: str = "", attributes: bytes = b""
) -> bytes:
    names = b"".join(blob(1, name) for name in inputs) + blob(2, output)
    return names + blob(4, operator) + attributes + (blob(7, domain) if domain else b"")


def graph_attribute(name: str, graph: bytes) -> bytes:
    return blob(5, blob(1, name) + blob(6, graph) + number(20, 5))


def value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(blob(1, number(1, size)) for size in shape)
    return blob(1, name) + blob(2, blob(1, number(1, FLOAT32) + blob(2, dims)))


def graph(nodes: Sequence[bytes], tensors: Sequence[bytes] = (), ends: bytes = b"") -> bytes:
    return (
        b"".join(blob(1, one) for one in nodes)
        + blob(2, "g")
        + b"".join(blob(5, one) for one in tensors)
        + ends
    )


def model(graph_bytes: bytes, extra: bytes = b"") -> bytes:
    return number(1, 8) + blob(7, graph_bytes) + blob(8, number(2, 13)) + extra


def tiny_encoder(extra_nodes: Sequence[bytes] = (), extra_tensors: Sequence[bytes] = ()) -> bytes:
    """Waveform ``x`` [1, 16] in, token map ``y`` [1, 4, 2, 2] out: reshaped and scaled."""
    shape = tensor("s", np.array([1, 4, 2, 2], np.int64))
    gains = tensor("k", np.array([1, 2, 4, -8], np.float32).reshape(4, 1, 1))
    nodes = [node("Reshape", ["x", "s"], "r"), node("Mul", ["r", "k"], "y"), *extra_nodes]
    ends = blob(11, value("x", (1, 16))) + blob(12, value("y", (1, 4, 2, 2)))
    return model(graph(nodes, [shape, gains, *extra_tensors], ends))


def glancing_encoder(n_samples: int) -> bytes:
    """The tiny encoder for longer chunks: ``x`` [1, n_samples], of which it sees the first 16."""
    ends = [tensor(name, np.array([at], np.int64)) for name, at in (("b", 0), ("e", 16), ("a", 1))]
    shape = tensor("s", np.array([1, 4, 2, 2], np.int64))
    gains = tensor("k", np.array([1, 2, 4, -8], np.float32).reshape(4, 1, 1))
    nodes = [node("Slice", ["x", "b", "e", "a"], "f"), node("Reshape", ["f", "s"], "r"),
             node("Mul", ["r", "k"], "y")]  # fmt: skip
    values = blob(11, value("x", (1, n_samples))) + blob(12, value("y", (1, 4, 2, 2)))
    return model(graph(nodes, [shape, gains, *ends], values))
