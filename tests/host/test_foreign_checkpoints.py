"""Checkpoints of others: heads are found, none of their code is run, the rest is refused."""

import argparse
import collections
import contextlib
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.foreign import N_DIMS, RATE, World

from export.foreign import CheckpointError
from export.foreign.containers import read_checkpoint
from export.foreign.dense import find_dense
from export.foreign.prototypes import find_prototypes
from export.foreign.recipe import Declared, read_recipe

C, M = 3, 6


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, C)


def head(prefix: str = "head.", layer: str = "fc", **shapes: tuple[int, ...]) -> dict[str, Any]:
    """Tensors of a head, some of another shape or left out (no sizes)."""
    sizes = {
        "prototype_vectors": (M, N_DIMS, 1, 1),
        f"{layer}.weight": (C, M),
        f"{layer}.bias": (C,),
    }
    sizes |= {name.replace("__", "."): shape for name, shape in shapes.items()}
    return {prefix + name: torch.ones(shape) for name, shape in sizes.items() if shape}


class Trap:
    """Unpickled with open arms, it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("form", ["zip", "old torch", "bare pickle"])
def test_malicious_pickle_runs_nothing(tmp_path: Path, form: str) -> None:
    made, path = tmp_path / "made", tmp_path / "trap.pt"
    content = {"state": head(), "args": {"head": "protobin", "note": Trap(made)}}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(path)
    assert not made.exists()
    assert "only be read by running" in refused.value.message or form == "bare pickle"
    assert "torch.save(model.state_dict()" in str(refused.value.hint)
    if form != "bare pickle":  # the trap works: whoever reads it carelessly springs it
        torch.load(path, weights_only=False)
        assert made.exists()


def test_bats_own_file_is_read(tmp_path: Path) -> None:
    """With the defaultdict and the NumPy scalars that its training loop leaves in it."""
    history = collections.defaultdict(list)
    history["test_mAP_macro"].append(np.float64(31.4))
    content = {
        "history": history,
        "test_metrics": {"mAP_macro": np.float64(31.4), "f1_macro": 12.0},
        "args": {"head": "protobin", "num_prototypes": M, "sr": RATE},
        "state": (head(),),
    }
    torch.save(content, tmp_path / "bat.pt")
    found = read_checkpoint(tmp_path / "bat.pt")
    assert found.facts["head"] == "protobin"
    assert found.tensors.keys() == head().keys()
    torch.save({"model": head(), "args": argparse.Namespace(head="protobin")}, tmp_path / "ns.pt")
    assert read_checkpoint(tmp_path / "ns.pt").facts["head"] == "protobin"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.pt", None, "no such file"),
        ("empty.pt", b"", "not a torch checkpoint of weights"),
        ("text.ckpt", b"hello", "not a torch checkpoint of weights"),
        ("text.safetensors", b"hello", "not a safetensors file"),
        ("text.npz", b"hello", "not an npz file"),
        ("list.pt", [1, 2], "expected tensors by name, found list"),
        ("text.pt", {"state": ("a", "b")}, "expected tensors by name, found tuple"),
        ("tensor.pt", torch.ones(3), "expected tensors by name, found Tensor"),
    ],
)
def test_files_without_weights(tmp_path: Path, name: str, content: Any, problem: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / name)
    with pytest.raises(CheckpointError, match=problem) as refused:
        read_checkpoint(tmp_path / name)
    assert refused.value.hint


def test_npz_with_objects_and_config_that_is_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", weight=np.array([Trap(tmp_path / "made")]))
    with pytest.raises(CheckpointError, match="plain numbers"):
        read_checkpoint(tmp_path / "objects.npz")
    assert not (tmp_path / "made").exists()
    save_file(head(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        read_checkpoint(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["bomb.npz", "bomb.pt"])
def test_bombs_are_not_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("weight.npy", "bias.npy"):
            archive.writestr(part, bytes(2**27 + 1))
    with pytest.raises(CheckpointError, match=r"unpack to 0\.3 GiB"):
        read_checkpoint(tmp_path / name)
    np.savez_compressed(tmp_path / "good.npz", weight=np.zeros((C, 10**6)), bias=np.zeros(C))
    assert read_checkpoint(tmp_path / "good.npz").tensors["weight"].shape == (C, 10**6)


@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_damaged_checkpoints_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    torch.save(head(), path)
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place] = value
    path.write_bytes(data[:place] if cut else data)
    with contextlib.suppress(CheckpointError):
        assert read_checkpoint(path).tensors


@pytest.mark.parametrize("prefix", ["", "head.", "module.ppnet.", "_orig_mod.model.head."])
def test_prefix_is_found(tmp_path: Path, prefix: str) -> None:
    torch.save({"encoder.fc.weight": torch.ones(2), **head(prefix)}, tmp_path / "head.pt")
    found = find_prototypes(read_checkpoint(tmp_path / "head.pt"))
    assert (found.prefix, found.layer, found.class_bound) == (prefix, "fc", False)


CGP = {"head.block_attention": torch.ones(12), **head(fc__weight=(C, 3 * M))}


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        (head() | head("ema.head."), "found ema.head.prototype_vectors, head.prototype_vectors"),
        (head(fc__weight=()), "expected one of head.fc.weight"),
        (head() | head(layer="linear"), "expected one of head.fc.weight"),
        (head(fc__weight=(C, 2)), "do not fit 6 prototypes"),
        (head(fc__bias=(2,)), "do not fit 6 prototypes"),
        (head(fc__weight=(C,)), "do not fit 6 prototypes"),
        (head(prototype_vectors=(M, N_DIMS, 1, 3)), r"expected \(M, D, 1, 1\)"),
        (head(prototype_vectors=(M,)), r"expected \(M, D, 1, 1\)"),
        (head(layer="last_layer", last_layer__weight=(C, 4)), "do not fit 6 prototypes"),
        (CGP, "mixes the layers of its encoder"),
        ({"layer_weights": torch.ones(12), **head()}, "mixes the layers of its encoder by learned"),
        ({"head.frequency_weights": torch.ones(M, 4), **head()}, "weighs its scores by frequency"),
        ({"head.add_on_layers.0.weight": torch.ones(1), **head()}, "puts trained layers between"),
        (head() | {"head.fc.bias": torch.full((C,), torch.nan)}, "NaN or infinite"),
        (head() | {"head.fc.bias": torch.ones(C, dtype=torch.int8)}, "dense tensor of floats"),
        (
            head() | {"head.prototype_vectors": torch.ones(1).expand(2**20, 2**20, 1, 1)},
            "holds 4 bytes of a tensor of 1048576 x 1048576",
        ),
        (head() | {"head.fc.weight": torch.empty(C, M, device="meta")}, "holds 0 bytes"),
    ],
)
def test_heads_that_are_refused(tmp_path: Path, tensors: dict[str, Any], problem: str) -> None:
    torch.save(tensors, tmp_path / "head.pt")
    with pytest.raises(CheckpointError, match=problem) as refused:
        find_prototypes(read_checkpoint(tmp_path / "head.pt"))
    assert refused.value.hint


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"weight": torch.ones(C, 4), "bias": torch.ones(2)}, r"found \(3, 4\) and \(2,\)"),
        ({"weight": torch.ones(C), "bias": torch.ones(C)}, r"found \(3,\) and \(3,\)"),
        ({"weight": torch.ones(C, 4)}, "exactly weight"),
        ({"a.weight": torch.ones(C, 4), "b.weight": torch.ones(C, 4)}, "found a.weight, b.weight"),
    ],
)
def test_no_head_at_all(tmp_path: Path, tensors: dict[str, Any], problem: str) -> None:
    torch.save(tensors, tmp_path / "head.pt")
    with pytest.raises(CheckpointError, match=problem):
        find_dense(read_checkpoint(tmp_path / "head.pt"))


@pytest.mark.parametrize(
    ("args", "declared", "problem"),
    [
        ({}, Declared(raw_tokens=True), "does not say which it is"),
        ({"head": "linear"}, Declared(raw_tokens=True), "does not say which it is"),
        ({"head": "protobin"}, Declared(head="protofloat"), "says that its head is protobin"),
        ({}, Declared(head="protofloat"), "does not say what its tokens were"),
        ({"head": "protobin", "frame_wise_task": True}, Declared(), "every time step"),
    ],
)
def test_what_the_file_and_the_user_say(
    tmp_path: Path, args: dict[str, Any], declared: Declared, problem: str
) -> None:
    torch.save({"state": head(), "args": args}, tmp_path / "head.pt")
    with pytest.raises(CheckpointError, match=problem) as refused:
        read_recipe(tmp_path / "head.pt", declared)
    assert refused.value.hint


def test_options_that_do_not_apply_to_a_dense_layer(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(C, 4), "bias": torch.ones(C)}, tmp_path / "dense.pt")
    with pytest.raises(CheckpointError, match="float32 weights on the mean token"):
        read_recipe(tmp_path / "dense.pt", Declared(linear="int8"))


@pytest.mark.parametrize(
    ("tensors", "args", "labels", "problem"),
    [
        (head(prototype_vectors=(M, 8, 1, 1)), {}, C, "reads tokens of 8 components"),
        (head(), {"sr": 16_000}, C, "was trained at 16000 Hz"),
        (head(), {"sr": "16000"}, C, "was trained at 16000 Hz"),
        (head(), {"sr": 16e3}, C, "was trained at 16000 Hz"),
        *(
            (head(), {"sr": sr}, C, f"a sample rate in whole hertz as sr, found {sr!r}")
            for sr in ("16 kHz", "nan", "inf", 0, -1, 999.5, True, [RATE], "")
        ),
        (head(), {}, 2, "has 3 classes, the labels are 2"),
    ],
)
def test_what_does_not_belong_together(
    world: World, tensors: dict[str, Any], args: dict[str, Any], labels: int, problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (world.folder / "labels.txt").write_text("\n".join("abc"[:labels]), encoding="utf-8")
    torch.save({"state": (tensors,), "args": {"head": "protobin"} | args}, world.folder / "h.pt")
    assert world.run("h.pt") == 1
    error = capsys.readouterr().err
    assert problem in error
    assert "hint:" in error
    assert not (world.folder / "bundle").exists()


@pytest.mark.parametrize("sr", [None, str(RATE), float(RATE)])
def test_a_sample_rate_that_fits(world: World, sr: object) -> None:
    torch.save({"state": head(), "args": {"head": "protobin", "sr": sr}}, world.folder / "h.pt")
    assert world.run("h.pt") == 0


@pytest.mark.parametrize("score", ["0", "1", "nan", "much"])
def test_threshold_score_is_between_0_and_1(world: World, score: str) -> None:
    torch.save(head(), world.folder / "h.pt")
    with pytest.raises(SystemExit, match="2"):
        world.run("h.pt", "--threshold-score", score)
