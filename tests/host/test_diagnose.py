"""Why a bundle decided as it did: boxes where the sound was planted, reports that add up."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from matplotlib.patches import Rectangle
from support.tiny_bundle import ENCODER, threshold_head, tiny_head, write_tiny_bundle

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.head import FloatLinear, ProtobinHead, ProtofloatHead, WindowMaxima
from edge_probe.head.packing import pack_signs
from edge_probe.spec import WindowSpec
from export.cli import main
from export.decisions import Decision, WindowTally, best_events, explain, hear
from export.picture import TAGS, evidence_figure
from export.prototypes import report_prototypes

DATA = Path(__file__).parents[2] / "edge_probe" / "data"
DEMO, SCENE = DATA / "demo_bundle", DATA / "demo_scene.ogg"

SIGNS = np.array([[1, 1, -1, -1], [-1, 1, 1, -1], [1, -1, 1, 1]])
GAINS = np.array([1, 2, 4, -8])
RATE_HZ = 1600
"""A chunk of the tiny encoder then lasts 10 ms, a token 5 ms."""


def planted_bundle(
    folder: Path,
    band_edges_hz: tuple[float, ...] | None,
    weights: Sequence[Sequence[float]] = ((5, -0.5, 0), (0, 0, 5)),
    **changes: Any,
) -> Bundle:
    """Class 0 is prototype 0, class 1 is prototype 2; tokens are samples, reshaped."""
    head = ProtobinHead(
        pack_signs(SIGNS), np.zeros(4, np.float32), 1,
        FloatLinear(np.array(weights, np.float32), np.array([-3.0, -3.0])),
        np.array([0.25, 0.5, 0.0], np.float32),
    )  # fmt: skip
    grid = dataclasses.replace(ENCODER.grid, band_edges_hz=band_edges_hz)
    encoder = dataclasses.replace(ENCODER, sample_rate_hz=RATE_HZ, grid=grid)
    arguments = {
        "encoder": encoder, "head": head, "threshold_on": [1.0, 1.0], "threshold_off": [1.0, 1.0],
        "windows": WindowSpec(window_chunks=2, hop_chunks=1, refractory_s=0.0),
        "labels": ["Parus major_Great $Tit$", "Owl"],
    }  # fmt: skip
    return write_tiny_bundle(folder / "planted", **(arguments | changes))


def plant(samples: np.ndarray, prototype: int, chunk: int, token: int) -> None:
    """Make one token of one chunk equal to a prototype."""
    samples[16 * chunk + 4 * np.arange(4) + token] = 0.5 * SIGNS[prototype] / GAINS


def planted_audio(path: Path) -> Path:
    """0.3 s of silence with one sound of class 0 in token 3 of chunk 7."""
    samples = np.zeros(480)
    plant(samples, 0, 7, 3)
    sf.write(path, samples, RATE_HZ, "PCM_16")
    return path


def decisions_on(bundle: Bundle, path: Path) -> list[Decision]:
    analyser = ChunkAnalyser(bundle)
    heard = hear(analyser, path, None)
    return [explain(analyser, *chosen) for chosen in best_events([heard], 1)]


def figure_of(bundle: Bundle, decision: Decision) -> Any:
    head = bundle.head
    owners = report_prototypes(head).owners if isinstance(head, ProtobinHead) else None
    return evidence_figure(decision, bundle, owners)


def rectangles(figure: Any) -> list[tuple[float, ...]]:
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    return [(*box.get_xy(), box.get_width(), box.get_height()) for box in boxes]


def test_the_box_stands_where_the_sound_was_planted(tmp_path: Path) -> None:
    bundle = planted_bundle(tmp_path, (0.0, 300.0, 800.0))
    (decision,) = decisions_on(bundle, planted_audio(tmp_path / "a.wav"))
    figure = figure_of(bundle, decision)
    np.testing.assert_allclose(rectangles(figure), [[0.075, 0.3, 0.005, 0.5]])  # s and kHz
    sound, listed, bars = figure.axes
    np.testing.assert_allclose(sound.get_xlim(), [0.06, 0.08])
    assert sound.get_title(loc="left").splitlines() == [
        r"Great \$Tit\$ (Parus major): logit 2.00, threshold 1.00, 0.07 to 0.08 s",
        f"bundle {bundle.id}", "Boxes: half of what was heard that speaks for it (100%).",
    ]  # fmt: skip
    assert [text.get_text() for text in listed.texts] == ["A", "0: 100%"]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [3.75, 0.25])
    names = [text.get_text() for text in bars.get_yticklabels()]
    assert names == [r"Great \$Tit\$  0  A", "Owl  1  "]
    assert bars.get_title(loc="left").startswith("-2.00 (usual sound) + 4.00 (for it) − 0.00")
    figure.savefig(tmp_path / "a.png")


def test_unknown_bands_give_boxes_of_full_height_and_a_note(tmp_path: Path) -> None:
    bundle = planted_bundle(tmp_path, None)
    (decision,) = decisions_on(bundle, planted_audio(tmp_path / "a.wav"))
    figure = figure_of(bundle, decision)
    np.testing.assert_allclose(rectangles(figure), [[0.075, 0, 0.005, 0.8]])
    assert "boxes tell times only" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize(("edges", "n_boxes"), [(None, 1), ((0.0, 300.0, 800.0), 2)])
def test_tokens_of_one_time_share_a_box_unless_their_bands_are_known(
    tmp_path: Path, edges: tuple[float, ...] | None, n_boxes: int
) -> None:
    bundle = planted_bundle(tmp_path, edges, weights=[[4, 6, 3], [0, 0, 0]])  # each adds 3
    samples = np.zeros(480)
    for prototype, token in ((0, 3), (1, 2), (2, 1)):
        plant(samples, prototype, 7, token)
    sf.write(tmp_path / "a.wav", samples, RATE_HZ, "PCM_16")
    (decision,) = decisions_on(bundle, tmp_path / "a.wav")
    assert sorted(m for place in decision.places for m in place.prototypes) == [0, 1]
    assert [place.box.start_s for place in decision.places] == [0.075] * n_boxes
    figure = figure_of(bundle, decision)
    assert len(rectangles(figure)) == n_boxes
    assert sum(place.share for place in decision.places) == pytest.approx(2 / 3)


def test_a_bias_above_the_threshold_has_no_box_and_a_mean_has_no_place(tmp_path: Path) -> None:
    audio = planted_audio(tmp_path / "a.wav")
    bundle = planted_bundle(tmp_path, None, threshold_on=[9, -4], threshold_off=[9, -4])
    (decision,) = decisions_on(bundle, audio)
    figure = figure_of(bundle, decision)
    assert rectangles(figure) == []
    assert "its bias alone" in figure.axes[0].get_title(loc="left")
    changes: dict[str, Any] = {"head": tiny_head("float", "mean"), "replace": True}
    mean = planted_bundle(tmp_path, None, **changes, threshold_on=[9, -1], threshold_off=[9, -1])
    (decision,) = decisions_on(mean, audio)
    figure = figure_of(mean, decision)
    assert rectangles(figure) == []
    assert "evidence has no place" in figure.axes[0].get_title(loc="left")
    margins = sorted(decision.logits - mean.threshold_on, reverse=True)
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[1].patches], margins)


def test_spread_is_the_standard_deviation_over_windows(tmp_path: Path) -> None:
    bundle = planted_bundle(tmp_path, None)
    tally, first, second = (WindowTally(bundle) for _ in range(3))
    scores = np.random.default_rng(0).normal(0.3, 0.02, (50, 3)).astype(np.float32)
    none = np.zeros(3, np.int32)
    for number, row in enumerate(scores):
        (first if number < 20 else second).push(
            WindowMaxima(row, none, none), np.array([number, -number], np.float64)
        )
    tally.add(first)
    tally.add(second)
    np.testing.assert_allclose(tally.score_sd(), scores.std(axis=0, dtype=np.float64), rtol=1e-9)
    assert (tally.n_windows, tally.best_logits.tolist()) == (50, [49.0, 0.0])


def test_the_window_made_again_is_the_one_that_was_decided() -> None:
    bundle = open_bundle(DEMO)
    head = bundle.head
    assert isinstance(head, ProtobinHead)
    decisions = decisions_on(bundle, SCENE)  # 44.1 kHz: chunks are resampled from margins
    assert len(decisions) >= 6
    for each in decisions:
        assert each.logits[each.class_index] == each.event.logit
        assert each.contributions is not None
        total = each.baseline + each.contributions.sum()
        assert total == pytest.approx(each.event.logit, abs=1e-4)
        assert 0.5 <= sum(place.share for place in each.places) < 0.6
        for place in each.places:
            assert each.event.start_s <= place.box.start_s < place.box.end_s <= each.event.end_s
        n_marked = sum(1 for text in figure_of(bundle, each).axes[0].texts if text.get_text())
        assert n_marked == min(len(each.places), len(TAGS))


def test_command_reports_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, out = tmp_path / "scene.wav", tmp_path / "new" / "out"
    sf.write(scene, *sf.read(SCENE, frames=10 * 44100), "PCM_16")
    assert main(["diagnose", str(DEMO), "--audio", str(scene), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "0 copies, 0 near copies, 0 unused; nothing to prune" in printed
    facts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    labels = [each["label"] for each in facts["decisions"]]
    assert labels == ["Rain", "Rooster"]
    assert {each["picture"] for each in facts["decisions"]} == {p.name for p in out.glob("*.png")}
    assert all((out / e["picture"]).read_bytes()[:4] == b"\x89PNG" for e in facts["decisions"])
    members = [m for group in facts["prototypes"]["prototypes_of_class"].values() for m in group]
    assert sorted(members) == list(range(200))
    text = (out / "report.md").read_text(encoding="utf-8")
    assert all(
        f"![spectrogram with boxes]({each['picture']})" in text for each in facts["decisions"]
    )
    assert main(["diagnose", str(DEMO), "--out", str(out)]) == 1
    assert "not an empty folder" in capsys.readouterr().err


def test_command_says_what_came_nearest_when_nothing_is_detected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted_bundle(tmp_path, None, threshold_on=[2.5, 3.0])
    audio, out = planted_audio(tmp_path / "a.wav"), tmp_path / "out"
    command = ["diagnose", str(tmp_path / "planted"), "--audio", str(audio), "--out", str(out)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "0 detected, 0 drawn" in printed
    assert "thresholds: Parus major_Great $Tit$ 2.00 of 2.50, Owl -3.00 of 3.00" in printed
    assert "Nothing was detected." in (out / "report.md").read_text(encoding="utf-8")


def test_command_goes_on_after_a_file_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted_bundle(tmp_path, None)
    broken, short = tmp_path / "broken.ogg", tmp_path / "short.wav"
    broken.write_bytes(SCENE.read_bytes()[:30_000])
    sf.write(short, np.zeros(3), RATE_HZ, "PCM_16")
    two = np.zeros(16 * 120)
    for chunk in (5, 30, 60):
        plant(two, 0, chunk, 0)
    plant(two, 1, 60, 1)  # speaks against class 0: the weakest of the three
    sf.write(tmp_path / "two.wav", two, RATE_HZ, "PCM_16")
    files = [str(tmp_path / "none.wav"), str(broken), str(short), str(tmp_path / "two.wav")]
    bundle, out = str(tmp_path / "planted"), str(tmp_path / "out")
    assert main(["diagnose", bundle, "--top", "2", "--audio", *files, "--out", out]) == 1
    streams = capsys.readouterr()
    assert streams.err.count("error: ") == 3
    assert "too short to classify" in streams.err
    assert "3 detected, 2 drawn" in streams.out
    facts = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    found = [(each["start_s"], each["logit"]) for each in facts["decisions"]]
    assert found == [(0.05, 2.0), (0.3, 2.0)]
    assert facts["prototypes"]["spread_windows"] == facts["n_windows"] == 119
    assert facts["prototypes"]["unused"] == [2], "its score never moved"
    assert facts["prototypes"]["pruning"]["removable"] == [], "its weight is large"
    assert main(["diagnose", bundle, "--out", str(tmp_path / "p")]) == 0
    assert "decisions" not in json.loads((tmp_path / "p" / "report.json").read_bytes())


@pytest.mark.parametrize("kind", ["protofloat", "thresholds"])
def test_command_knows_all_heads_with_prototypes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    head = tiny_head("float", "int8", "protofloat") if kind == "protofloat" else threshold_head()
    assert isinstance(head, ProtobinHead | ProtofloatHead)
    head = dataclasses.replace(head, reference_scores=np.full(3, -1, np.float32))  # all is unusual
    labels = ["Parus major_シジュウカラ \N{BIRD} | $x_1$", "Owl"]
    low: dict[str, Any] = {
        "threshold_on": [-9.0, -9.0],
        "threshold_off": [-9.0, -9.0],
        "labels": labels,
    }
    bundle = planted_bundle(tmp_path, (0.0, 300.0, 800.0), head=head, **low)
    audio, out = planted_audio(tmp_path / "a.wav"), tmp_path / "out"
    command = ["diagnose", str(tmp_path / "planted"), "--audio", str(audio), "--out", str(out)]
    assert main(command) == 0
    assert "prototypes 3: 0 copies" in capsys.readouterr().out
    facts = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert facts["prototypes"]["binary"] is (kind == "thresholds")
    assert sum(len(each["evidence"]) for each in facts["decisions"]) > 0
    assert f"3 prototypes of {'12 bits' if kind == 'thresholds' else '4 floats'}" in (
        out / "report.md"
    ).read_text(encoding="utf-8")
    for decision in decisions_on(bundle, audio):
        assert decision.contributions is not None
        total = decision.baseline + decision.contributions.sum()
        assert total == pytest.approx(decision.event.logit, abs=1e-5)


def test_a_mean_linear_head_needs_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted_bundle(tmp_path, None, head=tiny_head("float", "mean"))
    bundle, out = str(tmp_path / "planted"), tmp_path / "out"
    assert main(["diagnose", bundle, "--out", str(out)]) == 1
    assert "hint: add --audio FILE" in capsys.readouterr().err
    assert not out.exists()
