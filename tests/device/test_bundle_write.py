"""What is written opens, is the same for the same inputs, and appears whole or not at all."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.onnx_bytes import external_tensor, node, tiny_encoder
from support.tiny_bundle import (
    AUDIO,
    ENCODER,
    FLOAT,
    GOLDEN,
    GOLDEN_FLOAT,
    GOLDEN_REPLAY,
    REPLAY,
    tiny_head,
    write_tiny_bundle,
)

from edge_probe.bundle import Bundle, Label, open_bundle, selftest, verify
from edge_probe.bundle.reader import read_conformance, read_replay
from edge_probe.bundle.tensors import Calibration
from edge_probe.bundle.writer import check_plan, derive_bundle
from edge_probe.errors import BundleError, EncoderError
from edge_probe.head import (
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
    ProtofloatHead,
    PrototypeHead,
    SparseInt8Linear,
)
from edge_probe.spec import WindowSpec


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def expect_same(pairs: list[tuple[Any, Any]]) -> None:
    """What was read, and what was written."""
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
        assert not one.flags.writeable


def test_golden_bundle_opens() -> None:
    bundle = open_bundle(GOLDEN)
    assert sum(len(data) for data in contents(GOLDEN).values()) <= 4096
    assert bundle.name == "tiny"
    assert bundle.id == "tiny@4344bc4d5e98"
    assert bundle.encoder == ENCODER
    assert bundle.labels == (
        Label("Parus major_Great Tit", "Parus major", "Great Tit"),
        Label("background", "background", "background"),
    )
    assert bundle.threshold_on.tolist() == [0.5, 1.0]
    assert bundle.threshold_off.tolist() == [0.0, 1.0]
    assert bundle.warnings == ()
    assert bundle.provenance["licence"] == "Apache-2.0"
    assert "not origin" in bundle.signed_by.description


@pytest.mark.parametrize(
    ("golden", "changes"), [(GOLDEN, {}), (GOLDEN_FLOAT, FLOAT), (GOLDEN_REPLAY, REPLAY)]
)
def test_golden_bundle_is_what_the_writer_writes(
    golden: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    written = write_tiny_bundle(tmp_path / "tiny", **changes)
    assert contents(written.path) == contents(golden)


def test_float_prototypes_and_a_sparse_layer_survive_to_the_bit() -> None:
    expected, bundle = FLOAT["head"], open_bundle(GOLDEN_FLOAT, verify=verify.is_valid)
    found = bundle.head
    assert bundle.id == "tiny-float@5bdb98db6509"
    assert isinstance(found, ProtofloatHead)
    assert isinstance(found.linear, SparseInt8Linear)
    assert found.floor_at_zero
    assert found.linear.n_inputs == expected.linear.n_inputs
    expect_same(
        [
            (found.prototypes, expected.prototypes),
            (found.offset, expected.offset),
            (found.reference_scores, expected.reference_scores),
            (found.linear.weights, expected.linear.weights),
            (found.linear.columns, expected.linear.columns),
            (found.linear.scale, expected.linear.scale),
            (found.linear.bias, expected.linear.bias),
        ]
    )


def test_head_survives_to_the_bit() -> None:
    expected, found = tiny_head(), open_bundle(GOLDEN, verify=verify.is_valid).head
    assert isinstance(expected, ProtobinHead)
    assert isinstance(found, ProtobinHead)
    assert isinstance(expected.linear, Int8Linear)
    assert isinstance(found.linear, Int8Linear)
    assert found.bits == expected.bits
    expect_same(
        [
            (found.prototypes, expected.prototypes),
            (found.offset, expected.offset),
            (found.reference_scores, expected.reference_scores),
            (found.linear.weights, expected.linear.weights),
            (found.linear.scale, expected.linear.scale),
            (found.linear.bias, expected.linear.bias),
        ]
    )


@pytest.mark.parametrize("linear", ["int8", "int8-grouped", "int8-sparse", "float32", "mean"])
@pytest.mark.parametrize("bits", ["float", 1, 2, 4, 8])
def test_every_kind_of_head_makes_a_bundle(bits: Any, linear: str, tmp_path: Path) -> None:
    head = tiny_head(bits, linear)
    bundle = write_tiny_bundle(tmp_path / "b", head=head, calibration=None)
    assert type(bundle.head) is type(head)
    tokens = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    valid = np.ones(4, bool)
    assert np.array_equal(logits(bundle.head, tokens, valid), logits(head, tokens, valid))
    assert bundle.manifest.head.kind == ("mean-linear" if linear == "mean" else "protobin")
    assert isinstance(bundle.head, MeanLinearHead) == (linear == "mean")


def logits(head: Any, tokens: Any, valid: Any) -> Any:
    return head.logits(head.merge([head.summarise(tokens, valid)]))


def test_score_is_calibrated_where_calibration_is_given(tmp_path: Path) -> None:
    golden = open_bundle(GOLDEN, verify=verify.is_valid)
    assert golden.score(1, 0.75) == (1 / (1 + np.exp(-1.0)), True)
    plain = write_tiny_bundle(tmp_path / "b", calibration=None)
    assert plain.calibration is None
    assert plain.score(1, 0.0) == (0.5, False)
    assert plain.score(0, -1e6) == (0.0, False)
    assert plain.score(0, 1e6) == (1.0, False)


def test_no_background_is_a_warning_of_the_bundle(tmp_path: Path) -> None:
    training = {"background_clips": 0, "no_background": True, "clips": {"a": 3}, "seed": 7}
    bundle = write_tiny_bundle(tmp_path / "b", training=training)
    (warning,) = bundle.warnings
    assert "trained with --no-background" in warning
    assert bundle.manifest.training == training


def with_external_data(folder: Path, location: str = "weights.bin") -> dict[str, Any]:
    """A graph that takes 0.5 from a file of its own and multiplies by it twice."""
    tensor = external_tensor("e", (1,), location=location, offset="0", length="4")
    nodes = [node("Mul", ["x", "e"], "unused")]
    (folder / "graph.onnx").write_bytes(tiny_encoder(nodes, [tensor]))
    (folder / "weights.bin").write_bytes(np.float32(0.5).tobytes())
    return {"graph": folder / "graph.onnx", "external_data": [folder / "weights.bin"]}


def test_external_data_travels_with_its_graph(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", **with_external_data(tmp_path))
    assert (bundle.path / "weights.bin").read_bytes() == np.float32(0.5).tobytes()
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(BundleError, match="external"):
        write_tiny_bundle(tmp_path / "b", **with_external_data(tmp_path, "../weights.bin"))


def test_an_existing_bundle_is_replaced_only_when_asked(tmp_path: Path) -> None:
    first = write_tiny_bundle(tmp_path / "b")
    with pytest.raises(BundleError, match="already"):
        write_tiny_bundle(tmp_path / "b", name="second")
    assert contents(first.path) == contents(GOLDEN)
    assert write_tiny_bundle(tmp_path / "b", name="second", replace=True).name == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "tiny.onnx"]


@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_bundle_is_never_replaced(replace: bool, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "real")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    shutil.copytree(tmp_path / "real", tmp_path / "album")
    (tmp_path / "album" / "photos").mkdir()
    for name in ("photos", "file", "empty", "link", "album"):
        with pytest.raises(BundleError, match="not a bundle"):
            write_tiny_bundle(tmp_path / name, replace=replace)
    assert (tmp_path / "photos" / "one.jpg").exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"labels": ["a", "a"]}, BundleError),
        ({"labels": ["only one"]}, BundleError),
        ({"threshold_off": [0.6, 0.0]}, BundleError),
        ({"threshold_on": [np.nan, 0.0]}, BundleError),
        ({"name": "no blanks"}, BundleError),
        ({"created_utc": "yesterday"}, BundleError),
        ({"training": {"background_clips": 3}}, BundleError),
        ({"provenance": {"name": "no licence"}}, BundleError),
        ({"conformance_audio": AUDIO[:0]}, BundleError),
        ({"conformance_audio": np.tile(AUDIO, 43)}, BundleError),
        ({"conformance_audio": AUDIO / np.float32(32768)}, BundleError),
        ({"training": {"background_clips": 3, "no_background": False, "x": np.nan}}, BundleError),
        ({"training": {"background_clips": np.int64(3), "no_background": False}}, BundleError),
        ({"graph": Path("/nonexistent.onnx")}, BundleError),
        ({"external_data": [Path(__file__)]}, BundleError),
    ],
)
def test_what_would_be_refused_is_not_written(
    changes: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        write_tiny_bundle(tmp_path / "b", **changes)
    assert not (tmp_path / "b").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"tiny.onnx"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grid": replace(ENCODER.grid, band_edges_hz=(0.0, 4.0, 2e6))}, "E26"),
        ({"grid": replace(ENCODER.grid, step_samples=1e9)}, "E26"),
        ({"grid": replace(ENCODER.grid, band_edges_hz=(0.0, 4.0))}, "E27"),
        ({"sample_rate_hz": 2_000_000}, "E26"),
        ({"input_name": ""}, "E26"),
        ({"graph": "encoder.bin"}, "E27"),
        (None, "E24"),
    ],
)
def test_plan_of_an_encoder_is_judged_before_the_head_is_made(
    changes: dict[str, Any] | None, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=reason):
        plan(
            tmp_path / "b",
            encoder=replace(ENCODER, **changes or {}),
            provenance={"name": "reshape"} | ({"licence": "MIT"} if changes else {}),
        )
    assert not list(tmp_path.iterdir())


def plan(target: Path, **changes: Any) -> None:
    arguments: dict[str, Any] = {
        "name": "tiny", "encoder": ENCODER, "provenance": {"name": "reshape", "licence": "MIT"},
        "windows": WindowSpec(2, 1, 0.0), "labels": ["a"], "replace": False,
    }  # fmt: skip
    check_plan(target, **(arguments | changes))


def test_plan_needs_labels_and_a_place_to_write_to(tmp_path: Path) -> None:
    plan(tmp_path / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(BundleError, match="E40"):
        plan(tmp_path / "b", labels=["Strix_"])
    with pytest.raises(BundleError, match="no directory can be made"):
        plan(Path("/proc/b"))
    with pytest.raises(BundleError, match="no directory can be made"):
        plan(tmp_path / ("b" * 250))


def test_an_encoder_of_other_dimensions_is_named(tmp_path: Path) -> None:
    other = replace(ENCODER, grid=replace(ENCODER.grid, n_dims=5))
    with pytest.raises(EncoderError, match="shape"):
        write_tiny_bundle(tmp_path / "b", encoder=other)


def test_parent_must_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    write = partial(write_tiny_bundle, graph=tmp_path / "tiny.onnx")
    with pytest.raises(BundleError, match="parent"):
        write(tmp_path / "file" / "b")


def test_a_replay_comes_back_as_it_was() -> None:
    expected, bundle = REPLAY["replay"], open_bundle(GOLDEN_REPLAY, verify=verify.is_valid)
    assert bundle.id == "tiny-replay@f4f26b8c5919"
    found = read_replay(bundle)
    assert found is not None
    for name in ("scores", "targets", "groups", "noise", "noise_runs"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert read_replay(open_bundle(GOLDEN, verify=verify.is_valid)) is None


def test_a_replay_of_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    n = 2**20 // (3 * 2 + 2 + 4)
    many = replace(
        REPLAY["replay"], scores=np.zeros((n, 3), np.int16), targets=np.zeros((n, 2), np.int8),
        groups=np.zeros(n, np.int32),
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"replay\.safetensors"):
        write_tiny_bundle(tmp_path / "b", replay=many)
    assert not (tmp_path / "b").exists()


def derived(parent: Bundle, target: Path, **changes: Any) -> Bundle:
    head = parent.head
    assert isinstance(head, PrototypeHead)
    layer = Int8Linear.from_float(np.array([[0.5, 1, -1], [2, 0, 1]]), np.array([0.25, 0.5]))
    arguments: dict[str, Any] = {
        "created_utc": "2026-02-03T04:05:06Z",
        "head": replace(head, linear=layer),  # type: ignore[type-var]
        "calibration": Calibration(np.array([0.25, 9.0]), np.array([0.0, 1.0]), None),
        "training": {"background_clips": 3, "no_background": False, "parent": parent.sha256},
        "release": 4,
        "verify": verify.is_valid,
    }
    return derive_bundle(parent, target, **(arguments | changes))


@pytest.mark.parametrize("golden", [GOLDEN, GOLDEN_REPLAY])
def test_what_comes_behind_the_scores_is_all_that_is_new(golden: Path, tmp_path: Path) -> None:
    before = contents(golden)
    parent = open_bundle(golden, verify=verify.is_valid)
    child = derived(parent, tmp_path / "child")
    assert contents(golden) == before
    after = contents(child.path)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {
        "head.safetensors", "calibration.safetensors", "conformance.safetensors",
        "manifest.json", "manifest.sig",
    }  # fmt: skip
    assert child.manifest.training["parent"] == parent.sha256
    assert child.manifest.release == 4
    assert child.calibration is None
    stages = selftest(child)
    assert {one.name for one in stages} >= {"tokens", "scores", "logits", "decisions"}
    assert all(one.passed for one in stages)
    vectors, old = read_conformance(child), read_conformance(parent)
    assert np.array_equal(vectors.tokens, old.tokens)
    assert not np.array_equal(vectors.logits, old.logits)


def test_a_bundle_is_not_derived_over_anything(tmp_path: Path) -> None:
    parent = write_tiny_bundle(tmp_path / "b")
    before = contents(parent.path)
    with pytest.raises(BundleError, match="there is a bundle already"):
        derived(parent, parent.path)
    assert contents(parent.path) == before
    (parent.path / "encoder.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"encoder\.onnx"):
        derived(parent, tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "tiny.onnx"]
