"""Short chunks with kept maxima against full windows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made_encoders import FRAMES, HOP, RATE, SAMPLES, EncoderGraph
from support.texture_clips import write_texture_clips

from edge_probe.errors import EncoderError
from export.card import EncoderCard
from export.cli import main
from export.encoders.chunk_report import _heard
from export.encoders.cut import cut
from export.encoders.lengths import allowed_within, at_length, is_open, refuse_others
from export.tokens import ClipTokens
from export.train import HeadOptions, Recipe

FACTS: dict[str, Any] = {"name": "made", "licence": "CC0-1.0", "sample_rate_hz": RATE}


@pytest.fixture(scope="module")
def any_length(tmp_path_factory: pytest.TempPathFactory) -> EncoderCard:
    folder = tmp_path_factory.mktemp("open")
    graph = EncoderGraph(open_length=True)
    source = graph.save(graph.trunk(), folder / "source.onnx")
    return cut(source, "out", folder / "encoder.onnx", FACTS | {"chunk_samples": SAMPLES})[0]


def test_lengths_are_whole_columns(any_length: EncoderCard) -> None:
    assert is_open(any_length)
    step = 4 * HOP
    allowed = allowed_within(any_length, SAMPLES / RATE)
    lengths = [card.spec.chunk_samples for card in allowed]
    assert lengths == [step * columns for columns in (16, 8, 5, 4, 2)]  # 16 parted by 1 to 8
    assert [card.spec.grid.n_time for card in allowed] == [16, 8, 5, 4, 2]
    with pytest.raises(EncoderError, match="no chunk that fits"):
        allowed_within(any_length, step / RATE / 2)
    half = at_length(any_length, SAMPLES // 2)
    assert (half.spec.chunk_samples, half.spec.grid.n_time) == (SAMPLES // 2, FRAMES // 8)
    assert half.spec.grid.step_samples == step
    with pytest.raises(EncoderError):
        at_length(any_length, HOP)


def test_other_encoders_are_no_other_length(any_length: EncoderCard) -> None:
    short = at_length(any_length, SAMPLES // 2)
    refuse_others([any_length, short])
    with pytest.raises(EncoderError, match="different lengths"):
        refuse_others([any_length, short, short])
    for name, change in (("n_dims", 7), ("n_freq", 3)):
        grid = replace(short.spec.grid, band_edges_hz=None, **{name: change})
        other = replace(short, spec=replace(short.spec, grid=grid))
        with pytest.raises(EncoderError, match="not one encoder"):
            refuse_others([any_length, other])


def test_report_by_command(
    any_length: EncoderCard, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    quick = HeadOptions(
        prototypes_per_class=6,
        recipe=Recipe(epochs=6, learning_rate=3e-2),
        sign_recipe=Recipe(epochs=3, learning_rate=1e-2),
    )
    monkeypatch.setattr("export.encoders.chunk_report.HEADS", quick)
    monkeypatch.setattr("export.thresholds.N_FOLDS", 2)
    clips = write_texture_clips(tmp_path / "clips")
    arguments = ["--clips", str(clips), "--cache", str(tmp_path / "cache")]
    lengths = [SAMPLES, SAMPLES // 4]
    assert main(["encoder", "chunks", str(any_length.graph), *arguments,
                 "--chunk-samples", *map(str, lengths)]) == 0  # fmt: skip
    _, *rows = capsys.readouterr().out.splitlines()
    figures = np.array([[float(field) for field in row.split()] for row in rows])
    np.testing.assert_allclose(figures[:, 0], np.array(lengths) / RATE, atol=1e-3)
    assert figures[:, 1].tolist() == [1, 4]
    # no token of this encoder hears across a column, so chunks lose nothing but the last part
    assert (figures[:, 2:4] > 90).all()
    assert abs(figures[0, 2] - figures[0, 3]) < 1e-9  # the window itself: the same heads
    assert (figures[:, 4] > 0).all()


@pytest.mark.parametrize(
    ("n_valid", "window_chunks", "n_kept"),
    [([8, 8, 1], 1, 2), ([8, 8, 5], 1, 3), ([8, 8, 1], 2, 2), ([8, 8, 8], 2, 3), ([1], 1, 1),
     ([8, 8, 7], 2, 2), ([8, 1], 2, 2)],
)  # fmt: skip
def test_a_last_window_of_padding_is_not_judged(
    n_valid: list[int], window_chunks: int, n_kept: int
) -> None:
    valid = np.arange(8) < np.array(n_valid)[:, None]
    tokens = np.zeros((len(n_valid), 8, 3), np.float16)
    assert len(_heard(ClipTokens(tokens, valid), window_chunks).valid) == n_kept


def test_one_length_is_nothing_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = EncoderGraph()
    source = graph.save(graph.trunk(), tmp_path / "source.onnx")
    card, _ = cut(source, "out", tmp_path / "encoder.onnx", FACTS)
    clips = write_texture_clips(tmp_path / "clips", 2)
    arguments = ["encoder", "chunks", str(card.graph), "--clips", str(clips)]
    assert main(arguments) == 1
    assert f"takes chunks of {SAMPLES} samples only" in capsys.readouterr().err
    assert main([*arguments, "--chunk-samples", "100"]) == 1
    assert "give one file for each length" in capsys.readouterr().err
