"""TFLite files as BirdNET-Analyzer's converter writes them: only as much as a reader looks at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import tflite  # type: ignore[import-untyped]
from numpy.typing import NDArray

KINDS = {
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
    np.dtype(np.float16): tflite.TensorType.FLOAT16,
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.int32): tflite.TensorType.INT32,
}


@dataclass(slots=True)
class Sketch:
    """Tensors and operators of a model in the making."""

    tensors: list[tuple[Sequence[int], int, NDArray[Any] | None]] = field(default_factory=list)
    operators: list[tuple[str, list[int], int, int]] = field(default_factory=list)
    """Name, inputs, output, fused activation."""

    def tensor(self, *shape: int) -> int:
        """A tensor that is computed."""
        self.tensors.append((shape, tflite.TensorType.FLOAT32, None))
        return len(self.tensors) - 1

    def constant(self, values: NDArray[Any]) -> int:
        self.tensors.append((values.shape, KINDS[values.dtype], values))
        return len(self.tensors) - 1

    def add(self, name: str, inputs: list[int], *shape: int, activation: int = 0) -> int:
        """An operator and its output."""
        output = self.tensor(*shape)
        self.operators.append((name, inputs, output, activation))
        return output

    def dense(self, source: int, weights: NDArray[Any], bias: NDArray[Any], **options: int) -> int:
        """A dense layer; float16 weights are dequantised first, as the converter does."""
        stored = self.constant(weights)
        if weights.dtype == np.float16:
            stored = self.add("DEQUANTIZE", [stored], *weights.shape)
        inputs = [source, stored, self.constant(bias)]
        return self.add("FULLY_CONNECTED", inputs, 1, len(weights), **options)

    def to_bytes(self, source: int, *outputs: int) -> bytes:
        """The file."""
        names = sorted({name for name, *_ in self.operators})
        builder = flatbuffers.Builder(1024)
        buffers = [_buffer(builder, None)]
        buffers += [_buffer(builder, values) for *_, values in self.tensors]
        tensors = [
            _tensor(builder, shape, kind, number + 1)
            for number, (shape, kind, _) in enumerate(self.tensors)
        ]
        operators = [_operator(builder, names, *operator) for operator in self.operators]
        codes = [_code(builder, getattr(tflite.BuiltinOperator, name)) for name in names]
        graph = _table(
            builder, "SubGraph",
            Tensors=_vector(builder, tensors), Operators=_vector(builder, operators),
            Inputs=_integers(builder, [source]), Outputs=_integers(builder, outputs),
        )  # fmt: skip
        model = _table(
            builder, "Model", Version=3, OperatorCodes=_vector(builder, codes),
            Subgraphs=_vector(builder, [graph]), Buffers=_vector(builder, buffers),
        )  # fmt: skip
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())


def _table(builder: Any, kind: str, **fields: int) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        add: Callable[[Any, int], None] = getattr(tflite, f"{kind}Add{name}")
        add(builder, value)
    return int(getattr(tflite, f"{kind}End")(builder))


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _integers(builder: Any, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _buffer(builder: Any, values: NDArray[Any] | None) -> int:
    if values is None:
        return _table(builder, "Buffer")
    data = builder.CreateNumpyVector(np.frombuffer(values.tobytes(), np.uint8))
    return _table(builder, "Buffer", Data=data)


def _tensor(builder: Any, shape: Sequence[int], kind: int, buffer: int) -> int:
    sizes = _integers(builder, shape)
    return _table(builder, "Tensor", Shape=sizes, Type=kind, Buffer=buffer)


def _operator(
    builder: Any, names: list[str], name: str, inputs: list[int], output: int, activation: int
) -> int:
    fields = {"Inputs": _integers(builder, inputs), "Outputs": _integers(builder, [output])}
    fields["OpcodeIndex"] = names.index(name)
    if name == "FULLY_CONNECTED":
        fields["BuiltinOptions"] = _table(
            builder, "FullyConnectedOptions", FusedActivationFunction=activation
        )
        fields["BuiltinOptionsType"] = tflite.BuiltinOptions.FullyConnectedOptions
    return _table(builder, "Operator", **fields)


def _code(builder: Any, number: int) -> int:
    old = min(number, 127)  # what readers of old files see
    return _table(builder, "OperatorCode", DeprecatedBuiltinCode=old, BuiltinCode=number, Version=1)
