"""Protobin and protofloat heads of others: the trained function, in fp32, to 1e-6 and 1e-4."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from support.foreign import N_DIMS, RATE, World, logits, scores, waveforms
from torch import Tensor
from torch.nn import functional

from edge_probe.bundle import selftest
from edge_probe.cli import main as edge_probe
from edge_probe.head import FloatLinear, GroupedInt8Linear, Int8Linear, ProtobinHead, ProtofloatHead

C, J = 3, 4
M = C * J


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, C)


def draw(*shape: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator) * scale


def dense(layer: str = "fc", prefix: str = "head.") -> dict[str, Tensor]:
    vectors = draw(M, N_DIMS, 1, 1, scale=0.02)
    vectors[0, :3] = 0  # sign(0) = +1
    return {
        f"{prefix}prototype_vectors": vectors,
        f"{prefix}{layer}.weight": draw(C, M, scale=20),
        f"{prefix}{layer}.bias": draw(C),
    }


def block_diagonal() -> dict[str, Tensor]:
    return {
        "head.prototype_vectors": draw(M, N_DIMS, 1, 1, scale=0.02),
        "head.class_weight": draw(C, J, scale=20),
        "head.class_bias": draw(C),
    }


def best_cosines(tokens: Tensor, vectors: Tensor) -> Tensor:
    """(D, T, F) and (M, D, 1, 1) -> (M,), as the papers' heads compute them, in fp32."""
    unit_tokens = functional.normalize(tokens[None], dim=1)
    unit_vectors = functional.normalize(vectors, dim=1)
    return functional.conv2d(unit_tokens, unit_vectors).flatten(2).amax(dim=-1)[0]


def signs(vectors: Tensor) -> Tensor:
    return (vectors >= 0).float() * 2 - 1


BAT: dict[str, Any] = {
    "history": {"test_mAP_macro": [31.0]},
    "test_metrics": {"mAP_macro": 31.0},
    "args": {"head": "protobin", "frame_wise_task": False, "sr": RATE},
    "state": ({"pos_embed": torch.zeros(1, 2, 3), **dense()},),
}


def test_bat_protobin(world: World) -> None:
    torch.save(BAT, world.folder / "bat.pt")
    bundle = world.bundle("bat.pt")
    head, state = bundle.head, dense()
    assert isinstance(head, ProtobinHead)
    assert (head.bits, head.n_prototypes, head.n_dims) == ("float", M, N_DIMS)
    for waveform in waveforms():
        tokens, _ = world.maps(waveform)
        expected = best_cosines(tokens, signs(state["head.prototype_vectors"]))
        np.testing.assert_allclose(scores(bundle, waveform), expected, atol=1e-6, rtol=0)
        theirs = functional.linear(expected, state["head.fc.weight"], state["head.fc.bias"])
        np.testing.assert_allclose(logits(bundle, waveform), theirs, atol=1e-4, rtol=0)


def test_bundle_proves_itself_warns_and_classifies(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(BAT, world.folder / "bat.pt")
    bundle = world.bundle("bat.pt", "--threshold-score", "0.01", "--name", "somebodys")
    assert all(stage.passed for stage in selftest(bundle))
    training = bundle.manifest.training
    assert training["no_background"] is True
    assert training["imported"]["lineage"] == "BAT Protobin"
    assert "not calibrated" in str(training["thresholds"])
    np.testing.assert_allclose(bundle.threshold_on, np.log(0.01 / 0.99))
    assert bundle.name == "somebodys"
    sf.write(world.folder / "sound.wav", sound := waveforms()[0] * 0.2, RATE, subtype="FLOAT")
    capsys.readouterr()
    sources = [str(world.folder / "sound.wav"), "--bundle", str(bundle.path)]
    assert edge_probe(["classify", "--json", *sources]) == 0
    found = {
        int(re.findall(r"Bird (\d)", line)[0]) for line in capsys.readouterr().out.splitlines()
    }
    heard = set(np.flatnonzero(logits(bundle, sound) >= bundle.threshold_on).tolist())
    assert found == heard
    assert 0 < len(heard) < C


@pytest.mark.parametrize("layer", ["linear", "fc"])
@pytest.mark.parametrize("bare", ["head.", "", "module.head."])
def test_bare_state_dict_needs_the_users_word(world: World, bare: str, layer: str) -> None:
    torch.save(dense(layer, bare), world.folder / "state.pt")
    assert world.run("state.pt", "--raw-tokens") == 1
    assert not (world.folder / "bundle").exists()
    assert world.run("state.pt", "--head", "protobin") == 1
    bundle = world.bundle("state.pt", "--raw-tokens", "--head", "protobin")
    assert isinstance(bundle.head, ProtobinHead)


@pytest.mark.parametrize("key", ["model", "state_dict", "state"])
@pytest.mark.parametrize("minus_cls", [False, True])
@pytest.mark.parametrize("kind", ["dense", "block-diagonal"])
def test_protofloat(world: World, kind: str, minus_cls: bool, key: str) -> None:
    state = dense("linear") if kind == "dense" else block_diagonal()
    torch.save({key: state, "epoch": 3}, world.folder / "float.ckpt")
    tokens_are = ["--minus-cls", "cls"] if minus_cls else ["--raw-tokens"]
    bundle = world.bundle("float.ckpt", "--head", "protofloat", *tokens_are)
    assert isinstance(bundle.head, ProtofloatHead)
    assert not bundle.head.floor_at_zero
    for waveform in waveforms():
        tokens, cls = world.maps(waveform)
        tokens = tokens - cls[:, None, None] * minus_cls
        expected = best_cosines(tokens, state["head.prototype_vectors"])
        np.testing.assert_allclose(scores(bundle, waveform), expected, atol=1e-6, rtol=0)
        if kind == "dense":
            theirs = functional.linear(
                expected, state["head.linear.weight"], state["head.linear.bias"]
            )
        else:
            own = expected.reshape(C, J)  # class-major
            theirs = (own * state["head.class_weight"]).sum(dim=1) + state["head.class_bias"]
        np.testing.assert_allclose(logits(bundle, waveform), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["dense", "block-diagonal"])
def test_int8_keeps_its_promise(world: World, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    state = dense("linear") if kind == "dense" else block_diagonal()
    torch.save(state, world.folder / "float.pt")
    declared = "--head", "protofloat", "--raw-tokens"
    exact = world.bundle("float.pt", *declared)
    assert isinstance(exact.head.linear, FloatLinear)
    assert "int8" not in caplog.text
    rounded = world.bundle("float.pt", *declared, "--linear", "int8", "--replace")
    grouped = kind == "block-diagonal"
    assert isinstance(rounded.head.linear, GroupedInt8Linear if grouped else Int8Linear)
    promised = float(caplog.text.split("no logit moves by more than ")[1].split(";")[0])
    moved = [np.abs(logits(exact, each) - logits(rounded, each)).max() for each in waveforms()]
    assert 0 < max(moved) <= promised * 1.05  # printed to two digits


def test_weights_in_half_precision(world: World) -> None:
    state = {name: value.half() for name, value in dense("linear").items()}
    torch.save(state, world.folder / "half.pt")
    bundle = world.bundle("half.pt", "--head", "protofloat", "--raw-tokens")
    tokens, _ = world.maps(waveforms()[0])
    expected = best_cosines(tokens, state["head.prototype_vectors"].float())
    np.testing.assert_allclose(scores(bundle, waveforms()[0]), expected, atol=1e-6, rtol=0)
