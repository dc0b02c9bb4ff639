"""Small ONNX encoders with known geometry: a spectrogram by convolution, then layers over it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.card import EncoderCard, write_card
from export.nodes import Nodes

RATE, HOP, FRAMES, BANDS = 8000, 80, 64, 32
SAMPLES = HOP * FRAMES
"""Frame k covers samples [HOP k, HOP (k + 1))."""

BAND_HZ = 110.0
"""Band b is the line at (b + 1) BAND_HZ, as wide as the frame allows: some HOP in 8000."""


class EncoderGraph:
    """Nodes from ``sound`` [1, SAMPLES]; ``spectrogram`` is [1, 1, BANDS, FRAMES]."""

    def __init__(self, *, open_length: bool = False, rank: int = 2) -> None:
        self.rng = np.random.default_rng(5)
        self.step = Nodes("n/")
        self._length = "samples" if open_length else SAMPLES
        self._rank = rank
        sound = "sound"
        if rank == 2:
            sound = self.step.add("Unsqueeze", sound, self.step.constant(np.array([1])))
        time = np.arange(HOP) / RATE
        phase = 2 * np.pi * BAND_HZ * np.outer(np.arange(1, BANDS + 1), time)
        window = np.hanning(HOP)
        lines = np.concatenate([np.cos(phase) * window, np.sin(phase) * window])
        weight = self.step.constant(lines[:, None].astype(np.float32))
        both = self.step.add("Conv", sound, weight, strides=[HOP])
        power = self.step.add("Mul", both, both)
        halves = [self._part(power, first, first + BANDS) for first in (0, BANDS)]
        level = self.step.add("Add", self.step.add("Add", *halves), self._float(1e-4))
        log = self.step.add("Add", self.step.add("Log", level), self._float(4.4))
        scaled = self.step.add("Mul", log, self._float(1 / 3))  # around 0 in noise
        self.spectrogram = self.step.add("Unsqueeze", scaled, self.step.constant(np.array([1])))

    def _part(self, value: str, first: int, last: int) -> str:
        ends = (self.step.constant(np.array([n])) for n in (first, last, 1))
        return self.step.add("Slice", value, *ends)

    def _float(self, value: float) -> str:
        return self.step.constant(np.float32(value))

    def conv(self, value: str, n_in: int, n_out: int) -> str:
        """2 x 2, stride 2: column i hears columns 2 i and 2 i + 1 alone; signed."""
        weight = self.rng.normal(size=(n_out, n_in, 2, 2)) / np.sqrt(4 * n_in)
        constant = self.step.constant(weight.astype(np.float32))
        return self.step.add("Conv", value, constant, strides=[2, 2])

    def trunk(self) -> str:
        """[1, 24, BANDS / 4, FRAMES / 4]: D, S_f, S_t."""
        return self.conv(self.step.add("Relu", self.conv(self.spectrogram, 1, 16)), 16, 24)

    def turned_over(self, value: str, axis: int, size: int) -> str:
        """The same, the other way round along an axis."""
        rows = self.step.constant(np.arange(size)[::-1].copy())
        return self.step.add("Gather", value, rows, axis=axis)

    def model(self, value: str) -> onnx.ModelProto:
        """A model whose output ``out`` is a value of float32."""
        self.step.call(value, "out")
        shape = [*[1] * (self._rank - 1), self._length]
        graph = helper.make_graph(
            self.step.nodes, "made",
            [helper.make_tensor_value_info("sound", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["a", "b", "c", "d"])],
            self.step.constants,
        )  # fmt: skip
        opset = helper.make_opsetid("", 17)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)

    def save(self, value: str, path: Path) -> Path:
        """Write the model."""
        onnx.save(self.model(value), path)
        return path


def known_card(graph: Path) -> EncoderCard:
    """Write an encoder of which it is known what each token hears, and its card.

    Column i hears samples [4 HOP i, 4 HOP (i + 1)), row r hears bands 4 r to 4 r + 3.
    """
    made = EncoderGraph()
    made.save(made.step.add("Transpose", made.trunk(), perm=[0, 1, 3, 2]), graph)
    edges_hz = BAND_HZ * (4 * np.arange(BANDS // 4 + 1) + 0.5)
    return write_card(graph, {
        "name": "made", "licence": "CC0-1.0", "sample_rate_hz": RATE, "chunk_samples": SAMPLES,
        "input": "sound", "output": "out", "start_samples": 0, "step_samples": 4 * HOP,
        "band_edges_hz": edges_hz.tolist(),
    })  # fmt: skip
