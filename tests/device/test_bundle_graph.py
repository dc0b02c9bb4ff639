"""The graph check against encoders that people really have."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from support import onnx_bytes as ob

from edge_probe.bundle import Rejection
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.operators import CPU_DEPENDENT, MICROSOFT, STANDARD
from edge_probe.bundle.reject import RejectedBundleError

ENCODERS = (
    "birdnet_stm32n6_100_encoder.onnx",
    "speech_embedding.onnx",
    "speech_melspectrogram.onnx",
    "whisper_tiny_en_encoder_f16w.onnx",
    "yamnet_encoder_w8.onnx",
)


@pytest.mark.parametrize("name", ENCODERS)
def test_shared_encoder_passes(name: str, shared: Path) -> None:
    assert check_graph((shared / "encoders" / name).read_bytes(), {}) == set()


def optimised(source: Path, target: Path, level: ort.GraphOptimizationLevel) -> Path:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", f"{target.name}.data"
    )
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_optimised_offline_passes_with_its_external_data(
    name: str, shared: Path, tmp_path: Path
) -> None:
    level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    graph = optimised(shared / "encoders" / name, tmp_path / "graph.onnx", level)
    data = tmp_path / "graph.onnx.data"
    sizes = {data.name: data.stat().st_size}
    assert check_graph(graph.read_bytes(), sizes) == {data.name}
    with pytest.raises(RejectedBundleError) as caught:
        check_graph(graph.read_bytes(), {data.name: data.stat().st_size // 2})
    assert caught.value.reason is Rejection.GRAPH_EXTERNAL_DATA
    with pytest.raises(RejectedBundleError) as caught:
        check_graph(graph.read_bytes(), {})
    assert caught.value.reason is Rejection.GRAPH_EXTERNAL_DATA


def test_encoder_optimised_for_one_cpu_is_refused_with_a_hint(shared: Path, tmp_path: Path) -> None:
    level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    source = shared / "encoders" / "birdnet_stm32n6_100_encoder.onnx"
    graph = optimised(source, tmp_path / "graph.onnx", level)
    if b"nchwc" not in graph.read_bytes():
        pytest.xfail("onnxruntime has no blocked layout for this CPU")
    with pytest.raises(RejectedBundleError) as caught:
        check_graph(graph.read_bytes(), {"graph.onnx.data": 2**30})
    assert caught.value.reason is Rejection.GRAPH_DOMAIN
    assert "ENABLE_EXTENDED" in str(caught.value.hint)


def test_scan_passes_with_what_is_inside_it() -> None:
    body = ob.graph([ob.node("Add", ["x"], "z")], [ob.tensor("w", np.ones(2, np.float32))])
    scan = ob.node("Scan", ["x"], "z", attributes=ob.graph_attribute("body", body))
    assert check_graph(ob.tiny_encoder([scan]), {}) == set()


def test_numbers_that_are_not_packed_pass() -> None:
    values = b"".join(ob.varint(4 << 3 | 5) + bytes(4) for _ in range(3))
    tensor = ob.number(1, 3) + ob.number(2, ob.FLOAT32) + values + ob.blob(8, "w")
    assert check_graph(ob.tiny_encoder([], [tensor]), {}) == set()


def test_data_in_two_files_is_reported() -> None:
    sizes = {"a.bin": 8, "b.bin": 8}
    parts = [ob.external_tensor(name, (1,), location=name, offset="4") for name in sizes]
    assert check_graph(ob.tiny_encoder([], parts), sizes) == set(sizes)


def test_the_tiny_encoder_runs() -> None:
    session = ort.InferenceSession(ob.tiny_encoder(), providers=["CPUExecutionProvider"])
    (tokens,) = session.run(None, {"x": np.ones((1, 16), np.float32)})
    assert tokens.shape == (1, 4, 2, 2)
    assert tokens[0, :, 0, 0].tolist() == [1, 2, 4, -8]


def test_the_lists_do_not_contradict_each_other() -> None:
    assert CPU_DEPENDENT.isdisjoint(STANDARD | MICROSOFT)
    assert {"Loop", "If", "RandomNormal", "Dropout"}.isdisjoint(STANDARD | MICROSOFT)
