"""From a checkpoint to a graph that the device runs, with its card, by the command."""

import functools
import logging
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from support.encoder_size import SIZE, keep
from support.seeded_encoder import golden

from edge_probe.bundle.operators import STANDARD
from edge_probe.encoder import Encoder
from edge_probe.errors import EdgeProbeError
from export import torch_graph
from export.card import read_card
from export.cli import main
from export.encoders import convert as conversion
from export.encoders import hub
from export.encoders.convert import convert
from export.encoders.encoder import Loaded, load_encoder, tokens_of
from export.encoders.families import NAMES, family
from export.encoders.family import Wish
from export.foreign.containers import read_checkpoint

CHUNK_S = 5.12 if SIZE == "full" else 0.32
EXPORTED = NAMES if SIZE == "full" else ("beats", "dasheng", "eat")
"""Without [cls]; with one row and a batch norm; with [cls]. All: make encoders-full."""

DEPTH = golden("eat").facts["sizes"][SIZE]["depth"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the checkpoint that most tests read."""
    folder = tmp_path_factory.mktemp("converted")
    save_file(golden("eat").checkpoint(SIZE), folder / "eat.safetensors")
    return folder


def loaded(folder: Path, name: str) -> Loaded:
    checkpoint = read_checkpoint(folder / f"{name}.safetensors")
    return load_encoder(checkpoint, family(name), CHUNK_S, Wish(depth=DEPTH))


@pytest.fixture
def exported_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of what stands around the export of EAT share one: it takes seconds."""
    program = _exported(folder)
    monkeypatch.setattr(torch_graph, "_export", lambda *_: program)


@functools.cache
def _exported(folder: Path) -> "torch.onnx.ONNXProgram":
    encoder = loaded(folder, "eat")
    return torch_graph._export(encoder.module, encoder.chunk_samples, encoder.module.outputs)


def arguments(folder: Path, name: str) -> list[str]:
    return ["encoder", "convert", str(folder / f"{name}.safetensors"), "--family", name,
            "--chunk-s", str(CHUNK_S), "--depth", str(DEPTH), "--out", str(folder)]  # fmt: skip


def sound(n_samples: int) -> NDArray[np.float32]:
    """Not the one that the conversion proves itself on."""
    sweep = np.sin(2 * np.pi * np.cumsum(np.geomspace(0.01, 0.4, n_samples)))
    noise = np.random.default_rng(11).standard_normal(n_samples)
    return (0.1 * sweep + 0.01 * noise).astype(np.float32)


@pytest.mark.parametrize("name", EXPORTED)
def test_convert(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    save_file(golden(name).checkpoint(SIZE), tmp_path / f"{name}.safetensors")
    assert main(arguments(tmp_path, name)) == 0
    said = capsys.readouterr().out
    assert caplog.messages == []  # of the exporter, above all
    known, expected = family(name), loaded(tmp_path, name)
    assert f"licence   {known.weights.licence}; commercial use: {known.weights.commercial}" in said
    sizes = golden(name).facts["sizes"][SIZE]
    assert "width {D}, depth {depth}, heads {heads}".format(**sizes) in said
    graph = tmp_path / f"{name}_{name}.onnx"
    card = read_card(graph)
    assert card.spec.grid == expected.grid
    assert card.spec.chunk_samples == round(CHUNK_S * known.front_end.sample_rate_hz)
    assert card.provenance["licence"] == known.weights.licence
    waveform = sound(card.spec.chunk_samples)
    token_map, *cls = tokens_of(expected.module, torch.from_numpy(waveform)[None])
    rows = token_map[0].flatten(1).T.numpy()
    for profile in ("low-memory", "fast"):
        found = Encoder(graph, card.spec, profile=profile).tokens(waveform)
        difference = float(np.abs(found - rows).max()) / max(1.0, float(np.abs(rows).max()))
        assert difference <= 1e-5
        keep(name, **{f"{profile.replace('-', '_')}_graph_from_torch": difference})
    assert card.cls == ("cls" if cls else None)
    _check_model(onnx.load(graph), graph.read_bytes())
    shutil.rmtree(tmp_path)  # a full one is large


def _check_model(model: onnx.ModelProto, data: bytes) -> None:
    """Standard operators of one opset, weights once, nothing of the machine."""
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]
    assert {node.op_type for node in model.graph.node} <= STANDARD
    constant = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    weighted = [node for node in products if constant & set(node.input)]
    assert len(weighted) == len(products) - 2 * DEPTH  # all but attention's: can be quantised
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b"site-packages" not in data


@pytest.mark.usefixtures("exported_once")
def test_a_model_of_the_hub_gives_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_download", lambda *_: folder / "eat.safetensors")
    command = arguments(folder, "eat")
    command[2], command[-1] = "hf:me/new", str(tmp_path / "new.onnx")
    assert main(command) == 0
    assert read_card(tmp_path / "new.onnx").provenance["name"] == "EAT: me/new"


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "there.onnx").touch()
    again = [*arguments(folder, "eat")[:-1], str(folder / "there.onnx")]
    assert main(again) == 1
    assert "exists already" in capsys.readouterr().err
    assert not (folder / "there.toml").exists()


def test_an_encoder_has_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*arguments(folder, "eat"), "--name", " "])
    assert "argument --name: expected some words, found none" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def press(_: object, __: int, graph: Path, ___: object) -> None:
        graph.write_bytes(b"half a graph")
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "write_graph", press)
    assert main([*arguments(folder, "eat")[:-1], str(tmp_path / "new")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ends", [True, False])
def test_ctrl_c_is_none_of_the_exporters_failures(
    ends: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def export(*_: object, **__: object) -> object:
        with suppress(BaseException):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        if ends:
            raise RuntimeError("another way has failed too")
        return None

    monkeypatch.setattr("torch.onnx.export", export)
    assert main([*arguments(folder, "eat")[:-1], str(tmp_path / "new")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"--out": "/proc/eat.onnx"}, "/proc: nothing can be written there"),
        ({"--chunk-s": "0.05"}, "shorter than one token of EAT"),
        ({"--chunk-s": "60"}, "the positions in this checkpoint of EAT reach to 16"),
        ({"--heads": "3"}, "128 does not divide into 3 heads"),
        ({"--depth": "3"}, "lacks blocks.2.attn.proj.bias"),
        ({"--family": "bat"}, "no checkpoint of BAT: it lacks student.encoder.patch_embed.proj"),
    ],
)
def test_wrong_input_is_one_line(
    change: dict[str, str], problem: str, folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options = {"--family": "eat", "--chunk-s": "0.32", "--depth": "2", "--out": str(tmp_path / "o")}
    checkpoint = str(folder / "eat.safetensors")
    pairs = [word for pair in (options | change).items() for word in pair]
    assert main(["encoder", "convert", checkpoint, *pairs]) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert len(error.strip().splitlines()) == 2  # what, and what to do
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("exported_once")
def test_a_graph_that_computes_something_else_is_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = loaded(folder, "eat")

    def spoil(module: torch.nn.Module, *rest: object) -> None:
        torch_graph.write_graph(module, *rest)  # type: ignore[arg-type]
        encoder.module.body.norm = torch.nn.LayerNorm(128)  # torch goes on with another one

    monkeypatch.setattr(conversion, "write_graph", spoil)
    monkeypatch.setattr(torch_graph, "MAX_INLINE_BYTES", 1000)
    with pytest.raises(EdgeProbeError, match=r"its tokens are .* from torch's"):
        convert(encoder, tmp_path / "new" / "folder" / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def _never(*_: object) -> None:
    raise AssertionError("the work has begun")


@pytest.mark.usefixtures("exported_once")
def test_large_weights_stand_beside_the_graph(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch_graph, "MAX_INLINE_BYTES", 1000)
    exported_once = torch_graph._export
    monkeypatch.setattr(torch_graph, "_export", _never)
    command = [*arguments(folder, "eat")[:-1], str(tmp_path / "new" / "mésange 1.onnx")]
    assert main(command) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == (
        "error: 'mésange 1.onnx.data': the weights stand in a file beside the graph, and no bundle "
        "may hold one of this name"
    )
    assert hint.endswith("--out encoder.onnx")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(torch_graph, "_export", exported_once)
    card = convert(loaded(folder, "eat"), tmp_path / "big.onnx").card
    assert [path.name for path in card.external_data] == ["big.onnx.data"]
    assert card.graph.stat().st_size < 100_000
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "big.onnx", "big.onnx.data", "big.toml",
    ]  # fmt: skip
