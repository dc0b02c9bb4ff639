"""What an encoder computes, counted from shapes."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import onnx_bytes as ob
from support.tiny_bundle import ENCODER

from edge_probe.budget.operations import operations
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.encoder import profile_nodes
from edge_probe.errors import EncoderError
from edge_probe.spec import EncoderSpec, TokenGrid


def node(operator: str, inputs: list[list[int]], output: list[int]) -> dict[str, Any]:
    """As onnxruntime writes it; the sizes in bytes are made up."""
    return {
        "op_name": operator,
        "input_type_shape": [{"float": shape} if shape else {} for shape in inputs],
        "output_type_shape": [{"float": output}],
        "activation_size": "100", "parameter_size": "20", "output_size": "3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "inputs", "output", "arithmetic", "n_macs"),
    [
        ("Conv", [[1, 3, 32, 32], [8, 3, 5, 5]], [1, 8, 28, 28], "float", 8 * 28 * 28 * 75),
        ("FusedConv", [[1, 1, 9], [4, 1, 3], [4]], [1, 4, 7], "float", 4 * 7 * 3),
        ("Conv", [[1, 8, 32, 32], [8, 1, 3, 3]], [1, 8, 30, 30], "depthwise", 8 * 900 * 9),
        ("QLinearConv", [[1, 2, 9], [1], [1], [4, 2, 3]], [1, 4, 7], "integer", 4 * 7 * 6),
        ("ConvTranspose", [[1, 8, 10], [8, 4, 3]], [1, 4, 12], "float", 8 * 10 * 12),
        ("MatMul", [[1, 512, 768], [768, 3072]], [1, 512, 3072], "float", 512 * 768 * 3072),
        ("MatMul", [[1, 12, 50, 64], [1, 12, 64, 50]], [1, 12, 50, 50], "float", 12 * 2500 * 64),
        ("FusedMatMul", [[64, 50], [64, 30]], [50, 30], "float", 50 * 30 * 64),
        ("MatMul", [[64], [64, 30]], [30], "float", 64 * 30),
        ("Gemm", [[7, 5], [11, 5], [11]], [7, 11], "float", 7 * 5 * 11),
        ("DynamicQuantizeMatMul", [[1, 9, 4], [4, 6]], [1, 9, 6], "integer", 9 * 4 * 6),
        ("QLinearMatMul", [[9, 4], [1], [1], [4, 6]], [9, 6], "integer", 9 * 4 * 6),
        ("GRU", [[20, 2, 5], [1, 9, 5], [1, 9, 3]], [20, 1, 2, 3], "float", 40 * (45 + 27)),
        ("MultiHeadAttention", [[1, 9, 8], [1, 7, 8], [1, 7, 8]], [1, 9, 8], "float", 2 * 7 * 72),
        ("Attention", [[1, 9, 8], [8, 24], [24]], [1, 9, 8], "float", 9 * 192 + 2 * 9 * 72),
        ("Softmax", [[1, 50]], [1, 50], "float", 0),
        ("Clip", [[1, 50], [], []], [1, 50], "float", 0),
    ],
)
def test_the_work_of_a_node(
    operator: str, inputs: list[list[int]], output: list[int], arithmetic: str, n_macs: int
) -> None:
    (found,) = operations([node(operator, inputs, output)])
    assert (found.arithmetic, found.n_macs, found.moved_bytes) == (arithmetic, n_macs, 123)


def test_what_shapes_do_not_tell_is_not_guessed() -> None:
    with pytest.raises(EncoderError, match="Einsum") as caught:
        operations([node("Einsum", [[2, 3], [3, 4]], [2, 4])])
    assert "edge-probe bench" in str(caught.value.hint)


def test_the_work_of_a_graph_that_ran(tmp_path: Path) -> None:
    """A matrix of 16 x 16 in front of the tiny encoder."""
    weights = ob.tensor("w", np.eye(16, dtype=np.float32))
    shape = ob.tensor("s", np.array([1, 4, 2, 2], np.int64))
    nodes = [ob.node("MatMul", ["x", "w"], "m"), ob.node("Reshape", ["m", "s"], "y")]
    ends = ob.blob(11, ob.value("x", (1, 16))) + ob.blob(12, ob.value("y", (1, 4, 2, 2)))
    path = tmp_path / "encoder.onnx"
    path.write_bytes(ob.model(ob.graph(nodes, [shape, weights], ends)))
    found = operations(profile_nodes(path, ENCODER))
    assert [(one.operator, one.n_macs) for one in found] == [("MatMul", 256), ("Reshape", 0)]
    assert found[0].moved_bytes == 4 * (16 + 256 + 16)
    assert not list(tmp_path.glob("*.json"))


def test_a_graph_that_cannot_run_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(EncoderError, match=r"broken\.onnx"):
        profile_nodes(path, ENCODER)


def test_the_demo_encoder_by_another_way() -> None:
    """Its waveform is cut into 128 frames of 320 samples for 322 filters: the first node."""
    grid = TokenGrid(96, 8, 4, 0.0, 2560.0, None)
    spec = EncoderSpec("encoder.onnx", "waveform", "tokens", 16_000, 20_480, grid)
    found = operations(profile_nodes(DEMO_BUNDLE / "encoder.onnx", spec))
    assert max(one.n_macs for one in found) == 322 * 320 * 128
    weights = sum(one.n_macs > 0 for one in found)
    assert weights == 16
    size = (DEMO_BUNDLE / "encoder.onnx").stat().st_size
    assert sum(one.moved_bytes for one in found) > size
    assert sum(one.n_macs for one in found) > size / 4, "every weight is used at least once"
    assert prod([96, 8, 4]) < found[-1].moved_bytes
