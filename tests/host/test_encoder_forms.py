"""int8 and low-memory forms: what they are, what is refused, and the gate before them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from support.made_encoders import RATE, SAMPLES, EncoderGraph
from support.texture_clips import write_texture_clips

from edge_probe.encoder import Encoder
from edge_probe.errors import EncoderError
from edge_probe.spec import WindowSpec
from export.assemble import Job, fit_bundle
from export.card import EncoderCard, read_card
from export.cli import main
from export.clips import read_clips
from export.encoders import fidelity
from export.encoders.cosine import CosineSums, cosines
from export.encoders.cut import cut
from export.encoders.fidelity import Fidelity, FidelityError, HeadFigures, compare
from export.encoders.gated import write_gated
from export.encoders.graph import ancestors
from export.encoders.low_memory import write_pair
from export.encoders.quantise import REFUSED, front_end, prepared, quantise, suited
from export.tokens import ClipTokens, TokenCache
from export.train import HeadOptions, Recipe

FACTS: dict[str, Any] = {"name": "made", "licence": "CC0-1.0", "sample_rate_hz": RATE}


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> EncoderCard:
    folder = tmp_path_factory.mktemp("convolutional")
    graph = EncoderGraph()
    source = graph.save(graph.trunk(), folder / "source.onnx")
    return cut(source, "out", folder / "encoder.onnx", FACTS)[0]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> EncoderCard:
    """Two products with weights behind a mel product and a logarithm, as in a transformer."""
    folder = tmp_path_factory.mktemp("transformer")
    graph = EncoderGraph()
    weights = (graph.rng.normal(size=size).astype(np.float32) / 8 for size in ((32, 64), (64, 48)))
    frames = graph.step.add("Transpose", graph.spectrogram, perm=[0, 1, 3, 2])
    hidden = graph.step.add("MatMul", frames, graph.step.constant(next(weights)))
    hidden = graph.step.add("Relu", hidden)
    source = graph.save(
        graph.step.add("MatMul", hidden, graph.step.constant(next(weights))),
        folder / "source.onnx",
    )
    return cut(source, "out", folder / "encoder.onnx", FACTS)[0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texture_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(autouse=True)
def quick_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such sounds are learned at once."""
    quick = HeadOptions(
        prototypes_per_class=6,
        recipe=Recipe(epochs=6, learning_rate=3e-2),
        sign_recipe=Recipe(epochs=3, learning_rate=1e-2),
    )
    monkeypatch.setattr("export.encoders.fidelity.HEADS", quick)


def noise_chunks(n: int = 8) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(0.1 * rng.normal(size=SAMPLES)).astype(np.float32) for _ in range(n)]


def tokens_of(card: EncoderCard, profile: Any = "fast") -> np.ndarray:
    encoder = Encoder(card.graph, card.spec, profile=profile)
    return np.concatenate([encoder.tokens(chunk) for chunk in noise_chunks()])


def form(card: EncoderCard, out: Path) -> EncoderCard:
    """The card of another form of the same encoder."""
    out.with_suffix(".toml").write_bytes(card.graph.with_suffix(".toml").read_bytes())
    return read_card(out)


def test_static_int8_keeps_the_tokens_and_the_front_end(
    convolutional: EncoderCard, tmp_path: Path
) -> None:
    assert suited(onnx.load(convolutional.graph)) == "static"
    out = tmp_path / "int8.onnx"
    quantise(convolutional, out, "static", noise_chunks)
    model = onnx.load(out)
    types = {i.name: i.data_type for i in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert [types.get(node.input[1]) for node in convolutions] == [
        onnx.TensorProto.FLOAT,
        None,
        None,
    ]
    weights = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer
               if i.data_type == onnx.TensorProto.INT8 and len(i.dims) == 4]  # fmt: skip
    assert len(weights) == 2
    for array in weights:  # seven bits, whole, in every channel
        assert set(np.abs(array).reshape(len(array), -1).max(axis=1)) <= {63, 64}
    found = cosines(tokens_of(convolutional), tokens_of(form(convolutional, out)))
    assert found.mean() > 0.995
    assert found.min() > 0.97


def test_names_that_onnxruntime_would_make_may_be_there_already(tmp_path: Path) -> None:
    graph = EncoderGraph()
    weight = graph.step.constant(graph.rng.normal(size=(4, 4, 1, 1)).astype(np.float32))
    first = graph.conv(graph.spectrogram, 1, 4)
    bias = graph.step.constant(np.ones(4, np.float32))
    middle = graph.step.add("Conv", first, weight, bias)
    model = graph.model(graph.step.add("Conv", middle, weight, bias))
    for node in model.graph.node:  # two convolutions share it: onnxruntime calls a copy Conv2D0
        node.output[:] = ["Conv2D0" if name == middle else name for name in node.output]
        names = {middle: "Conv2D0", bias: "Conv2D"}
        node.input[:] = [names.get(name, name) for name in node.input]
    next(one for one in model.graph.initializer if one.name == bias).name = "Conv2D"
    onnx.save(model, tmp_path / "source.onnx")
    card = cut(tmp_path / "source.onnx", "out", tmp_path / "encoder.onnx", FACTS)[0]
    quantise(card, tmp_path / "int8.onnx", "static", noise_chunks)
    found = cosines(tokens_of(card), tokens_of(form(card, tmp_path / "int8.onnx")))
    assert found.mean() > 0.99


def test_dynamic_int8_leaves_out_the_mel_product(transformer: EncoderCard, tmp_path: Path) -> None:
    assert suited(onnx.load(transformer.graph)) == "dynamic"
    folded = onnx.load(prepared(transformer.graph, tmp_path))
    before_log = ancestors(
        folded, next(n.output[0] for n in folded.graph.node if n.op_type == "Log")
    )
    assert front_end(folded, "tokens") == before_log
    out = tmp_path / "int8.onnx"
    quantise(transformer, out, "dynamic", noise_chunks)
    operators = [node.op_type for node in onnx.load(out).graph.node]
    assert operators.count("MatMulInteger") == 2
    found = cosines(tokens_of(transformer), tokens_of(form(transformer, out)))
    assert found.min() > 0.999


def test_weights_beside_the_graph_are_quantised_too(
    transformer: EncoderCard, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.onnx"
    onnx.save(onnx.load(transformer.graph), outside, save_as_external_data=True,
              location="outside.onnx.data", size_threshold=1024)  # fmt: skip
    quantise(form(transformer, outside), tmp_path / "int8.onnx", "dynamic", noise_chunks)
    quantise(transformer, tmp_path / "same.onnx", "dynamic", noise_chunks)
    names = ("int8.onnx", "same.onnx")
    first, second = (tokens_of(form(transformer, tmp_path / name)) for name in names)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("method", REFUSED)
def test_unsafe_methods_are_refused_with_the_reason(
    method: str, convolutional: EncoderCard, clips: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "int8.onnx"
    assert command("quantise", convolutional.graph, clips, out, "--method", method) == 1
    error = capsys.readouterr().err
    assert f"{method} is refused: {REFUSED[method]}" in error
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantised(
    convolutional: EncoderCard, transformer: EncoderCard, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    with pytest.raises(EncoderError, match="nothing in it can be quantised by the method dynamic"):
        quantise(convolutional, out, "dynamic", noise_chunks)
    quantise(transformer, out, "dynamic", noise_chunks)
    with pytest.raises(EncoderError, match=r"is quantised already: it holds .*MatMulInteger"):
        quantise(form(transformer, out), tmp_path / "again.onnx", "dynamic", noise_chunks)


@pytest.mark.parametrize("which", ["convolutional", "transformer"])
def test_low_memory_pair(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    card = request.getfixturevalue(which)
    out = tmp_path / "low.onnx"
    write_pair(card, out)
    pair = form(card, out)
    assert [path.name for path in pair.external_data] == ["low.data"]
    weights = sum(i.ByteSize() for i in onnx.load(card.graph).graph.initializer)
    assert pair.external_data[0].stat().st_size > 0.8 * weights
    assert out.stat().st_size < 0.3 * card.graph.stat().st_size
    expected = tokens_of(card)
    for profile in ("low-memory", "fast"):
        assert np.abs(tokens_of(pair, profile) - expected).max() <= 1e-5 * np.abs(expected).max()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    ort.InferenceSession(str(out), options)  # needs no optimisation to run


def command(subcommand: str, encoder: Path, clips: Path, out: Path, *more: str) -> int:
    return main([
        "encoder", subcommand, str(encoder), "--clips", str(clips), "--out", str(out),
        "--cache", str(clips.parent / "cache"), *more,
    ])  # fmt: skip


def test_quantise_then_low_memory_and_the_card_carries_the_figures(
    convolutional: EncoderCard, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8, low = tmp_path / "int8.onnx", tmp_path / "low.onnx"
    assert command("quantise", convolutional.graph, clips, int8) == 0
    assert command("low-memory", int8, clips, low) == 0
    assert "1-bit" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "int8.onnx", "int8.toml", "low.data", "low.onnx", "low.toml",
    ]  # fmt: skip
    card = read_card(low)
    first, second, third = card.provenance["steps"]
    assert (first["what"], second["what"], third["what"]) == (
        "cut from source.onnx at out", "int8, static", "low-memory pair",
    )  # fmt: skip
    assert second["calibration_clips"] == 24
    assert second["budget_points"] == 0.3
    assert 0.9 < second["token_cosine_min"] <= second["token_cosine_mean"] < 1
    assert third["token_cosine_min"] > 0.9999
    assert third["float_map_before"] == third["float_map_after"]
    bundle = fit_bundle(
        read_clips(clips), TokenCache(clips.parent / "cache", card),
        Job("made", card, fidelity.HEADS, WindowSpec(1, 1, 0.0), 0, True, ("8",)),
        tmp_path / "bundle", replace=False,
    ).bundle  # fmt: skip
    assert bundle.provenance["steps"] == card.provenance["steps"]


def spoilt(card: EncoderCard, gain: float) -> Callable[[Path], None]:
    """The encoder with a token that drowns in another one."""

    def make(out: Path) -> None:
        model = onnx.load(card.graph)
        for tensor in model.graph.initializer:
            if list(tensor.dims) == [24, 16, 2, 2]:
                array = onnx.numpy_helper.to_array(tensor).copy()
                array[1:] *= gain
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        onnx.save(model, out)

    return make


def test_above_the_budget_nothing_is_written(
    convolutional: EncoderCard, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "spoilt.onnx"
    with pytest.raises(FidelityError, match=r"lose \d+\.\d+ points of mAP .* budget of 0.3"):
        write_gated(convolutional, out, "spoilt", spoilt(convolutional, 0.01), read_clips(clips),
                    clips.parent / "cache")  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_same_encoder_loses_nothing(convolutional: EncoderCard, clips: Path) -> None:
    found = compare(convolutional, convolutional, read_clips(clips), clips.parent / "cache")
    assert (found.token_cosine_mean, found.token_cosine_min) == pytest.approx((1.0, 1.0))
    for figures in found.heads.values():
        assert figures.score_change_max == figures.decisions_changed_percent == 0
        assert figures.map_before == figures.map_after == figures.map_retrained > 50


def test_encoders_that_are_not_forms_of_one(
    convolutional: EncoderCard, transformer: EncoderCard, clips: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["encoder", "fidelity", str(convolutional.graph), str(transformer.graph)]
    assert main([*arguments, "--clips", str(clips)]) == 1
    assert "D 24 and 48, S_t 16 and 64" in capsys.readouterr().err


def test_budget_is_on_the_largest_loss_of_any_head() -> None:
    good = HeadFigures(0.0, 0.0, 0.0, 90.0, 90.1, 70.0)
    poor = HeadFigures(0.0, 0.0, 0.0, 90.0, 89.6, 95.0)
    found = Fidelity(1.0, 1.0, {"float": good, "1": poor}, 10)
    found.check(0.5)
    with pytest.raises(FidelityError, match=r"heads with 1 tokens lose 0\.40 points"):
        found.check(0.3)
    assert found.figures()["1bit_map_after"] == 89.6


def test_cosines_leave_padding_out_and_count_a_token_that_vanished() -> None:
    old = np.array([[[1, 0], [0, 2], [0, 0], [3, 3]]], np.float16)
    new = np.array([[[1, 1], [0, 0], [0, 0], [-3, -3]]], np.float16)
    valid = np.array([[True, True, True, False]])
    sums = CosineSums()
    sums.add(ClipTokens(old, valid), ClipTokens(new, valid))
    assert sums.mean == pytest.approx((np.sqrt(0.5) + 0) / 2)
    assert sums.least == 0
