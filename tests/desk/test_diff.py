"""Two bundles on the same audio: counts, places and pictures are true, and nothing is lost."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from support.made_archive import RATE, T0, MadeDeployment, S
from support.tiny_bundle import ENCODER, write_tiny_bundle

from edge_probe.bundle import Bundle
from edge_probe.capture.segment import Format
from edge_probe.chunk import MARGIN_SAMPLES, Chunk
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.cli import main
from edge_probe.desk.diff.compare import Comparison, compare
from edge_probe.desk.diff.pairs import Pair
from edge_probe.desk.diff.review import ReviewList, Said
from edge_probe.desk.diff.sides import sides
from edge_probe.desk.diff.stretches import Place, open_source
from edge_probe.desk.diff.tally import Tally, agreement
from edge_probe.errors import EdgeProbeError, EncoderError
from edge_probe.head import ChunkSummary
from edge_probe.spec import WindowSpec

LABELS = ("Parus major_Great Tit", "background")
WINDOWS = WindowSpec(4, 2, 0.0)


def bundle(
    folder: Path, name: str, *, rate_hz: int = 1000, windows: WindowSpec = WINDOWS,
    on: Sequence[float] = (0.6, 0.7), labels: Sequence[str] = LABELS, **changes: Any,
) -> Bundle:  # fmt: skip
    """Chunks of 16 samples: of 16 ms unless another rate is asked for."""
    grid = replace(ENCODER.grid, band_edges_hz=(0.0, rate_hz / 4, rate_hz / 2))
    encoder = replace(ENCODER, sample_rate_hz=rate_hz, grid=grid)
    return write_tiny_bundle(
        folder / name, name=name, encoder=encoder, windows=windows, threshold_on=list(on),
        threshold_off=[-5.0, -5.0], labels=list(labels), **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Windows of 64 ms every 32 ms, and of 24 ms every 8 ms; thresholds and classes differ."""
    folder = tmp_path_factory.mktemp("bundles")
    b_labels = ("Rana_Frog, common", LABELS[0])
    b = bundle(
        folder, "b", rate_hz=2000, windows=WindowSpec(3, 1, 0.0), on=(0.4, 0.8), labels=b_labels,
        calibration=None,
    )  # fmt: skip
    return bundle(folder, "a"), b


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Whose loudness comes and goes."""
    random = np.random.default_rng(seed)
    slow = np.repeat(random.uniform(-1, 1, n // 64 + 1), 64)[:n]
    loud = random.normal(0, 3000, n) + 6000 * slow
    return np.clip(loud, -32768, 32767).astype(np.int16)


def wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    sf.write(path, samples, rate, "PCM_16")
    return path


def compared(both: tuple[Bundle, Bundle], *paths: Path, per_class: int = 1000) -> Comparison:
    analysers = [ChunkAnalyser(one) for one in both]
    return compare(sides(*analysers), open_source(paths, None), per_class, lambda _: None)


def windows_of(one: Bundle, samples: np.ndarray, rate: int = RATE) -> list[np.ndarray]:
    """Logits of every window, by the road that a device has."""
    seen: list[np.ndarray] = []
    run = Run("x", 0, rate)
    classifier = RunClassifier(ChunkAnalyser(one), run, lambda _, logits: seen.append(logits))
    classifier.push(samples.astype(np.float32) / np.float32(2**15))
    classifier.finish()
    return seen


def test_a_bundle_agrees_with_itself(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    a, _ = pair
    sound = noise(5 * RATE)
    found = compared((a, a), wav(tmp_path / "a.wav", sound))
    expected = windows_of(a, sound)
    assert found.tally.n_windows == len(expected) > 100
    heard = (np.array(expected) >= a.threshold_on).sum(axis=0)
    assert 0 < heard.min() < heard.max() < len(expected)
    np.testing.assert_array_equal(found.tally.counts, np.outer(heard, [1, 0, 0]))
    assert list(found.review) == []
    off_diagonal = found.tally.scores.sum(axis=0) * (1 - np.eye(40, dtype=int))
    assert not off_diagonal.any()


def test_counts_are_those_of_the_windows(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    """Written a second time for these windows: B has those from 32 n to 32 n + 40 ms within."""
    a, b = pair
    sound = noise(5 * RATE, 3)
    found = compared(pair, wav(tmp_path / "a.wav", sound))
    assert found.measure == 0
    own = np.array(windows_of(a, sound))[:, 0]
    other = np.array(windows_of(b, sound))[:, 1]
    highest = np.array([other[4 * n : 4 * n + 6].max() for n in range(len(own))])
    heard_a, heard_b = own >= a.threshold_on[0], highest >= b.threshold_on[1]
    both = heard_a & heard_b
    expected = [both.sum(), (heard_a & ~heard_b).sum(), (~heard_a & heard_b).sum()]
    assert min(expected) > 0
    assert found.tally.counts.tolist() == [expected]
    scores = [a.score(0, x)[0] for x in own], [b.score(1, x)[0] for x in highest]
    for threshold, counts in found.tally.at_scores().items():
        over = [np.array(one) >= threshold for one in scores]
        told = [
            (over[0] & over[1]).sum(), (over[0] & ~over[1]).sum(), (~over[0] & over[1]).sum()
        ]  # fmt: skip
        assert counts[0].tolist() == told
    listed = list(found.review)
    for side, n in zip("AB", expected[1:], strict=True):
        assert sum(one.n_windows for one in listed if one.said.heard_by == side) == n
    far = max(range(len(own)), key=lambda n: (
        (heard_a[n] != heard_b[n]) * abs(scores[0][n] - scores[1][n])
    ))  # fmt: skip
    first = listed[0]
    assert first.said.apart == pytest.approx(abs(scores[0][far] - scores[1][far]), abs=1e-9)
    assert (first.said.logit_a, first.said.logit_b) == (own[far], highest[far])
    assert first.place.start_sample == far * 32 * RATE // 1000
    assert first.place.end_sample == min(len(sound), first.place.start_sample + 64 * RATE // 1000)
    assert [one.said.apart for one in listed] == sorted(
        (one.said.apart for one in listed), reverse=True
    )


def test_labels_that_one_bundle_has_are_told(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = wav(tmp_path / "a.wav", noise(RATE))
    paths = [str(one.path) for one in pair]
    assert main(["diff", *paths, str(audio), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in told["classes"]] == [LABELS[0]]
    assert told["a"]["only_here"] == ["background"]
    assert told["b"]["only_here"] == ["Rana_Frog, common"]
    assert (told["windows_of"], told["a"]["window_s"], told["b"]["hop_s"]) == ("a", 0.064, 0.008)
    assert (told["a"]["calibrated"], told["b"]["calibrated"]) == (True, False)
    assert main(["diff", *paths, str(audio)]) == 0
    out = capsys.readouterr().out
    assert "not compared, in A only: background; not compared, in B only: Rana_Frog, common" in out


def test_bundles_without_a_common_label_are_refused(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = bundle(tmp_path, "c", labels=("x", "y"))
    audio, out = wav(tmp_path / "a.wav", noise(RATE)), tmp_path / "out"
    assert main(["diff", str(pair[0].path), str(other.path), str(audio), "-o", str(out)]) == 1
    assert "expected bundles with a label in common, found Parus" in capsys.readouterr().err
    assert not out.exists()


def deployment(archive: Path) -> tuple[MadeDeployment, list[np.ndarray]]:
    """Two channels; three segments of which one is FLAC, a gap, one more, another boot."""
    made = MadeDeployment(archive, "fen", format=Format(RATE, 2, 2))
    sounds = [np.stack([noise(RATE, n), noise(RATE, 10 + n)], axis=1) for n in range(5)]
    made.start()
    for n in range(3):
        made.record(data=sounds[n], flac=n == 1)
    made.lose(0.5)
    made.record(data=sounds[3])
    made.start(T0 + 3600 * S)
    made.record(data=sounds[4])
    return made, sounds


def reviewed(folder: Path) -> list[dict[str, str]]:
    with (folder / "review.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def test_every_place_in_an_archive_is_where_it_was_heard(
    pair: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    """What the table says of a window is said again of the samples it names."""
    made, sounds = deployment(tmp_path / "archive")
    made.close()
    paths = [str(one.path) for one in pair]
    out = tmp_path / "out"
    assert main(
        ["diff", *paths, str(tmp_path / "archive"), "--channel", "1", "-o", str(out)]
    ) == 0  # fmt: skip
    runs = {
        (1, 0): np.concatenate(sounds[:3]), (1, 3 * RATE + RATE // 2): sounds[3], (2, 0): sounds[4]
    }  # fmt: skip
    logits = {at: np.array(windows_of(pair[0], run[:, 1]))[:, 0] for at, run in runs.items()}
    rows, seen = reviewed(out), set()
    for row in rows:
        stream, first, last = (int(row[n]) for n in ("stream", "start_sample", "end_sample"))
        begin = max(at for s, at in runs if s == stream and at <= first)
        seen.add((stream, begin))
        assert last <= begin + len(runs[stream, begin]), "no window lies over the gap"
        window = (first - begin) // (RATE * 32 // 1000)
        assert float(row["logit_a"]) == pytest.approx(logits[stream, begin][window], abs=1e-6)
        assert (row["deployment_id"], row["channel"], row["rate_hz"]) == ("fen", "1", "8000")
        assert int(row["boot"]) == stream
        (name,) = (tmp_path / "archive/fen/audio").glob(row["file"])
        start = int(name.stem.split("-")[2].split("_")[0])
        assert float(row["start_s"]) == pytest.approx((first - start) / RATE, abs=1e-6)
        assert 0 <= first - start < RATE
        hour = 4 * (stream == 2)
        assert row["start_utc"].startswith("2026-05-01T0" + ("1" if hour else "0") + ":00:0")
        assert row["heard_by"] == ("A" if float(row["logit_a"]) >= 0.6 else "B")
    assert seen == set(runs)
    told = json.loads((out / "diff.json").read_text(encoding="utf-8"))
    assert told["n_windows"] == sum(map(len, logits.values()))
    assert told["audio_s"] == 5.0
    assert any(row["file"].endswith(".flac") for row in rows)


def test_a_stereo_archive_asks_for_a_channel(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment(tmp_path / "archive")[0].close()
    assert main(["diff", *(str(one.path) for one in pair), str(tmp_path / "archive")]) == 1
    assert "choose one with --channel 0 ... --channel 1" in capsys.readouterr().err


def test_what_is_private_is_silence(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    sound = noise(14 * RATE, 5)
    for n in range(7):
        made.record(data=sound[2 * n * RATE :, None][: 2 * RATE])
    made.detect("Homo sapiens_Human", 7.0, 7.25, private=True)
    made.close()
    found = compared(pair, tmp_path / "archive")
    silenced = sound.copy()
    silenced[2 * RATE : round(12.25 * RATE)] = 0
    expected = compared(pair, wav(tmp_path / "a.wav", silenced))
    assert found.tally.counts.tolist() == expected.tally.counts.tolist()
    np.testing.assert_array_equal(found.tally.scores, expected.tally.scores)
    loud = compared(pair, wav(tmp_path / "b.wav", sound))
    assert found.tally.counts.tolist() != loud.tally.counts.tolist()


def test_a_damaged_segment_is_told_and_the_rest_is_compared(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    paths = [made.record(data=noise(RATE, n)[:, None]) for n in range(4)]
    made.close()
    paths[1].write_bytes(paths[1].read_bytes()[: RATE + 44])
    words = ["diff", *(str(one.path) for one in pair), str(tmp_path / "archive"), "--json"]
    assert main(words) == 1
    streams = capsys.readouterr()
    assert f"{paths[1]}: expected 8000 samples" in streams.err
    told = json.loads(streams.out)
    assert told["audio_s"] == 3.0
    assert len(told["broken_off"]) == 1
    n_windows = len(windows_of(pair[0], noise(RATE))), len(windows_of(pair[0], noise(2 * RATE)))
    assert told["n_windows"] == sum(n_windows)


def test_a_file_that_breaks_off_counts_up_to_there(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, whole = wav(tmp_path / "cut.wav", noise(RATE)), wav(tmp_path / "b.wav", noise(RATE, 1))
    cut.write_bytes(cut.read_bytes()[: RATE + 44])
    words = ["diff", *(str(one.path) for one in pair), str(cut), str(whole), "--json"]
    assert main(words) == 1
    streams = capsys.readouterr()
    assert "cut.wav: the file is cut off or damaged after 4000 samples" in streams.err
    assert json.loads(streams.out)["audio_s"] == 1.5


def test_an_encoder_that_fails_costs_the_rest_of_its_file(
    pair: tuple[Bundle, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ChunkAnalyser.summary

    def fails_once(self: ChunkAnalyser, chunk: Chunk) -> ChunkSummary:
        if self.bundle.name == "b" and chunk.index == 1500:  # behind the first block
            raise EncoderError("NaN", hint="")
        return whole(self, chunk)

    monkeypatch.setattr(ChunkAnalyser, "summary", fails_once)
    sound = noise(14 * RATE)
    found = compared(pair, wav(tmp_path / "a.wav", sound), wav(tmp_path / "b.wav", sound[:RATE]))
    assert [error.message for error in found.problems] == [f"{tmp_path}/a.wav: at 12.00 s: NaN"]
    block_s = (1 << 16) / RATE
    n_first = int((block_s - MARGIN_SAMPLES / 1000 - 0.064) / 0.032) + 1
    n_second = len(windows_of(pair[0], sound[:RATE]))
    assert abs(found.tally.n_windows - n_first - n_second) <= 5
    assert found.audio_s == block_s + 1


def test_wrong_arguments_are_one_line_and_a_hint(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, short = wav(tmp_path / "a.wav", noise(RATE)), wav(tmp_path / "s.wav", noise(9))
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.mp3").write_bytes(b"ID3" + bytes(99))
    for audio, message in (
        ([good, tmp_path / "no.wav"], "no.wav: No such file or directory"),
        ([good, tmp_path / "x.mp3"], "x.mp3: expected WAV"),
        ([good, tmp_path / "empty"], "expected audio files, or one archive alone"),
        ([tmp_path / "empty"], "expected an archive or a recorder's state folder"),
        ([short], "expected audio with a window for both bundles, found none"),
    ):
        out = tmp_path / "out"
        words = ["diff", *(str(one.path) for one in pair), *map(str, audio), "-o", str(out)]
        assert main(words) == 1
        streams = capsys.readouterr()
        assert message in streams.err
        assert streams.err.count("hint: ") == 1
        assert not streams.out
        assert not out.exists()
    assert main(["diff", str(tmp_path / "empty"), str(pair[1].path), str(good)]) == 1
    assert "hint: " in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.wav", "empty", "s.wav", "x.mp3"]


def test_an_archive_without_audio_is_refused(
    pair: tuple[Bundle, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    made.record(kept=False)
    made.close()
    assert main(["diff", *(str(one.path) for one in pair), str(tmp_path / "archive")]) == 1
    assert "expected an archive with audio, found none in it" in capsys.readouterr().err


def test_output_is_complete_and_never_replaces_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    labels = ('Rana "x", $y_Frog, common', "シジュウカラ_Ørret")
    a = bundle(tmp_path, "a", labels=labels)
    b = bundle(tmp_path, "b", on=(0.9, -0.2), labels=labels)
    audio, out = wav(tmp_path / "a.wav", noise(5 * RATE)), tmp_path / "out"
    words = ["diff", str(a.path), str(b.path), str(audio), "-o", str(out), "--per-class", "3"]
    assert main(words) == 0
    assert {one.name for one in out.iterdir()} == {
        "agreement.csv", "classes.csv", "diff.json", "review.csv", "scatter.png"
    }  # fmt: skip
    told = json.loads((out / "diff.json").read_text(encoding="utf-8"))
    for row in told["classes"]:
        assert row["both"] + row["only_a"] + row["only_b"] + row["neither"] == told["n_windows"]
    with (out / "classes.csv").open(encoding="utf-8", newline="") as table:
        classes = list(csv.DictReader(table))
    assert [row["label"] for row in classes] == [row["label"] for row in told["classes"]]
    assert {row["label"] for row in classes} == set(labels)
    disagreed = [int(row["only_a"]) + int(row["only_b"]) for row in classes]
    assert disagreed == sorted(disagreed, reverse=True)
    assert min(disagreed) > 0
    with (out / "agreement.csv").open(encoding="utf-8", newline="") as table:
        steps = list(csv.DictReader(table))
    assert len(steps) == 2 * 19
    assert all(float(row["agreement"] or 1) == 1 for row in steps), "scores are the same"
    rows = reviewed(out)
    assert len(rows) == 6
    assert {row["file"] for row in rows} == {str(audio)}
    assert {row["deployment_id"] for row in rows} == {""}
    assert "left out of review.csv: " in caplog.text
    with Image.open(out / "scatter.png") as image:
        image.load()
        assert image.size == (600, 340)
        assert len(image.getcolors(1 << 20) or ()) > 20
    before = {one: one.read_bytes() for one in out.iterdir()}
    assert main(words) == 1
    assert f"{out}: exists already" in capsys.readouterr().err
    assert {one: one.read_bytes() for one in out.iterdir()} == before


def test_interrupted_it_leaves_nothing(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    audio, out = wav(tmp_path / "a.wav", np.zeros(3600 * RATE, np.int16)), tmp_path / "out"
    command = [sys.executable, "-m", "edge_probe", "diff", *(str(one.path) for one in pair)]
    running = subprocess.Popen(
        [*command, str(audio), "-o", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors.decode()
    assert not output
    assert [one.name for one in tmp_path.iterdir()] == ["a.wav"]


def said(heard_by: Any, apart: float) -> Said:
    return Said(heard_by, apart, 0.0, apart, 0.0)


def test_neighbouring_disagreements_are_one_and_the_farthest_are_kept() -> None:
    listed = ReviewList(("x", "y"), 2)

    def locate(pair: Pair) -> Place:
        return Place(None, None, None, 0, pair.index, pair.index + 1, 1, None, "f", 0, 1)

    nothing = (np.zeros(2), np.zeros(2))
    stretch: list[dict[int, Said]] = [
        {0: said("A", 0.1)}, {0: said("A", 0.3)}, {0: said("A", 0.2), 1: said("B", 0.9)},
        {0: said("B", 0.4)}, {}, {0: said("B", 0.25)}, {0: said("A", 0.25)},
    ]  # fmt: skip
    for index, words in enumerate(stretch):
        listed.add(Pair(index, index, index + 1, nothing), words, locate)  # type: ignore[arg-type]
    listed.end(locate)
    listed.add(Pair(0, 0, 1, nothing), {1: said("B", 0.9)}, locate)  # type: ignore[arg-type]
    listed.end(locate)
    found = [
        (one.label, one.n_windows, one.said.heard_by, one.said.apart, one.place.start_sample)
        for one in listed
    ]
    assert found == [
        ("y", 1, "B", 0.9, 2), ("y", 1, "B", 0.9, 0), ("x", 1, "B", 0.4, 3), ("x", 3, "A", 0.3, 1)
    ]  # fmt: skip
    assert listed.n_left_out == 2


def test_scores_on_the_edge_of_a_bin_belong_above_it() -> None:
    tally = Tally(1)
    for edge in np.arange(1, 20) / 20:
        for a, b in ((edge, edge), (edge, np.nextafter(edge, 0))):
            scores = (np.array([a]), np.array([b]))
            tally.add((np.array([True]), np.array([True])), scores)
    tally.add((np.array([True]), np.array([True])), (np.array([1.0]), np.array([0.0])))
    for n, (_, counts) in enumerate(tally.at_scores().items()):
        assert counts.tolist() == [[2 * (19 - n) - 1, 2, 0]]
    assert agreement(np.array([3, 1, 2])) == 0.5
    assert agreement(np.zeros(3, np.int64)) is None


def test_a_folder_that_is_no_archive_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="expected an archive or a recorder"):
        open_source([tmp_path], None)
