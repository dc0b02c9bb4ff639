"""What fires on noise is not shipped, and what is shipped is calibrated."""

import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from support.readme_world import make_world

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.commands.classify import DEMO_BUNDLE
from export.assemble import Job
from export.cli import main
from export.clips import ClipsError
from export.noise import KINDS, LEVEL, made_up_noise
from export.noise_gate import NoiseGate, NoiseGateError, pass_noise_gate

SILENT = 1000.0
"""A threshold that no logit reaches; the class that is always on has the opposite."""


def demo(first: float) -> Bundle:
    """The demo bundle with other thresholds: of its first class, and silent ones."""
    bundle = open_bundle(DEMO_BUNDLE)
    on = np.full(len(bundle.labels), SILENT)
    on[0] = first
    return dataclasses.replace(bundle, threshold_on=on, threshold_off=on)


@pytest.fixture(scope="module")
def hiss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes."""
    path = tmp_path_factory.mktemp("noise") / "hiss.wav"
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, 180 * 1000), 1000)
    return path


def test_class_that_is_always_on_is_refused(hiss: Path) -> None:
    """Once a minute of a recording, however long the detection lasts."""
    bundle = demo(-SILENT)
    name = bundle.labels[0].text
    with pytest.raises(NoiseGateError) as refused:
        pass_noise_gate(bundle, NoiseGate((hiss,)))
    assert f"{name} 60.0 times per hour (3 in 0.05 h of noise recordings" in refused.value.message
    assert "hiss.wav" in refused.value.message
    assert "; " not in refused.value.message
    assert refused.value.hint is not None
    assert "background" in refused.value.hint


def test_the_stated_rate_of_false_alarms_is_the_limit(hiss: Path) -> None:
    """A class that fires 60 times per hour."""
    loud = demo(-SILENT)
    assert pass_noise_gate(loud, NoiseGate((hiss,), target_per_hour=1000)).warnings == ()
    with pytest.raises(NoiseGateError, match=r"at most 59\.5 detections per hour"):
        pass_noise_gate(loud, NoiseGate((hiss,), target_per_hour=59.5))
    pass_noise_gate(loud, NoiseGate((hiss,), max_per_hour=1000, target_per_hour=0))


@pytest.mark.parametrize(("stated", "limit"), [((), 1), ((0.25,), 0.25), ((0,), 0), ((9,), 9)])
def test_fit_holds_the_gate_to_the_rate_it_was_asked_for(
    fit: "Fit", monkeypatch: pytest.MonkeyPatch, stated: tuple[float, ...], limit: float
) -> None:
    asked: list[NoiseGate] = []

    def stop(_clips: object, _cache: object, job: Job, *_: object, **__: object) -> None:
        asked.append(job.noise)
        raise NoiseGateError("that is all")

    monkeypatch.setattr("export.assemble.fit_bundle", stop)
    assert fit(*("--max-false-alarms-per-hour", *stated) * bool(stated)) == 1
    assert [(gate.target_per_hour, gate.max_per_hour) for gate in asked] == [(limit, None)]


def test_recordings_that_hold_no_token_prove_nothing(tmp_path: Path) -> None:
    sf.write(tmp_path / "click.wav", np.zeros(3), 16_000)
    with pytest.raises(ClipsError, match="too short to classify"):
        pass_noise_gate(demo(-SILENT), NoiseGate((tmp_path / "click.wav",)))


def test_made_up_noise_is_refused_where_a_limit_is_stated() -> None:
    """24 sounds of 10 s: 360 times per hour."""
    bundle = demo(-SILENT)
    name = bundle.labels[0].text
    passed = pass_noise_gate(bundle, NoiseGate())
    assert (
        f"{name} 360.0 times per hour (24 in 0.07 h of made-up noise, most on white)"
        in (passed.warnings[0])
    )
    with pytest.raises(NoiseGateError, match="360"):
        pass_noise_gate(bundle, NoiseGate(max_per_hour=359))
    assert pass_noise_gate(bundle, NoiseGate(max_per_hour=1000)).warnings == ()


def test_silent_bundle_passes_and_says_what_on(tmp_path: Path, hiss: Path) -> None:
    damaged = tmp_path / "notes.wav"
    damaged.write_text("heard at dawn")
    gate = NoiseGate((damaged, hiss), max_per_hour=0)
    passed = pass_noise_gate(demo(SILENT), gate)
    assert passed.facts() == {
        "noise_recordings": {"hours": 0.05, "detections_per_hour_max": 0},
        "made_up_noise": {"hours": round(240 / 3600, 4), "detections_per_hour_max": 0},
    }
    assert passed.warnings == ()
    assert len(passed.unreadable) == 1
    assert "notes.wav" in passed.unreadable[0]


def test_made_up_noise_is_what_it_is_called() -> None:
    rate = 8000
    sounds = made_up_noise(np.random.default_rng(0), 16, 2 * rate, rate)
    power = [np.abs(np.fft.rfft(sound)) ** 2 for sound in sounds]
    low, high = slice(100, 400), slice(1600, 6400)  # two octaves each, in half hertz
    for number, (sound, spectrum) in enumerate(zip(sounds, power, strict=True)):
        kind = KINDS[number % 8]
        assert sound.std() == pytest.approx(0 if kind == "silence" else LEVEL, rel=1e-3)
        slope = {"white": 0, "pink": -1, "brown": -2}.get(kind)
        if slope is not None:
            fall = math.log(spectrum[high].mean() / spectrum[low].mean(), 16)
            assert fall == pytest.approx(slope, abs=0.1)
        if kind == "hum":
            assert spectrum.argmax() % (2 * (50 if number < 8 else 60)) == 0
    again = made_up_noise(np.random.default_rng(0), 16, 2 * rate, rate)
    assert all((a == b).all() for a, b in zip(sounds, again, strict=True))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


Fit = Callable[..., int]


@pytest.fixture
def fit(world: Path, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """``edge-export fit my_clips --out b ...`` in this process, which imports torch only once."""
    monkeypatch.chdir(world)
    quick = ["fit", "my_clips", "--out", "b", "--epochs", "8", "--bits", "float"]
    return lambda *arguments: main([*quick, *map(str, arguments)])


def classify(bundle: str, audio: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", audio, "--bundle", bundle, "--json"],
        capture_output=True, text=True, check=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_fit_calibrates_and_refuses_what_fires_on_noise(
    world: Path, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time the noise holds a class, and the first bundle is still there."""
    assert fit("--target-precision", 0.95, "--noise", "site") == 0
    assert "detections of a class per hour of noise recordings" in capsys.readouterr().out
    bundle = open_bundle("b")
    noise: Any = bundle.manifest.training["noise"]
    assert noise["noise_recordings"] == {"hours": round(20 / 3600, 4), "detections_per_hour_max": 0}
    assert bundle.manifest.training["target_precision"] == 0.95
    assert bundle.calibration is not None
    names = [label.text for label in bundle.labels]
    events = classify("b", "night.wav")
    assert {event["label"] for event in events} == set(names)
    for event in events:
        slope, intercept = bundle.calibration[names.index(event["label"])]
        score = 1 / (1 + math.exp(-slope * event["logit"] - intercept))
        assert event["calibrated"] is True
        assert event["score"] == pytest.approx(score, abs=1e-6)

    before = {path.name: path.read_bytes() for path in Path("b").iterdir()}
    Path("not_noise").mkdir()
    shutil.copy("night.wav", "not_noise")
    there = sorted(world.iterdir())
    assert fit("--replace", "--noise", "not_noise") == 1
    refused = capsys.readouterr().err
    assert "error: at most 1 detections per hour of noise are allowed, found" in refused
    assert f"most on {Path('not_noise') / 'night.wav'}" in refused
    assert sorted(world.iterdir()) == there
    assert {path.name: path.read_bytes() for path in Path("b").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--target-precision", 1), "expected a number between 0 and 1, found '1'"),
        (("--max-noise-detections-per-hour", "nan"), "found 'nan'"),
        (("--target-precision", 0.5, "--favour", "recall"), "not allowed with"),
    ],
)
def test_usage(
    fit: Fit, capsys: pytest.CaptureFixture[str], arguments: tuple, expected: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        fit(*arguments)
    assert expected in capsys.readouterr().err


def test_noise_must_be_there(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--replace", "--noise", "nowhere") == 1
    assert "nowhere: no audio files" in capsys.readouterr().err


def test_false_alarms_are_counted_on_background(
    fit: Fit, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shutil.copytree("my_clips", tmp_path / "my_clips")
    shutil.rmtree(tmp_path / "my_clips" / "Background")
    os.chdir(tmp_path)  # the fixture goes back
    assert fit("--no-background", "--max-false-alarms-per-hour", 1) == 1
    assert "no background clips: there is nothing to count" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"my_clips", "token_cache"}
