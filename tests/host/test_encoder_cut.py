"""Bring your own ONNX: layouts are measured, and what cannot be told is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import soundfile as sf
from support.made_encoders import BAND_HZ, BANDS, FRAMES, HOP, RATE, SAMPLES, EncoderGraph

from edge_probe.errors import EncoderError
from export.card import CARDS, read_card
from export.cli import main
from export.encoders.cut import cut
from export.encoders.graph import channel_axis

FACTS: dict[str, Any] = {"name": "made", "licence": "CC0-1.0", "sample_rate_hz": RATE}

STEP, ROWS = 4 * HOP, BANDS // 4
EDGES_HZ = BAND_HZ * (4 * np.arange(ROWS + 1) + 0.5)


def run(graph: Path, name: str, sound: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    (found,) = session.run([name], {session.get_inputs()[0].name: sound})
    return np.asarray(found)


def sound(n: int = SAMPLES) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (1, n)).astype(np.float32)


def as_it_is(graph: EncoderGraph, value: str) -> str:
    return value


def rows_last(graph: EncoderGraph, value: str) -> str:
    return graph.step.add("Transpose", value, perm=[0, 3, 2, 1])


def rows_turned_over(graph: EncoderGraph, value: str) -> str:
    return graph.turned_over(value, 2, ROWS)


@pytest.mark.parametrize(
    ("arrange", "to_tokens"),
    [
        (as_it_is, lambda out: out.transpose(0, 1, 3, 2)),
        (rows_last, lambda out: out.transpose(0, 3, 1, 2)),
        (rows_turned_over, lambda out: out.transpose(0, 1, 3, 2)),
    ],
)
def test_layout_is_measured_and_put_right(
    arrange: Callable[[EncoderGraph, str], str],
    to_tokens: Callable[[np.ndarray], np.ndarray],
    tmp_path: Path,
) -> None:
    graph = EncoderGraph()
    source = graph.save(arrange(graph, graph.trunk()), tmp_path / "source.onnx")
    card, layout = cut(source, "out", tmp_path / "cut.onnx", FACTS)
    grid = card.spec.grid
    assert (grid.n_dims, grid.n_time, grid.n_freq) == (24, FRAMES // 4, ROWS) == layout.sizes
    assert card.spec.chunk_samples == SAMPLES
    assert grid.step_samples == STEP
    assert abs(grid.start_samples) < 0.3 * STEP
    np.testing.assert_array_equal(
        run(card.graph, "tokens", sound()), to_tokens(run(source, "out", sound()))
    )
    if arrange is rows_turned_over:  # behind the convolutions, where rows tell themselves apart
        assert grid.band_edges_hz is None
    else:
        np.testing.assert_allclose(np.array(grid.band_edges_hz), EDGES_HZ, atol=BAND_HZ)
    (step,) = card.provenance["steps"]
    assert step == {"what": "cut from source.onnx at out", "largest_difference": 0.0}


def test_spectrogram_from_high_to_low_makes_rows_turn_over(tmp_path: Path) -> None:
    graph = EncoderGraph()
    graph.spectrogram = graph.turned_over(graph.spectrogram, 2, BANDS)
    source = graph.save(graph.trunk(), tmp_path / "source.onnx")
    card, layout = cut(source, "out", tmp_path / "cut.onnx", FACTS)
    assert layout.turned_over
    np.testing.assert_allclose(np.array(card.spec.grid.band_edges_hz), EDGES_HZ, atol=BAND_HZ)
    expected = run(source, "out", sound()).transpose(0, 1, 3, 2)[..., ::-1]
    np.testing.assert_array_equal(run(card.graph, "tokens", sound()), expected)


def test_inner_node_of_a_graph_that_takes_any_length(tmp_path: Path) -> None:
    graph = EncoderGraph(open_length=True, rank=3)
    tokens = graph.trunk()
    pooled = graph.step.add("GlobalAveragePool", tokens)
    source = graph.save(pooled, tmp_path / "source.onnx")
    with pytest.raises(EncoderError, match="takes a waveform of any length"):
        cut(source, tokens, tmp_path / "cut.onnx", FACTS)
    card, _ = cut(source, tokens, tmp_path / "cut.onnx", FACTS | {"chunk_samples": SAMPLES})
    assert card.spec.grid.n_time == FRAMES // 4
    # still of any length, and without what lies behind the map
    assert run(card.graph, "tokens", sound(2 * SAMPLES)).shape == (1, 24, FRAMES // 2, ROWS)
    assert b"GlobalAveragePool" not in card.graph.read_bytes()


def flattened(graph: EncoderGraph, value: str) -> str:
    moved = graph.step.add("Transpose", value, perm=[0, 1, 3, 2])  # time-major, as of a ViT
    return graph.step.add("Reshape", moved, graph.step.constant(np.array([1, 24, -1, 1])))


def pooled(graph: EncoderGraph, value: str) -> str:
    return graph.step.add("GlobalAveragePool", value)


def attention(graph: EncoderGraph, value: str) -> str:
    rows = graph.step.add("ReduceMean", value, axes=[2], keepdims=1)  # [1, 24, 1, T]
    columns = graph.step.add("Transpose", rows, perm=[0, 2, 3, 1])  # [1, 1, T, 24]
    return graph.step.add("MatMul", columns, graph.step.add("Transpose", rows, perm=[0, 2, 1, 3]))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (flattened, "axis 2 holds time and frequency in one"),
        (pooled, "which axis is time cannot be told; none follows"),
        (attention, "which axis is time cannot be told; axis 2, axis 3 follow"),
    ],
)
def test_map_that_is_none(
    spoil: Callable[[EncoderGraph, str], str], problem: str, tmp_path: Path
) -> None:
    graph = EncoderGraph()
    source = graph.save(spoil(graph, graph.trunk()), tmp_path / "source.onnx")
    with pytest.raises(EncoderError, match=problem):
        cut(source, "out", tmp_path / "cut.onnx", FACTS)
    assert list(tmp_path.iterdir()) == [source]


def command(*arguments: object) -> int:
    return main(["encoder", "cut", *map(str, arguments)])


def test_command_lists_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = EncoderGraph()
    value = graph.trunk()
    source = graph.save(pooled(graph, value), tmp_path / "source.onnx")
    assert command(source, "--sample-rate-hz", RATE) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.endswith(value)]
    sizes, negative, ms = line[:15].strip(), *line[15:].split()[:2]
    assert sizes == f"24 x {FRAMES // 4} x {ROWS}"
    assert 10 < int(negative.rstrip("%")) < 90  # a convolution of random weights is signed
    assert float(ms) >= 0


def test_command_cuts_and_writes_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = EncoderGraph()
    source = graph.save(graph.trunk(), tmp_path / "source.onnx")
    facts = ("--sample-rate-hz", RATE, "--name", "made", "--licence", "CC0-1.0")
    assert command(source, "--tokens", "out", *facts) == 0
    assert "D 24, S_t 16, S_f 8" in capsys.readouterr().out
    card = read_card(tmp_path / "source_out.onnx")
    assert card.provenance["licence"] == "CC0-1.0"
    assert card.spec.grid.band_edges_hz is not None
    assert command(source, "--tokens", "out", *facts) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--tokens", "out"], "nothing says the rate"),
        (["--tokens", "out", "--sample-rate-hz", "8000"], "nothing says its name"),
        (["--tokens", "nowhere", "--sample-rate-hz", "8000", "--name", "n", "--licence", "l"],
         "no value or node 'nowhere'"),
        (["--chunk-samples", "100", "--sample-rate-hz", "8000"], "takes 5120 samples, not 100"),
    ],
)  # fmt: skip
def test_command_refuses(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = EncoderGraph()
    source = graph.save(graph.trunk(), tmp_path / "source.onnx")
    assert command(source, *arguments) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert "hint:" in error


def test_spectrogram_instead_of_a_waveform(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shared / "encoders/speech_embedding.onnx"
    assert command(model, "--sample-rate-hz", 16000) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "join the graph with its front end first" in err


SHARED = {
    "yamnet": ("yamnet_encoder_w8.onnx", "t266", 16_000, 15_600, (1024, 3, 2)),
    "stm32": ("birdnet_stm32n6_100_encoder.onnx", "t203", 22_050, None, (256, 8, 4)),
    "whisper": ("whisper_tiny_en_encoder_f16w.onnx", "t330", 16_000, 16_000, (384, 50, 1)),
    "birdnet24": ("birdnet24_encoder.onnx", "Relu__92:0", 48_000, None, (192, 8, 3)),
    "speech": ("speech.onnx", "embedding_conv2d_19", 16_000, None, (96, 16, 1)),
}
"""File, a value before the transpositions that make its ``tokens``, rate, length, sizes."""


@pytest.mark.parametrize("name", SHARED)
def test_shared_encoder_gives_the_same_tokens(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, value, rate, n_samples, sizes = SHARED[name]
    source = shared / "encoders" / file
    if name == "speech":
        monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        from speech_tokens import join

        source = tmp_path / file
        parts = shared / "encoders"
        join(parts / "speech_melspectrogram.onnx", parts / "speech_embedding.onnx", source)
    facts = {"name": name, "licence": "its own", "sample_rate_hz": rate}
    if n_samples:
        facts["chunk_samples"] = n_samples
    card, layout = cut(source, value, tmp_path / "cut.onnx", facts)
    assert layout.sizes == sizes
    recording = next((shared / "esc10/audio").rglob("*.ogg"))
    samples, _ = sf.read(recording, dtype="float32")
    chunk = samples[np.newaxis, : card.spec.chunk_samples]
    expected = run(source, "tokens", chunk)
    tokens = run(card.graph, "tokens", chunk)
    assert np.abs(tokens - expected).max() <= 1e-5
    known = {"yamnet": "yamnet_encoder_w8", "whisper": "whisper_tiny_en_encoder_f16w"}.get(name)
    if known:
        theirs = read_card(source, CARDS / f"{known}.toml").spec.grid
        assert card.spec.grid.step_samples == pytest.approx(theirs.step_samples, rel=0.02)
        if theirs.band_edges_hz:
            assert card.spec.grid.band_edges_hz == pytest.approx(theirs.band_edges_hz, rel=0.03)


def test_channels_are_known_behind_transpositions() -> None:
    graph = EncoderGraph()
    trunk = graph.trunk()
    first = graph.step.add("Transpose", graph.step.add("Relu", trunk), perm=[0, 2, 1, 3])
    second = graph.step.add("Transpose", first, perm=[0, 3, 1, 2])
    pooled = graph.step.add("ReduceMean", second, axes=[1], keepdims=1)
    model = graph.model(pooled)
    assert [channel_axis(model, value) for value in (trunk, first, second)] == [1, 2, 3]
    assert channel_axis(model, pooled) is None


@pytest.mark.parametrize(
    ("name", "there", "problem"),
    [
        ("new.onnx", "new.toml", "new.toml: exists already"),
        ("new.toml", None, "expected a name that ends in .onnx"),
        ("no/new.onnx", None, "no such folder"),
    ],
)
def test_command_keeps_files_of_others(
    name: str, there: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = EncoderGraph()
    source = graph.save(graph.trunk(), tmp_path / "source.onnx")
    if there:
        (tmp_path / there).write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    facts = ("--sample-rate-hz", RATE, "--name", "made", "--licence", "CC0-1.0")
    assert command(source, "--tokens", "out", "--out", tmp_path / name, *facts) == 1
    assert problem in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["made \udcff", "made"])
def test_nothing_is_left_of_a_cut_that_fails_late(name: str, tmp_path: Path) -> None:
    graph = EncoderGraph()
    value = graph.trunk()
    if name == "made":  # no bundle may hold the operator
        noise = graph.step.add("RandomUniformLike", value, low=0.0, high=1e-9)
        value = graph.step.add("Add", value, noise)
    source = graph.save(value, tmp_path / "source.onnx")
    with pytest.raises(EncoderError, match=r"cannot hold '.udcff'|no bundle may hold this graph"):
        cut(source, "out", tmp_path / "cut.onnx", FACTS | {"name": name})
    assert list(tmp_path.iterdir()) == [source]
