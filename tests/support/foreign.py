"""A tiny encoder with [cls], and torch's word on what a head computes from its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array
from torch import Tensor

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.encoder import Encoder
from export.cli import main

N_DIMS, N_TIME, N_FREQ = 24, 4, 3
CHUNK = N_DIMS * N_TIME * N_FREQ
RATE = 1000
CARD = f"""
name = "tiny with cls"
licence = "Apache-2.0"
sample_rate_hz = {RATE}
chunk_samples = {CHUNK}
input = "waveform"
output = "tokens"
band_edges_hz = [0.0, 30.0, 60.0, 120.0]
"""


@dataclass(frozen=True, slots=True)
class World:
    """A folder with an encoder, its card, labels, and a command that imports."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, n_classes: int = 3, opset: int = 17) -> "World":
        (folder / "encoder.toml").write_text(CARD, encoding="utf-8")
        onnx.save(encoder_model(opset), folder / "encoder.onnx")
        lines = [f"Species {number}_Bird {number}" for number in range(n_classes)]
        (folder / "labels.txt").write_text("\r\n".join(lines), encoding="utf-8-sig")
        return cls(folder)

    def run(self, checkpoint: str, *options: str) -> int:
        """``edge-export import`` into the folder ``bundle``."""
        place = self.folder
        arguments = ["import", place / checkpoint, "--encoder", place / "encoder.onnx"]
        arguments += ["--labels", place / "labels.txt", "--out", place / "bundle"]
        return main([*map(str, arguments), *options])

    def bundle(self, checkpoint: str, *options: str) -> Bundle:
        assert self.run(checkpoint, *options) == 0
        return open_bundle(self.folder / "bundle")

    def maps(self, waveform: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Token map (D, S_t, S_f) and [cls] (D,), as the encoder itself gives them."""
        session = ort.InferenceSession(str(self.folder / "encoder.onnx"))
        tokens, cls = session.run(["tokens", "cls"], {"waveform": waveform[np.newaxis]})
        return torch.tensor(tokens[0]), torch.tensor(cls[0])


def encoder_model(opset: int) -> onnx.ModelProto:
    """Waveform [1, N] -> tokens [1, D, S_t, S_f] and cls [1, D]; weak in half of its components."""
    rng = np.random.default_rng(5)
    gains = (
        rng.normal(size=(N_DIMS, 1, 1)) * np.where(np.arange(N_DIMS) % 2, 1, 0.01)[:, None, None]
    )
    constants = {
        "shape": np.array([1, N_DIMS, N_TIME, N_FREQ]),
        "gains": gains.astype(np.float32),
        "mix": (rng.normal(size=(CHUNK, N_DIMS)) / CHUNK**0.5).astype(np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["waveform", "shape"], ["map"]),
        helper.make_node("Mul", ["map", "gains"], ["tokens"]),
        helper.make_node("MatMul", ["waveform", "mix"], ["cls"]),
    ]
    sizes = {"waveform": [1, CHUNK], "tokens": [1, N_DIMS, N_TIME, N_FREQ], "cls": [1, N_DIMS]}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in sizes.items()
    }
    graph = helper.make_graph(
        nodes, "tiny", [values["waveform"]], [values["tokens"], values["cls"]],
        [from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def waveforms() -> Sequence[NDArray[np.float32]]:
    """Loud, quiet and almost silent chunks."""
    rng = np.random.default_rng(9)
    return [(rng.normal(size=CHUNK) * gain).astype(np.float32) for gain in (1, 0.3, 1e-2, 1e-4)]


def logits(bundle: Bundle, waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a bundle decides on, of one chunk."""
    head: Any = bundle.head
    summary = _summary(bundle, waveform)
    found: NDArray[np.float64] = head.logits(head.merge([summary]))
    return found


def scores(bundle: Bundle, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Prototype scores of one chunk."""
    found: NDArray[np.float32] = _summary(bundle, waveform).scores
    return found


def _summary(bundle: Bundle, waveform: NDArray[np.float32]) -> Any:
    tokens = Encoder(bundle.graph_path, bundle.encoder).tokens(waveform)
    return bundle.head.summarise(tokens, np.ones(len(tokens), bool))
