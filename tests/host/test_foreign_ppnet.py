"""PPNet heads of Bird-MAE and AudioProtoPNet: [cls], upsampling, epsilons and relu reproduced."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.external_data_helper import convert_model_to_external_data
from safetensors.torch import save_file
from support.foreign import N_DIMS, World, encoder_model, logits, waveforms
from torch import Tensor
from torch.nn import functional

from edge_probe.bundle import selftest
from edge_probe.encoder import Encoder
from edge_probe.errors import EncoderError
from edge_probe.head import FloatLinear, GroupedInt8Linear, ProtofloatHead
from export.card import read_card
from export.foreign import assemble, layer
from export.foreign.token_steps import TokenSteps, with_steps

C, J = 3, 4
BIRD_MAE = ("--minus-cls", "cls", "--upsample", "2")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, C)


def state(prefix: str = "ppnet.", *, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    vectors = torch.rand(C * J, N_DIMS, 1, 1, generator=generator) - 0.3
    return {
        f"{prefix}prototype_vectors": vectors * scale,
        f"{prefix}last_layer.weight": torch.randn(C, J, generator=generator) * 10,
        f"{prefix}last_layer.bias": torch.full((C,), -2.0),
    }


def similarities(tokens: Tensor, vectors: Tensor) -> Tensor:
    """Best similarity of each prototype: (D, T, F), (M, D, 1, 1) -> (M,), from the definition.

    Both get two components of 1e-4; lengths get 1e-4 under the root, prototypes another 1e-4
    outside of it; 1.01 keeps the result below 1.
    """
    rows = functional.pad(tokens.flatten(1).T, (0, 2), value=1e-4)
    prototypes = functional.pad(vectors.flatten(1), (0, 2), value=1e-4)
    rows = rows / (rows.square().sum(dim=1, keepdim=True) + 1e-4).sqrt()
    lengths = (prototypes.square().sum(dim=1, keepdim=True) + 1e-4).sqrt() + 1e-4
    return torch.relu((prototypes / lengths) @ rows.T / 1.01).amax(dim=1)


def theirs(
    world: World,
    head: dict[str, Tensor],
    waveform: NDArray[np.float32],
    minus_cls: bool,
    upsample: int,
) -> Tensor:
    """Logits of a PPNet."""
    vectors, weight, bias = head.values()
    tokens, cls = world.maps(waveform)
    if minus_cls:
        tokens = tokens - cls[:, None, None]
    if upsample == 2:
        tokens = functional.interpolate(
            tokens[None], scale_factor=2, mode="bilinear", align_corners=False
        )[0]
    best = similarities(tokens, vectors)
    if len(best) == weight.shape[1]:
        return functional.linear(best, torch.relu(weight), bias)
    return torch.einsum("cj,cj->c", best.reshape(C, -1), torch.relu(weight)) + bias


@pytest.mark.parametrize("scale", [1.0, 0.02])  # where epsilons matter for prototypes too
@pytest.mark.parametrize("upsample", [1, 2])
@pytest.mark.parametrize("minus_cls", [False, True])
def test_bird_mae(world: World, minus_cls: bool, upsample: int, scale: float) -> None:
    torch.save({"state_dict": state(scale=scale), "epoch": 29}, world.folder / "bird.ckpt")
    tokens_are = ["--minus-cls", "cls"] if minus_cls else ["--raw-tokens"]
    bundle = world.bundle("bird.ckpt", *tokens_are, "--upsample", str(upsample))
    assert isinstance(bundle.head, ProtofloatHead)
    assert bundle.head.floor_at_zero
    for waveform in waveforms():
        expected = theirs(world, state(scale=scale), waveform, minus_cls, upsample)
        np.testing.assert_allclose(logits(bundle, waveform), expected, atol=1e-4, rtol=0)
    assert all(stage.passed for stage in selftest(bundle))


def test_similarity_itself(world: World) -> None:
    """One prototype for each class, with weight 1 and without bias: a logit is a similarity."""
    head = {name: value[:C] for name, value in state().items()}
    head["ppnet.last_layer.weight"] = torch.ones(C, 1)
    head["ppnet.last_layer.bias"] = torch.zeros(C)
    torch.save(head, world.folder / "one.pt")
    bundle = world.bundle("one.pt", *BIRD_MAE)
    heard = []
    for waveform in waveforms():
        expected = theirs(world, head, waveform, True, 2).numpy()
        np.testing.assert_allclose(logits(bundle, waveform), expected, atol=1e-6, rtol=0)
        heard.append(expected)
    assert np.min(heard) < 0.1 < np.max(heard)


def test_grid_is_finer_where_the_map_was_upsampled(world: World) -> None:
    torch.save(state(), world.folder / "bird.pt")
    grid = world.bundle("bird.pt", *BIRD_MAE).encoder.grid
    assert (grid.n_dims, grid.n_time, grid.n_freq) == (N_DIMS + 1, 8, 6)
    assert grid.step_samples == 36
    assert grid.band_edges_hz == (0, 15, 30, 45, 60, 90, 120)


@pytest.mark.parametrize(
    ("options", "asks_for"),
    [
        ((), "--minus-cls OUTPUT"),
        (("--raw-tokens",), "--upsample 2"),
        (("--minus-cls", "cls"), "--upsample 2"),
        (("--raw-tokens", "--upsample", "1", "--head", "protofloat"), "leave --head out"),
        (("--minus-cls", "class", "--upsample", "1"), "second output"),
        (("--minus-cls", "tokens", "--upsample", "1"), "as many components"),
    ],
)
def test_nothing_is_guessed(
    world: World, options: tuple[str, ...], asks_for: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state(), world.folder / "bird.pt")
    assert world.run("bird.pt", *options) == 1
    assert asks_for in capsys.readouterr().err
    assert not (world.folder / "bundle").exists()


@pytest.mark.parametrize("add_on", ["upsample", "identity"])
@pytest.mark.parametrize("non_negative", [True, False])
def test_audioprotopnet_says_it_in_its_config(
    world: World, add_on: str, non_negative: bool, caplog: pytest.LogCaptureFixture
) -> None:
    head = {"model.backbone.embeddings.weight": torch.zeros(2), **state("head.")}
    save_file(head, world.folder / "model.safetensors")
    config = {"model_type": "AudioProtoNet", "add_on_layers_type": add_on}
    config["non_negative_last_layer"] = non_negative  # type: ignore[assignment]
    (world.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    bundle = world.bundle("model.safetensors")
    expected = theirs(world, state(), waveforms()[0], False, 2 if add_on == "upsample" else 1)
    apart = np.abs(logits(bundle, waveforms()[0]) - expected.numpy()).max()
    assert (apart <= 1e-4) == non_negative
    assert ("negative weights count as 0" in caplog.text) == non_negative


def test_layer_that_sees_all_prototypes_without_bias(world: World) -> None:
    head = state()
    head["ppnet.last_layer.weight"] = torch.randn(C, C * J)
    torch.save({key: value for key, value in head.items() if "bias" not in key},
               world.folder / "all.pt")  # fmt: skip
    bundle = world.bundle("all.pt", *BIRD_MAE)
    head["ppnet.last_layer.bias"] = torch.zeros(C)
    expected = theirs(world, head, waveforms()[0], True, 2)
    np.testing.assert_allclose(logits(bundle, waveforms()[0]), expected, atol=1e-4, rtol=0)


def test_head_that_no_bundle_holds(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(assemble, "MAX_HEAD_BYTES", 1000)
    torch.save(state(), world.folder / "bird.pt")
    assert world.run("bird.pt", *BIRD_MAE) == 1
    assert "a bundle holds at most" in capsys.readouterr().err


def test_large_class_bound_layer_becomes_int8() -> None:
    weights, bias = np.ones((2048, 2), np.float32), np.zeros(2048)
    assert isinstance(layer.linear_layer(weights, bias, 4096), FloatLinear)
    weights, bias = np.ones((9736, 1), np.float32), np.zeros(9736)
    grouped = layer.linear_layer(weights, bias, 9736)
    assert isinstance(grouped, GroupedInt8Linear)
    assert layer.rounding_loss(weights, grouped) == pytest.approx(0, abs=1e-6)
    weights = np.random.default_rng(0).normal(size=(9736, 5)).astype(np.float32)
    grouped = layer.linear_layer(weights, bias, 9736 * 5)
    limit = 5 * np.abs(weights).max() / 127 / 2
    assert 0 < layer.rounding_loss(weights, grouped) <= limit


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_steps_in_the_graph_are_torchs(tmp_path: Path, opset: int) -> None:
    world = World.make(tmp_path, opset=opset)
    card = read_card(tmp_path / "encoder.onnx")
    (tmp_path / "new").mkdir()
    fed = with_steps(card, TokenSteps("cls", 2, 0.5), tmp_path / "new")
    tokens, cls = world.maps(waveforms()[0])
    finer = torch.nn.Upsample(scale_factor=2, mode="bilinear")((tokens - cls[:, None, None])[None])
    expected = functional.pad(finer[0].flatten(1).T, (0, 1), value=0.5)
    for profile in ("low-memory", "fast"):
        found = Encoder(fed.graph, fed.spec, profile=profile).tokens(waveforms()[0])
        largest = float(expected.abs().max())
        np.testing.assert_allclose(found, expected, atol=1e-6 * largest, rtol=0)


def test_graph_that_is_too_old_for_steps(tmp_path: Path) -> None:
    World.make(tmp_path, opset=10)
    card = read_card(tmp_path / "encoder.onnx")
    assert with_steps(card, TokenSteps(), tmp_path) is card
    with pytest.raises(EncoderError, match="expected opset 11 or later, found 10"):
        with_steps(card, TokenSteps(upsample=2), tmp_path)


def test_external_data_goes_along(world: World) -> None:
    model = encoder_model(17)
    convert_model_to_external_data(model, location="encoder.data", size_threshold=1000)
    onnx.save(model, world.folder / "encoder.onnx")
    torch.save(state(), world.folder / "bird.pt")
    bundle = world.bundle("bird.pt", *BIRD_MAE)
    assert (bundle.path / "encoder.data").is_file()
    expected = theirs(world, state(), waveforms()[0], True, 2)
    np.testing.assert_allclose(logits(bundle, waveforms()[0]), expected, atol=1e-4, rtol=0)
