"""The selftest, and what ``info`` and ``selftest`` print."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from support.tiny_bundle import GOLDEN, GOLDEN_FLOAT, resign, tiny_head, write_tiny_bundle

from edge_probe.bundle import open_bundle, selftest, verify
from edge_probe.bundle.inspect import describe_prototypes
from edge_probe.bundle.reader import read_conformance
from edge_probe.commands import info
from edge_probe.commands import selftest as selftest_command
from edge_probe.errors import BundleError, EdgeProbeError
from edge_probe.head import Int8Linear, ProtobinHead, backends, native
from edge_probe.head.packing import pack_signs


def run(command: Any, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args(arguments))
    return code


@pytest.mark.parametrize("profile", ["low-memory", "fast"])
@pytest.mark.parametrize("linear", ["int8", "int8-grouped", "int8-sparse", "float32", "mean"])
@pytest.mark.parametrize("bits", ["float", 1, 3, 8])
def test_a_new_bundle_passes(bits: Any, linear: str, profile: Any, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=tiny_head(bits, linear))
    stages = selftest(bundle, profile)
    assert all(stage.passed for stage in stages)
    if linear != "mean":
        kernels = {stage.kernel for stage in stages if stage.name == "scores"}
        assert kernels == {backend.name for backend in backends.available(bits, 4)}
    exact = {stage.name: stage.allowed for stage in stages}
    if linear == "int8" and bits != "float":
        assert exact["digits"] == exact["scores"] == exact["logits"] == 0


@pytest.mark.parametrize("bits", ["float", 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_padding_in_the_last_chunk_is_no_candidate(bits: Any, seed: int, tmp_path: Path) -> None:
    audio = np.random.default_rng(seed).integers(-3000, 3000, 8).astype(np.int16)
    bundle = write_tiny_bundle(tmp_path / "b", head=tiny_head(bits), conformance_audio=audio)
    assert [stage for stage in selftest(bundle) if not stage.passed] == []
    scores = read_conformance(bundle).scores
    assert scores is not None
    assert scores.min() < 0  # a token of padding would have scored 0


@pytest.mark.parametrize("linear", ["int8", "int8-grouped", "int8-sparse", "float32"])
def test_a_new_bundle_with_float_prototypes_passes(linear: str, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=tiny_head("float", linear, "protofloat"))
    stages = selftest(bundle)
    assert all(stage.passed for stage in stages)
    allowed = {stage.name: stage.allowed for stage in stages}
    assert allowed["scores"] == 1e-6
    assert (allowed["logits"] == 0) == (linear != "float32")
    assert allowed.keys().isdisjoint({"digits", "best tokens"})
    spoil(bundle.path, "scores", lambda a: a + np.float32(2e-6))
    failed = {
        s.name for s in selftest(open_bundle(bundle.path, verify=verify.is_valid)) if not s.passed
    }
    assert "scores" in failed


def spoil(directory: Path, name: str, change: Any) -> None:
    path = directory / "conformance.safetensors"
    arrays = load(path.read_bytes())
    arrays[name] = change(arrays[name].copy())
    path.write_bytes(save(arrays))
    resign(directory)


SPOILT = {
    "tokens": (lambda a: a + np.float32(0.006), {"tokens"}),
    "digits": (lambda a: a ^ 1, {"digits"}),
    "scores": (lambda a: np.nextafter(a, np.float32(2)), {"scores"}),
    "score_tokens": (lambda a: a ^ 1, {"best tokens"}),
    "logits": (lambda a: np.nextafter(a, 100.0), {"logits"}),
    "decisions": (lambda a: a ^ 1, {"decisions"}),
}


@pytest.mark.parametrize("name", SPOILT)
def test_the_smallest_difference_fails_its_stage(name: str, tmp_path: Path) -> None:
    """An error as small as one unit in the last place is found where results are exact."""
    change, expected = SPOILT[name]
    bundle = write_tiny_bundle(tmp_path / "b")
    spoil(bundle.path, name, change)
    failed = {
        s.name for s in selftest(open_bundle(bundle.path, verify=verify.is_valid)) if not s.passed
    }
    assert expected <= failed


def test_tokens_within_tolerance_pass(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=tiny_head("float", "mean"))
    spoil(bundle.path, "tokens", lambda a: a + np.float32(0.004))
    (stage,) = [
        s for s in selftest(open_bundle(bundle.path, verify=verify.is_valid)) if s.name == "tokens"
    ]
    assert stage.passed
    assert stage.error == pytest.approx(0.004, abs=1e-6)


def test_a_bundle_that_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    path = bundle.path / "conformance.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BundleError):
        selftest(bundle)


def test_selftest_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(selftest_command, str(GOLDEN)) == 0
    out = capsys.readouterr().out
    assert "tiny@" in out
    assert "FAIL" not in out
    assert out.splitlines()[-1].endswith("passed")
    assert max(len(line) for line in out.splitlines()) <= 80


def test_selftest_command_fails_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny_bundle(tmp_path / "b")
    spoil(bundle.path, "scores", lambda a: a + np.float32(0.25))
    assert run(selftest_command, str(bundle.path)) == 1
    assert "FAILED" in capsys.readouterr().out
    assert run(selftest_command, str(bundle.path), "--json") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["stage"] for row in rows if row["passed"] is False} == {"scores", "logits"}


def test_info_names_versions_and_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(info) == 0
    out = capsys.readouterr().out
    assert np.__version__ in out
    assert "numpy-" in out
    assert run(info, "--json") == 0
    assert json.loads(capsys.readouterr().out)["numpy"] == np.__version__


def test_info_says_why_a_kernel_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(native.FORCE_VARIABLE, "numpy-popcount")
    run(info)
    assert "numpy-popcount (forced by EDGE_PROBE_KERNEL)" in capsys.readouterr().out


def test_info_describes_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(info, str(GOLDEN), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    total = sum(path.stat().st_size for path in GOLDEN.iterdir())
    sizes = facts["size_bytes"]
    assert sizes["total"] == total == sum(sizes.values()) - sizes["total"]
    assert sizes["encoder"] == (GOLDEN / "encoder.onnx").stat().st_size
    assert sizes["prototypes"] == 3
    assert sizes["linear layer"] == 2 * 3 + 2 * 8 + 2 * 8
    assert facts["bundle"].startswith("tiny@")
    assert run(info, str(GOLDEN)) == 0
    out = capsys.readouterr().out
    for expected in ("not origin", "M = 3", "1-bit", "Apache-2.0", "2 s every 1 s", "Great Tit"):
        assert expected in out


def test_info_describes_float_prototypes_and_a_sparse_layer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(info, str(GOLDEN_FLOAT), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["size_bytes"]["prototypes"] == 3 * 4 * 4
    assert facts["size_bytes"]["linear layer"] == 2 * 2 * (1 + 4) + 2 * 8 + 2 * 8
    for expected in ("protofloat", "M = 3", "float tokens", "at least 0", "int8-sparse"):
        assert expected in facts["head"]
    with pytest.raises(EdgeProbeError, match="no binary prototypes"):
        run(info, str(GOLDEN_FLOAT), "--bits")


def test_commands_warn_at_every_load(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    training = {"background_clips": 0, "no_background": True}
    bundle = write_tiny_bundle(tmp_path / "b", training=training)
    for command in (info, selftest_command):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(command, str(bundle.path))
        assert "--no-background" in caplog.text


def test_bits_find_copies_and_imbalance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signs = np.random.default_rng(0).choice([-1, 1], (6, 40))
    signs[2] = signs[0]
    signs[3] = signs[1]
    signs[3, 7] *= -1
    signs[4] = 1
    weights = np.tile(np.eye(2), 3)
    linear = Int8Linear.from_float(weights, np.zeros(2))
    zeros = np.zeros(40, np.float32), np.zeros(6, np.float32)
    head = ProtobinHead(pack_signs(signs), zeros[0], 1, linear, zeros[1])
    labels = open_bundle(GOLDEN, verify=verify.is_valid).labels
    even, odd = describe_prototypes(head, labels)
    assert even.prototypes == (0, 2, 4)
    assert odd.prototypes == (1, 3, 5)
    assert even.ones[2] == 1.0
    assert even.ones[0] == np.count_nonzero(signs[0] > 0) / 40
    (copy,) = even.near_copies
    assert (copy.first, copy.second, copy.n_different) == (0, 2, 0)
    (near,) = odd.near_copies
    assert (near.first, near.second, near.n_different) == (1, 3, 1)


def test_info_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(info, str(GOLDEN), "--bits") == 0
    assert "background: 2 prototypes, ones 0.50 to 0.75" in capsys.readouterr().out
    assert run(info, str(GOLDEN), "--bits", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["prototype_bits"][1]["ones"] == [0.5, 0.75]
    mean = write_tiny_bundle(tmp_path / "b", head=tiny_head("float", "mean"))
    with pytest.raises(EdgeProbeError, match="no binary prototypes"):
        run(info, str(mean.path), "--bits")
    with pytest.raises(EdgeProbeError, match="needs a bundle"):
        run(info, "--bits")
