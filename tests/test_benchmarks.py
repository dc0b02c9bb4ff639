"""The benchmarks run, and the figures with a limit keep it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture(scope="module")
def small_run() -> dict[str, Any]:
    """A small part of `make bench`."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--smoke"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_benchmark_runs_and_is_right(small_run: dict[str, Any]) -> None:
    assert small_run["overhead"]["rows"]
    assert all(row["max_error"] == 0 for row in small_run["overhead"]["rows"])
    assert all(row["max_error"] == 0 for row in small_run["chunks"] if row["head"] == "protobin")
    for row in small_run["split"]:
        assert sum(row["parts_mib"].values()) == pytest.approx(row["peak_rss_mib"], abs=0.1)
        assert row["parts_mib"]["encoder"] > 1
    assert [row["n_classes"] for row in small_run["split"]] == [10, 200]
    once, most = small_run["overlap"][0], small_run["overlap"][-1]
    assert most["anew_cpu_s_per_hour"] > 2 * once["anew_cpu_s_per_hour"]
    assert most["ours_cpu_s_per_hour"] < most["anew_cpu_s_per_hour"]
    assert all(row["cpu_s"] > 0 for row in small_run["cold_start"])


def test_alternatives_hear_what_we_hear(shared: Path, small_run: dict[str, Any]) -> None:
    """That each process makes of audio what its head makes of tokens is asserted in there."""
    rows = [row for row in small_run["side_by_side"]["rows"] if row["quality"]]
    assert {row["who"] for row in rows} == {"ours", "peer"}
    probes = [row for row in rows if row["name"].startswith("linear probe")]
    assert [row["who"] for row in probes] == ["peer", "ours"]
    assert probes[0]["quality"] == probes[1]["quality"], "one head, by onnxruntime and by us"
    assert all(row["peak_rss_mib"] > 20 and row["cpu_s_per_hour"] > 0 for row in rows)


def test_tables_and_pictures_come_from_any_run(
    small_run: dict[str, Any], tmp_path: Path
) -> None:  # fmt: skip
    import result_plots
    import result_tables
    import table

    (tmp_path / "a-machine").mkdir()
    (tmp_path / "a-machine" / "2026-01-02.json").write_text("{}", encoding="utf-8")
    (tmp_path / "b-machine").mkdir()
    later = tmp_path / "b-machine" / "2026-01-03.json"
    later.write_text(json.dumps(small_run), encoding="utf-8")
    measured = table.load(tmp_path)["machine"]
    assert measured["folder"] == f"{tmp_path.name}/b-machine"
    page = result_tables.details(measured)
    assert all(f"{row['peak_rss_mib']:.1f}" in page for row in small_run["split"])
    assert f"{measured['folder']}/growth.png" in page
    result_plots.write(measured, later.parent)
    drawn = {path.stem for path in later.parent.glob("*.png")}
    assert drawn >= {"memory", "growth"}
    assert "quality" not in drawn, "of the demo encoder no quality is known"
    assert "quality.png" not in page
    for chunk in measured["chunks"]:
        chunk["quality"] = {"koumura": {"mean": 90.0, "sd": 0.2, "n_seeds": 3}}
    result_plots.write(measured, later.parent)
    assert (later.parent / "quality.png").is_file()
    assert "quality.png" in result_tables.details(measured)


def test_tables_say_where_a_peer_wins() -> None:
    from result_tables import verdict

    def row(who: str, mean_ap: float, mib: float, spent: float) -> dict[str, Any]:
        quality = {"koumura": {"mean": mean_ap, "sd": 0.2, "n_seeds": 3}}
        return {
            "encoder": "E", "name": f"a {who} head", "who": who, "profile": None,
            "quality": quality, "peak_rss_mib": mib, "cpu_s_per_hour": spent,
            "cpu_s_per_hour_spread": [spent - 0.5, spent + 0.5],
        }  # fmt: skip

    rows = [
        row("ours", 90.0, 70.0, 20.0),
        row("ours", 80.0, 90.0, 9.0),
        row("peer", 88.0, 65.0, 9.9),
    ]
    assert verdict(rows).splitlines() == [
        "* E, mAP on Koumura: **ours wins**, a ours head 90.0 against a peer head 88.0.",
        "* E, peak memory, MiB: **a peer wins**, a peer head 65.0 against a ours head 70.0.",
        "* E, CPU seconds per hour: a draw, a ours head 9.0 (ours), a peer head 9.9 (peer).",
    ]
    assert "**a peer wins**" in verdict([rows[1], row("peer", 80.5, 95.0, 20.0)])


def test_ten_streamed_minutes_stay_below_85_mib_and_flat() -> None:
    """The heap settles within some MiB; keeping the samples of every chunk would cost 37.

    ``make bench`` does the same for ten hours, where keeping a KiB a chunk would show.
    """
    from bench_memory import measure

    memory = measure(minutes=10)
    assert memory["minutes"] >= 10
    assert memory["peak_rss_mib"] <= 85
    assert memory["growth_after_warm_up_mib"] <= 3


def test_the_work_on_a_folder_is_right_before_it_is_timed() -> None:
    from bench_archive import RECORDINGS, throughput

    if not RECORDINGS.exists():
        pytest.skip("needs the shared soundscapes")
    rows = throughput(n_files=1, rounds=1)
    assert all(0 < row["encoder_share"] < 1.5 for row in rows)  # type: ignore[operator]


@pytest.fixture(scope="module")
def kernels() -> dict[str, Any]:
    """One round of every peer that is installed, at a tiny size."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_kernels.py", "--smoke"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_kernel_rows_carry_their_error_and_exact_ones_have_none(kernels: dict[str, Any]) -> None:
    rows = kernels["rows"]
    assert all(row["error"] == 0 for row in rows if row["exact"])
    assert all(0 <= row["error"] < 0.02 for row in rows)
    assert all(row["exact"] for row in rows if row["who"] == "ours" and row["bits"] != "float")
    assert all(row["cpu_ms"] > 0 and row["n"] >= 1 and row["weight_bytes"] for row in rows)


def test_every_peer_is_measured_or_named_as_absent(kernels: dict[str, Any]) -> None:
    from kernel_tables import render
    from peers import PEERS

    measured = {row["peer"] for row in kernels["rows"]}
    assert measured.isdisjoint(kernels["missing"])
    assert measured | set(kernels["missing"]) == {peer.name for peer in PEERS}
    for peer in PEERS:
        if find_spec(peer.module) is None:
            assert peer.name in kernels["missing"]
        assert peer.name in render(kernels)


def test_every_kernel_of_ours_meets_the_baseline(kernels: dict[str, Any]) -> None:
    from edge_probe.head.backends import available

    rows = [row for row in kernels["rows"] if row["peer"] == "numpy float32"]
    for bits in ("float", 8, 4, 1):
        names = {backend.name for backend in available(bits, rows[0]["n_dims"])}
        for kind in ("match", "step"):
            ours = {
                r["name"] for r in rows if (r["bits"], r["kind"], r["who"]) == (bits, kind, "ours")
            }
            assert ours == names


def test_an_interrupted_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_kernels
    from peers import BASELINE

    monkeypatch.setattr(bench_kernels, "PEERS", (BASELINE,))
    row = {"name": "x", "bits": 1, "kind": "match", "cpu_ms": 1.0}
    asked: list[object] = []
    kept: list[dict[str, Any]] = []

    def contest(peer: object, size: object, rounds: object) -> list[dict[str, object]] | str:
        asked.append(size)
        return "out of luck" if len(asked) == 1 else [row, row]

    monkeypatch.setattr(bench_kernels, "contest", contest)
    sizes = bench_kernels.FULL[:3]
    first = bench_kernels.measure(sizes, {}, [], kept.append)
    assert asked == sizes
    assert [part["size"] for part in first["failed"]] == sizes[:1]
    parts = json.loads(json.dumps(kept))
    second = bench_kernels.measure(sizes, {}, parts, kept.append)
    assert asked == [*sizes, sizes[0]]
    assert not second["failed"]
    assert len(second["rows"]) == 6


def test_small_part_of_the_probing_benchmark(shared: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_probing.py", "--smoke", "--seeds", "1",
         "--workers", "1", "--work", tmp_path],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "smoke" / "compare.json").read_text(encoding="utf-8"))
    assert {e["bits"] for e in result["table"]} == {"float", "8", "4", "1"}
    assert all(e["parity"]["passed"] for e in result["table"])
    exact = {"8", "4", "1"}
    layers = ("int8", "int8-sparse")
    assert all(
        e["parity"]["error"] == 0
        for e in result["table"]
        if e["bits"] in exact and e["layer"] in layers
    )
    assert len(result["choices"]) == 1
    assert {path.name for path in (tmp_path / "smoke").glob("*.png")} == {
        "bits.png", "bytes.png", "quality.png"
    }  # fmt: skip


def test_probing_data_share_no_source_recording(shared: Path, tmp_path: Path) -> None:
    import probing_data

    from export.clips import read_clips

    for make in (probing_data.esc10, probing_data.koumura):
        clips = read_clips(make(shared, tmp_path)).clips
        of_split = {
            split: {clip.group for clip in clips if clip.split == split}
            for split in ("train", "validation", "test")
        }
        assert all(of_split.values())
        assert sum(map(len, of_split.values())) == len(set().union(*of_split.values()))
    songs = read_clips(tmp_path / "koumura.csv").clips
    tested = {int(clip.group) for clip in songs if clip.split == "test"}
    assert tested == set(range(95, 135))
    assert len(songs) == 1353


def test_small_part_of_the_privacy_benchmark(shared: Path, tmp_path: Path) -> None:
    """A head is taught, hears speech on the recorder's own road, and its audio becomes zeros."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not here: apt-get install espeak-ng")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_privacy.py", "--smoke", "--work", tmp_path],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    spoken, quiet = (row for row in json.loads(done.stdout)["rows"] if row["site"] == "all")
    assert (spoken["snr_db"], quiet["snr_db"]) == (10.0, None)
    assert spoken["n_utterances"] >= 4
    assert spoken["speech_zeroed"]["value"] > max(0.5, quiet["other_zeroed"]["value"])
    assert "speech_zeroed" not in quiet


def test_small_part_of_the_benchmark_of_corrections(shared: Path, tmp_path: Path) -> None:
    """A head is taught, hears a field, is corrected, and ranks songs that nobody heard."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_refit.py", "--smoke", "--work", tmp_path],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["n"] == 1
    assert told["n_better"] + told["n_refused"] <= 1
    assert told["others_fall_max"] == 0
    assert 0 < told["cpu_s_max"] < told["command_cpu_s_max"] < 10


def test_privacy_figures_count_what_is_left() -> None:
    import numpy as np
    from privacy_figures import figures, outcome
    from scenes import Scene
    from speech import RATE_HZ

    def seconds(*spans: tuple[float, float]) -> np.ndarray:
        at = np.arange(10 * RATE_HZ) / RATE_HZ
        inside: np.ndarray = np.any([(begin <= at) & (at < end) for begin, end in spans], axis=0)
        return inside

    speech = seconds((2, 4), (6, 6.5), (7, 8))
    spans = tuple((round(b * RATE_HZ), round(e * RATE_HZ)) for b, e in ((2, 4), (6, 8)))
    scene = Scene("wood", "heard", np.ones(10 * RATE_HZ, np.int16), speech, spans)
    of_it = outcome(scene, ~seconds((3, 5), (6.25, 7.25)))
    assert of_it.speech_s == pytest.approx(3.5, abs=1e-3)
    assert of_it.speech_zeroed_s == pytest.approx(1.5, abs=1e-3)
    assert of_it.other_s == pytest.approx(6.5, abs=1e-3)
    assert of_it.other_zeroed_s == pytest.approx(1.5, abs=1e-3)
    assert of_it.left_s == pytest.approx((1.0, 0.75), abs=1e-3)
    whole = outcome(Scene("hill", "other", scene.pcm, speech, spans), ~seconds((0, 10)))
    row = figures([of_it, whole])
    assert row["speech_zeroed"] == {"value": 0.7143, "low": 0.4286, "high": 1.0}
    assert row["utterances_left"]["value"] == 0.5
    assert (row["by_clip_median"], row["by_clip_worst"]) == (0.7143, 0.4286)


def test_levels_of_speech_are_those_of_the_band_of_speech() -> None:
    import numpy as np
    from scenes import gain
    from speech import RATE_HZ, Line, Utterance, activity

    at = np.arange(2 * RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * 1000 * at)
    tone[: RATE_HZ // 2] = 0
    utterance = Utterance(Line("en", "m1", "", 150, 50), tone, activity(tone))
    assert utterance.active.sum() == pytest.approx(1.5 * RATE_HZ, rel=0.01)
    noise = np.random.default_rng(0).normal(0, 0.1, len(at))
    rumble = 3 * np.sin(2 * np.pi * 40 * at)
    in_band = 0.1**2 * (3400 - 300) / (RATE_HZ / 2)
    for snr_db in (-10, 0, 10):
        wanted = np.sqrt(10 ** (snr_db / 10) * in_band / 0.5)
        assert gain(utterance, noise + rumble, snr_db) == pytest.approx(wanted, rel=0.05)


def test_only_short_pauses_are_speech() -> None:
    import numpy as np
    from speech import RATE_HZ, activity

    samples = np.sin(np.arange(2 * RATE_HZ) * 0.3)
    samples[round(0.5 * RATE_HZ) : round(0.65 * RATE_HZ)] = 0
    samples[round(1.2 * RATE_HZ) : round(1.6 * RATE_HZ)] = 0
    active = activity(samples)
    assert active[: round(1.2 * RATE_HZ)].all()
    assert active.mean() == pytest.approx(1.6 / 2, abs=0.01)


def test_privacy_is_tested_on_voices_texts_and_places_that_nobody_trained_on(shared: Path) -> None:
    import field_audio
    import numpy as np
    from speech import lines

    parts = [lines(part, np.random.default_rng(0)) for part in ("train", "test")]
    for field in ("language", "variant", "text"):
        train, test = ({getattr(line, field) for line in part} for part in parts)
        assert len(train) >= 6
        assert train.isdisjoint(test)
    heard = field_audio.training_paths(shared)
    tested = [path for _, paths in field_audio.test_places(shared) for path in paths]
    assert set(heard).isdisjoint(tested)
    assert len(tested) == len(set(tested))
    assert all(path.is_file() for path in heard + tested)


def test_small_part_of_the_benchmark_of_boxes(shared: Path) -> None:
    """Heads are taught and asked; what a box cannot be is asserted in there."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "bench_boxes.py", shared, "--smoke"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(row["encoder"], row["sounds"]): row for row in json.loads(done.stdout)["rows"]}
    known = rows["made", "tones in white noise"]
    assert known["iou"]["median"] > 3 * known["window_iou"]["median"]


def test_boxes_are_scored_by_where_they_lie() -> None:
    from box_scores import Sound, figures, grid_iou, iou, scores

    from edge_probe.bundle import Label
    from edge_probe.classify import Event
    from edge_probe.spec import EncoderSpec, TokenGrid

    assert iou((0, 2), (1, 3)) == pytest.approx(1 / 3)
    assert iou((0, 1), (1, 2)) == 0
    spec = EncoderSpec("g", "x", "y", 10, 40, TokenGrid(1, 4, 2, 0.0, 10.0, (100.0, 400.0, 1600.0)))
    assert grid_iou(spec, (2.0, 5.0)) == 1, "over the border of a chunk"
    assert grid_iou(spec, (1.25, 1.75)) == 0.5

    def event(start_s: float, end_s: float, logit: float, window_s: float) -> Event:
        return Event(
            "f", 0, start_s, end_s, 100.0, 400.0, Label.parse("x"), 0.9, False, logit, 0.0,
            window_s, window_s, window_s + 8, None, "unset", "b",
        )  # fmt: skip

    sounds = [Sound("x", 1.0, 2.0, hz=800.0), Sound("x", 21.0, 23.0, hz=200.0), Sound("x", 60, 61)]
    events = [
        event(1.0, 3.0, 2.0, 0.0), event(5.0, 6.0, 1.0, 0.0),  # the weaker one of the first
        event(20.0, 21.0, 1.0, 20.0), event(40.0, 41.0, 9.0, 36.0),  # one of nothing
    ]  # fmt: skip
    told, n_elsewhere = scores(sounds, events, spec, 8.0)
    first, second, third = told
    assert third is None
    assert first is not None
    assert (first.iou, first.window_iou, first.onset_s, first.offset_s) == (0.5, 0.125, 0.0, 1.0)
    assert (first.outside_octaves, first.band_octaves) == (1.0, 2.0)
    assert second is not None
    assert (second.iou, second.onset_s, second.offset_s) == (0.0, -1.0, -2.0)
    row = figures(told, n_elsewhere)
    assert (row["n"], row["n_missed"], row["n_apart"], row["n_elsewhere"]) == (3, 1, 1, 1)
    assert row["onset_ms"] == {"median": -500.0, "low": -750.0, "high": -250.0}
    assert row["tone_in_band"] == 0.5


def test_a_bout_is_lost_if_nothing_that_detects_it_opens_the_gate() -> None:
    """Three chunks of a second; the class is heard from logit 1 on."""
    from types import SimpleNamespace

    import numpy as np
    from bench_gate import Heard, Scene, _encoded, _missed

    def heard(logits: list[float], opened: list[bool]) -> Heard:
        spans_s = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
        return Heard(spans_s, np.array(logits)[:, np.newaxis], {6.0: opened}, 0.0, 0.0)

    bundle: Any = SimpleNamespace(labels=[SimpleNamespace(text="finch")], threshold_on=[1.0])
    scene = Scene(0, np.empty(0, np.float32), (0.5, 1.5), "finch")
    found = [
        heard([1.0, 0.0, 0.0], [True, False, False]),  # kept
        heard([1.0, 2.0, 0.0], [False, True, False]),  # kept by its other chunk
        heard([1.0, 0.0, 0.0], [False, True, True]),  # lost: what opened it does not detect
        heard([0.9, 0.0, 5.0], [False, False, True]),  # never detected: the last is beside it
    ]
    row = _missed(bundle, 6.0, [(scene, one) for one in found], 6.0)
    assert row == {"snr_db": 6.0, "n": 4, "n_detected": 3, "n_lost": 1}
    assert _encoded([[True, False], [False, False]]) == pytest.approx(0.25 + 0.75 / 20)
