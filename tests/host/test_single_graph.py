"""Encoder and head as one ONNX file: the same bits as NumPy, in a runtime that knows nothing of us.

The rule for tokens, and where a tolerance is allowed at all: ``edge_probe/head/README.md``.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx.external_data_helper import set_external_data
from onnx.numpy_helper import from_array, to_array
from support.head_graphs import expect, made_up, operators, run, session
from support.pages import of_page
from support.tiny_bundle import (
    ENCODER,
    GOLDEN,
    GOLDEN_FLOAT,
    threshold_head,
    tiny_head,
    write_tiny_bundle,
)

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.bundle.operators import STANDARD
from edge_probe.encoder import Encoder
from edge_probe.errors import EdgeProbeError
from edge_probe.spec import TokenBits
from export import single_graph as module
from export.single_graph import prove, single_graph, write_single_graph

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "edge_probe" / "data" / "demo_bundle"
Array = NDArray[Any]


def whole_chunks(bundle: Bundle) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    size = bundle.encoder.chunk_samples
    return [
        (rng.normal(size=size) * gain).astype(np.float32).clip(-1, 1) for gain in (0, 0.001, 0.3)
    ]


def expect_bundle(bundle: Bundle) -> ModelProto:
    """The head is exact on the tokens of the same session, and these are the encoder's."""
    model = single_graph(bundle, with_tokens=True)
    encoder = Encoder(bundle.graph_path, bundle.encoder)
    for samples in whole_chunks(bundle):
        found = run(model, waveform=samples[None])
        tokens = found.pop("tokens")
        tolerance = bundle.manifest.token_tolerance
        np.testing.assert_allclose(tokens, encoder.tokens(samples), atol=tolerance, rtol=0)
        expect(bundle.head, tokens, found)
    return model


@pytest.mark.parametrize("folder", [GOLDEN, GOLDEN_FLOAT, DEMO], ids=["tiny", "float", "demo"])
def test_whole_bundle(folder: Path) -> None:
    bundle = open_bundle(folder)
    expect_bundle(bundle)
    model = single_graph(bundle)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    assert operators(model.graph) <= {("", name) for name in STANDARD}
    ends = [*session(model).get_inputs(), *session(model).get_outputs()]
    assert [(end.name, end.type, end.shape) for end in ends] == [
        ("waveform", "tensor(float)", [1, bundle.encoder.chunk_samples]),
        ("logits", "tensor(double)", [bundle.head.n_classes]),
        ("scores", "tensor(float)", [len(bundle.head.prototypes)]),  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize(
    ("bits", "linear"),
    [
        *((bits, "int8") for bits in (1, 2, 4, 8, "float")),
        *((8, linear) for linear in ("int8-grouped", "int8-sparse", "float32")),
        ("float", "mean"),
    ],
)
def test_every_kind_of_head_in_a_bundle(tmp_path: Path, bits: TokenBits, linear: str) -> None:
    expect_bundle(write_tiny_bundle(tmp_path / "b", head=tiny_head(bits, linear)))


@pytest.mark.parametrize("n_thresholds", [1, 2, 3])
def test_several_thresholds_per_dimension_in_a_bundle(tmp_path: Path, n_thresholds: int) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=threshold_head(n_thresholds))
    expect_bundle(bundle)
    prove(bundle, single_graph(bundle, with_tokens=True))


@pytest.mark.parametrize("linear", ["int8", "int8-grouped", "int8-sparse", "float32"])
def test_float_prototypes_in_a_bundle(tmp_path: Path, linear: str) -> None:
    head = tiny_head("float", linear, "protofloat")
    expect_bundle(write_tiny_bundle(tmp_path / "b", head=head))


@pytest.mark.parametrize("name", ["yamnet_encoder_w8", "whisper_tiny_en_encoder_f16w"])
def test_real_encoders_of_older_opsets(shared: Path, tmp_path: Path, name: str) -> None:
    from export.card import CARDS, read_card

    card = read_card(shared / "encoders" / f"{name}.onnx", CARDS / f"{name}.toml")
    n_dims = card.spec.grid.n_dims
    bundle = write_tiny_bundle(
        tmp_path / "b", encoder=card.spec, graph=card.graph,
        head=made_up(n_dims, 40, 8, n_classes=2),
        conformance_audio=np.zeros(card.spec.chunk_samples, np.int16),
    )  # fmt: skip
    model = expect_bundle(bundle)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]


def test_metadata_says_what_a_user_must_know() -> None:
    bundle = open_bundle(GOLDEN)
    facts = session(single_graph(bundle)).get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == ["Parus major_Great Tit", "background"]
    assert json.loads(facts["threshold_on"]) == bundle.threshold_on.tolist()
    assert json.loads(facts["threshold_off"]) == bundle.threshold_off.tolist()
    assert facts["bundle"] == bundle.id
    numbers = ("sample_rate_hz", "chunk_samples", "window_chunks", "hop_chunks", "token_bits")
    assert [int(facts[name]) for name in numbers] == [16, 16, 2, 1, 1]
    assert (facts["encoder_name"], facts["encoder_licence"]) == ("reshape", "Apache-2.0")


def encoder_bundle(
    tmp_path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Array],
    *,
    opset: int = 20,
    outputs: Sequence[str] = (),
    domains: Sequence[str] = (),
    ends: tuple[str, str] = ("x", "y"),
) -> Bundle:
    """A tiny bundle around another encoder from waveform [1, 16] to tokens [1, 4, 2, 2]."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(ends[0], floats, [1, 16])],
        [helper.make_tensor_value_info(ends[1], floats, [1, 4, 2, 2]),
         *(helper.make_tensor_value_info(name, floats, None) for name in outputs)],
        [from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    path = tmp_path / "encoder.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    spec = dataclasses.replace(ENCODER, input_name=ends[0], output_name=ends[1])
    return write_tiny_bundle(tmp_path / "b", graph=path, encoder=spec)


SHAPE = {"s": np.array([1, 4, 2, 2])}
RESHAPE = helper.make_node("Reshape", ["x", "s"], ["r"])


@pytest.mark.parametrize(("opset", "expected"), [(13, 20), (18, 20), (20, 20), (21, 21)])
def test_older_encoders_are_converted_and_newer_ones_kept(
    tmp_path: Path, opset: int, expected: int
) -> None:
    nodes = [RESHAPE, helper.make_node("Neg", ["r"], ["y"])]
    model = expect_bundle(encoder_bundle(tmp_path, nodes, SHAPE, opset=opset))
    assert model.opset_import[0].version == expected


def simplified_norm(tmp_path: Path, opset: int) -> Bundle:
    """An operator that onnxruntime writes in the standard domain and onnx does not know."""
    nodes = [RESHAPE, helper.make_node("SimplifiedLayerNormalization", ["r", "one"], ["y"])]
    return encoder_bundle(tmp_path, nodes, {**SHAPE, "one": np.ones(2, np.float32)}, opset=opset)


def test_encoder_that_cannot_be_converted_stays_at_its_opset_if_it_can(tmp_path: Path) -> None:
    model = expect_bundle(simplified_norm(tmp_path, 18))
    assert model.opset_import[0].version == 18


def test_encoder_that_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="cannot be converted from opset 17 to 20") as caught:
        single_graph(simplified_norm(tmp_path, 17))
    assert "opset 20" in str(caught.value.hint)
    assert "\n" not in caught.value.message


def test_operators_of_onnxruntime_are_kept(tmp_path: Path) -> None:
    domain = "com.microsoft"
    nodes = [RESHAPE, helper.make_node("QuickGelu", ["r"], ["y"], domain=domain, alpha=1.0)]
    bundle = encoder_bundle(tmp_path, nodes, SHAPE, opset=17, domains=[domain, "com.unused"])
    model = expect_bundle(bundle)
    assert [each.domain for each in model.opset_import] == ["", domain]
    assert (domain, "QuickGelu") in operators(model.graph)


def test_names_cannot_collide(tmp_path: Path) -> None:
    """An encoder may use every name of ours, for other things."""
    names = ["logits", "tokens", "scores", "head/Sub_5", "head/constant_0", "head/packed"]
    chain = ["waveform", *names]
    nodes = [helper.make_node("Neg", [a], [b], b) for a, b in pairwise(chain)]
    nodes.append(helper.make_node("Reshape", [chain[-1], "s"], ["y"], "head/tokens"))
    nodes.insert(0, helper.make_node("Identity", ["x"], ["waveform"]))
    expect_bundle(encoder_bundle(tmp_path, nodes, SHAPE))


def test_encoder_with_a_graph_inside(tmp_path: Path) -> None:
    """The inner graph uses a constant and a tensor of the outer one."""
    floats = TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Mul", ["row", "k"], ["m"]), helper.make_node("Add", ["m", "n"], ["o"])],
        "body",
        [helper.make_tensor_value_info("row", floats, [4])],
        [helper.make_tensor_value_info("o", floats, [4])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["n"], keepdims=0),
        helper.make_node("Reshape", ["x", "square"], ["r"]),
        helper.make_node("Scan", ["r"], ["scanned"], num_scan_inputs=1, body=body),
        helper.make_node("Reshape", ["scanned", "s"], ["y"]),
    ]
    constants = {**SHAPE, "square": np.array([4, 4]), "k": np.array([1, -2, 3, 0.5], np.float32)}
    expect_bundle(encoder_bundle(tmp_path, nodes, constants))


def test_what_only_other_outputs_need_is_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "s"], ["y"]),
        helper.make_node("FusedMatMul", ["x", "big"], ["embedding"], domain="com.microsoft"),
    ]
    constants = {**SHAPE, "big": np.ones((16, 1000), np.float32)}
    bundle = encoder_bundle(
        tmp_path, nodes, constants, outputs=["embedding"], domains=["com.microsoft"]
    )
    model = expect_bundle(bundle)
    assert [each.domain for each in model.opset_import] == [""]
    assert model.ByteSize() < 16_000


def test_external_data_comes_inside(tmp_path: Path) -> None:
    nodes = [RESHAPE, helper.make_node("Mul", ["r", "k"], ["y"])]
    constants = {**SHAPE, "k": np.arange(16, dtype=np.float32).reshape(1, 4, 2, 2)}
    encoder_bundle(tmp_path, nodes, constants)
    graph = tmp_path / "apart.onnx"
    model = onnx.load(tmp_path / "encoder.onnx")
    (gains,) = (tensor for tensor in model.graph.initializer if tensor.name == "k")
    set_external_data(gains, "apart.bin")
    onnx.save(model, graph)
    bundle = write_tiny_bundle(
        tmp_path / "apart", graph=graph, external_data=[tmp_path / "apart.bin"]
    )
    write_single_graph(bundle, tmp_path / "one.onnx")
    merged = onnx.load(tmp_path / "one.onnx", load_external_data=False)
    assert not any(tensor.external_data for tensor in merged.graph.initializer)
    expect_bundle(bundle)


def test_weights_beyond_one_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1000)
    with pytest.raises(EdgeProbeError, match="do not fit into one ONNX file"):
        single_graph(open_bundle(GOLDEN))


def change(model: ModelProto, kind: type, shape: tuple[int, ...], value: Array) -> None:
    """Replace the one constant of that dtype and shape."""
    (tensor,) = (
        each
        for each in model.graph.initializer
        if to_array(each).dtype == kind and to_array(each).shape == shape
    )
    tensor.CopyFrom(from_array(value, tensor.name))


@pytest.mark.parametrize(
    ("what", "kind", "shape"),
    [
        ("tokens", np.float32, (4, 1, 1)),
        ("scores", np.uint8, (1, 4, 1)),
        ("logits", np.int8, (1, 2, 3)),
    ],
)
def test_wrong_graph_is_noticed_before_it_is_written(
    what: str, kind: type, shape: tuple[int, ...]
) -> None:
    bundle = open_bundle(GOLDEN)
    model = single_graph(bundle, with_tokens=True)
    prove(bundle, model)
    change(model, kind, shape, np.full(shape, 77, kind))
    with pytest.raises(EdgeProbeError, match=f"gives other {what}: off by"):
        prove(bundle, model)


def test_graph_that_does_not_run_is_an_error_of_one_line() -> None:
    bundle = open_bundle(GOLDEN)
    model = single_graph(bundle, with_tokens=True)
    del model.graph.node[0]
    with pytest.raises(EdgeProbeError, match="cannot run the single graph") as caught:
        prove(bundle, model)
    assert "\n" not in caught.value.message


def export(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "export", "bundle", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_command_writes_what_the_readme_tells_how_to_use(tmp_path: Path) -> None:
    """The example of export/README.md runs with NumPy and onnxruntime and hears the bundle."""
    path = tmp_path / "my_model.onnx"
    done = export(DEMO, "--single-graph", path)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(DEMO)
    assert bundle.id in done.stdout
    assert f"{path.stat().st_size / 1024:.0f} KiB" in done.stdout
    example = of_page("export/README.md")
    assert len([line for line in example.splitlines() if line]) == 8
    script = (
        f"{example}\nprint(repr(logits.tolist()))\nimport sys\nprint('edge_probe' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *_, logits, ours = ran.stdout.splitlines()
    assert ours == "False"
    tokens = Encoder(bundle.graph_path, bundle.encoder).tokens(
        np.zeros(bundle.encoder.chunk_samples, np.float32)
    )
    summary = bundle.head.summarise(tokens, np.ones(len(tokens), bool))
    expected = bundle.head.logits(bundle.head.merge([summary]))  # type: ignore[list-item, arg-type]
    np.testing.assert_allclose(json.loads(logits), expected, atol=0.1)


def test_bad_input_is_one_line_and_a_hint(tmp_path: Path) -> None:
    taken = tmp_path / "taken.onnx"
    taken.touch()
    inside = GOLDEN / "model.onnx"
    for arguments, expected in [
        ((GOLDEN, "--single-graph", taken), "exists already"),
        ((GOLDEN, "--single-graph", inside), "inside the bundle"),
        ((GOLDEN, "--single-graph", tmp_path / "none" / "x.onnx"), "no such folder"),
        ((tmp_path / "none", "--single-graph", tmp_path / "x.onnx"), "not-a-bundle"),
    ]:
        done = export(*arguments)
        assert done.returncode == 1, done.stdout
        lines = done.stderr.splitlines()
        assert [line.split(":")[0] for line in lines] == ["error", "hint"]
        assert expected in lines[0]
    assert taken.stat().st_size == 0
    assert not inside.exists()
    assert sorted(tmp_path.iterdir()) == [taken]
    assert export(GOLDEN).returncode == 2
