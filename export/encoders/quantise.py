"""int8 forms of an encoder that keep its tokens, and why others are refused.

Transformers: the weights of matrix products, per channel; activations are quantised as they come.
Convolutional encoders: weights and activations, per channel, with ranges measured on clips. The
front end, from waveform to spectrogram, stays float in both: its numbers span six decades.

Weights have seven bits of the eight: x86 processors without VNNI add products of eight bits in
sixteen, which overflows and is cut off; Arm does not. With seven bits all give the same integers.
"""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_probe.errors import EncoderError
from export.card import EncoderCard
from export.encoders.graph import ancestors, first_map, number_values
from export.encoders.model import load_model, save_model

METHODS = {
    "dynamic": "int8 weights of matrix products, activations quantised as they come: transformers",
    "static": "int8 weights and activations, ranges measured on clips: convolutional encoders",
}

REFUSED = {
    "dynamic-conv": "onnxruntime has no fast ConvInteger for Arm, and its results are poor: "
    "34 % instead of 98 % of the decisions of BirdNET 2.4 were kept",
    "float16": "onnxruntime folds the casts back when it loads the graph: half the file, and all "
    "the memory of float32",
    "4-bit": "the results of MatMulNBits change with the CPU, and no bundle may hold it; it also "
    "takes three times the time",
}
"""Methods that users ask for, and what is wrong with them."""

_QUANTISED = frozenset({
    "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
    "MatMulIntegerToFloat", "MatMulNBits", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
})  # fmt: skip


class _Chunks(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, name: str, chunks: Iterable[NDArray[np.float32]]) -> None:
        self._feeds = ({name: chunk[np.newaxis]} for chunk in chunks)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def refuse(method: str | None) -> None:
    """Say what is wrong with a method; nothing is with those of `METHODS`, nor with None.

    Raises
    ------
    EncoderError
    """
    if method in REFUSED:
        raise EncoderError(
            f"{method} is refused: {REFUSED[method]}", hint=f"choose among {', '.join(METHODS)}"
        )


def suited(model: onnx.ModelProto) -> str:
    """The method for a graph, by where most of its weights are."""
    shapes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    weights = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in weights:
            weights[node.op_type] += shapes.get(node.input[1], 0)
    return "static" if weights["Conv"] > weights["MatMul"] + weights["Gemm"] else "dynamic"


def prepared(graph: Path, folder: Path) -> Path:
    """The graph with constants folded, batch norms in convolutions, and names of our own.

    onnxruntime makes names out of names: of the bias ``Conv2D`` that two convolutions share a copy
    ``Conv2D2``, and BirdNET 2.4 has a value of that name.
    """
    whole, folded = folder / "whole.onnx", folder / "folded.onnx"
    save_model(load_model(graph), whole)  # weights beside the graph would not be found again
    quant_pre_process(str(whole), str(folded), skip_symbolic_shape=True)
    model = onnx.load(folded)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    number_values(model.graph)
    onnx.save(model, folded)
    return folded


def front_end(model: onnx.ModelProto, output: str) -> list[onnx.NodeProto]:
    """Nodes between waveform and spectrogram.

    The spectrogram is what the first convolution over time and frequency takes; where there is
    none, the last logarithm.
    """
    spectrogram = first_map(model, output)
    if spectrogram is None:
        logarithms = [node.output[0] for node in model.graph.node if node.op_type == "Log"]
        spectrogram = logarithms[-1] if logarithms else None
    return [] if spectrogram is None else ancestors(model, spectrogram)


def quantise(
    card: EncoderCard,
    out: Path,
    method: str,
    chunks: Callable[[], Iterable[NDArray[np.float32]]],
) -> None:
    """Write an int8 form of an encoder.

    Parameters
    ----------
    card : EncoderCard
    out : Path
        The new graph, in one file.
    method : str
        A key of `METHODS`.
    chunks : callable
        Sound of the kind that the encoder will hear, (C,) float32 each; asked for only where
        ranges are measured.

    Raises
    ------
    EncoderError
        The method is refused, the graph is quantised already, or has nothing to quantise.
    """
    refuse(method)
    if quantised := sorted(_operators(card.graph) & _QUANTISED):
        raise EncoderError(
            f"{card.graph}: is quantised already: it holds {', '.join(quantised)}",
            hint="give the float form: each rounding adds to the last one",
        )
    with tempfile.TemporaryDirectory(prefix="edge-export-") as folder:
        source = prepared(card.graph, Path(folder))
        kept_float = [node.name for node in front_end(onnx.load(source), card.spec.output_name)]
        made = Path(folder) / "quantised.onnx"
        common = {
            "per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": True,
            "nodes_to_exclude": kept_float,
        }  # fmt: skip
        if method == "dynamic":
            quantize_dynamic(source, made, op_types_to_quantize=["MatMul"], **common)
        else:
            reader = _Chunks(card.spec.input_name, chunks())
            quantize_static(
                source, made, reader,
                quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, **common,
            )  # fmt: skip
        if not _operators(made) & _QUANTISED:
            raise EncoderError(
                f"{card.graph}: nothing in it can be quantised by the method {method}",
                hint=f"try --method {'static' if method == 'dynamic' else 'dynamic'}",
            )
        model = onnx.load(made)
        for node in model.graph.node:
            node.doc_string = ""
        save_model(model, out)


def _operators(graph: Path) -> set[str]:
    return {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
