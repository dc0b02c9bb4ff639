"""Google's speech embedding as one graph from waveform to tokens, from its two published halves.

2 s of audio give 197 mel frames and 16 embeddings of 76 frames each, 8 frames apart: tokens
[1, 96, 16, 1].
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

N_SAMPLES, N_FRAMES, N_EMBEDDED, HOP = 32_000, 197, 76, 8
N_COLUMNS = (N_FRAMES - N_EMBEDDED) // HOP + 1


def join(mel_path: Path, embedding_path: Path, out: Path) -> None:
    """Write the joined graph."""
    mel = compose.add_prefix(onnx.load(mel_path), "mel_")
    embedding = compose.add_prefix(onnx.load(embedding_path), "embedding_")
    frames = np.arange(N_COLUMNS)[:, None] * HOP + np.arange(N_EMBEDDED)
    constants = {
        "full_scale": np.float32(32767), "ten": np.float32(10), "two": np.float32(2),
        "frames": frames.astype(np.int64), "first_axes": np.array([0, 1]),
        "last_axis": np.array([3]), "shape": np.array([1, 96, N_COLUMNS, 1]),
    }  # fmt: skip
    node = helper.make_node
    mel_out, mel_in = mel.graph.output[0].name, mel.graph.input[0].name
    embedded, patches = embedding.graph.output[0].name, embedding.graph.input[0].name
    nodes = [
        node("Mul", ["waveform", "full_scale"], [mel_in]),
        *mel.graph.node,
        node("Div", [mel_out, "ten"], ["tenth"]),
        node("Add", ["tenth", "two"], ["scaled"]),
        node("Squeeze", ["scaled", "first_axes"], ["mel"]),
        node("Gather", ["mel", "frames"], ["windows"], axis=0),
        node("Unsqueeze", ["windows", "last_axis"], [patches]),
        *embedding.graph.node,
        node("Transpose", [embedded], ["columns"], perm=[1, 2, 3, 0]),
        node("Reshape", ["columns", "shape"], ["tokens"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "speech_tokens",
        [value("waveform", TensorProto.FLOAT, [1, N_SAMPLES])],
        [value("tokens", TensorProto.FLOAT, [1, 96, N_COLUMNS, 1])],
        [*mel.graph.initializer, *embedding.graph.initializer,
         *(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, out)
