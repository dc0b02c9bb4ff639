"""``edge-probe run`` as its owner meets it: what it refuses, what it plans, what it hears."""

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from shutil import copytree

import pytest
import soundfile as sf
from support.virtual_microphone import VirtualMicrophone

from edge_probe import log
from edge_probe.analysis import process
from edge_probe.cli import main
from edge_probe.commands import run
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.commands.state import DEFAULT_STATE
from edge_probe.deployment.state import StateFolder
from edge_probe.lock import hold

RATE = 44_100
SCENE = DEMO_BUNDLE.parent / "demo_scene.ogg"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep", "detections"], "deletes audio"),
        (["--private", "Frog"], "need a bundle"),
        (["--gate", "6"], "need a bundle"),
        (["--gate-high", "6000"], "none was asked for"),
        (["--only", "classify"], "need a bundle"),
        (["--only", "classify", "--bundle", "nowhere"], "nowhere/manifest.json: no such file"),
        (["--bundle", "no such folder"], "no such folder/manifest.json: no such file"),
        (["--bundle", str(DEMO_BUNDLE), "--species", "no.csv"], "no.csv: no such file"),
        (["--plan", "30"], "needs a sample rate"),
        (["--deployment", "wrong.toml"], "did you mean deployment_id?"),
        (["--bundle", "tampered"], "labels.txt: expected sha256"),
        (["--bundle", str(DEMO_BUNDLE), "--private", "Sea wave"], "did you mean Sea waves?"),
        (["--bundle", str(DEMO_BUNDLE), "--species", "wrong.csv"], "did you mean Rooster?"),
        (["--bundle", str(DEMO_BUNDLE), "--gate", "6", "--gate-high", "20000"], "of 40 Hz or more"),
        (["--device", "2"], "a number changes with each boot"),
        (["--device", ""], "expected a name"),
        (["--device", "usb:0d8c"], "expected usb:VENDOR:PRODUCT"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("wrong.toml").write_text('deployment_i = "wood"')
    Path("wrong.csv").write_text("label,from_mmdd,to_mmdd,min_score\nRoster,,,\n")
    copytree(DEMO_BUNDLE, "tampered")
    labels = Path("tampered", "labels.txt")
    labels.write_bytes(labels.read_bytes().replace(b"Rooster", b"Booster"))
    assert main(["run", "state", *words]) == 1
    error = capfd.readouterr().err
    assert said in error
    assert error.count("error:") == 1
    assert not Path("state", "capture.sqlite").exists()


def test_a_gate_before_a_private_class_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["run", str(tmp_path), "--bundle", str(DEMO_BUNDLE), "--rate", "48000", "--plan", "1"]
    assert main([*words, "--private", "Rooster"]) == 0
    assert "private" not in caplog.text
    assert main([*words, "--private", "Rooster", "--gate", "6"]) == 0
    assert "private and too quiet for the gate stays" in caplog.text


@pytest.mark.parametrize("rate", ["0", "-48000", "44.1", "1000000", "4e3"])
def test_a_rate_that_no_microphone_has_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(tmp_path), "--rate", rate])
    assert "expected a whole number from 8000 to 384000" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["--quota", "inf"], ["--quota", "0"],
    ["--floor", "inf"], ["--floor", "-1"], ["--segment", "nan"], ["--segment", "0"],
    ["--channels", "0"], ["--bits", "20"], ["--backlog", "inf"], ["--sample", "2"],
])  # fmt: skip
def test_a_number_that_cannot_be_meant_is_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tmp_path / "state"), *words])
    assert caught.value.code == 2
    assert not list(tmp_path.iterdir())


def test_only_a_folder_is_taken_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["run", str(tmp_path / "file")]) == 1
    assert main(["run", str(tmp_path / "file" / "state")]) == 1
    assert capsys.readouterr().err.count("expected a folder, found something else") == 2
    n_files = len(list(DEMO_BUNDLE.iterdir()))
    assert main(["run", str(DEMO_BUNDLE)]) == 1
    assert "found a bundle" in capsys.readouterr().err
    assert len(list(DEMO_BUNDLE.iterdir())) == n_files


def test_two_recorders_in_one_folder_are_one_too_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(tmp_path):
        assert main(["run", str(tmp_path)]) == 1
    assert "is writing there" in capsys.readouterr().err


def test_a_plan_that_deletes_has_to_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(tmp_path / "new"), "--rate", "48000", "--quota", "1", "--floor", "0"]
    words += ["--plan", "30", "--keep", "detections"]
    assert main(words) == 1
    assert "the card is full after" in capsys.readouterr().out
    assert main([*words, "--accept-deletion"]) == 0
    assert not list(tmp_path.iterdir())


def test_a_plan_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert main(["run", str(folder), "--rate", "8000", "--plan", "1", "--floor", "0"]) == 0
    assert not list(tmp_path.iterdir())


def test_every_command_means_the_same_folder() -> None:
    told: set[str] = set()
    for command in ("run", "status", "tail", "check_site", "effort", "retime"):
        parser = argparse.ArgumentParser()
        import_module(f"edge_probe.commands.{command}").add_arguments(parser)
        needed = ["--offset", "1"] if command == "retime" else []
        assert parser.parse_args(needed).state == DEFAULT_STATE
        assert parser.parse_args(["here", *needed]).state == Path("here")
        told |= {*re.findall(r"^ +STATE +(.*)$", parser.format_help(), re.MULTILINE)}
    (line,) = told
    assert str(DEFAULT_STATE) in line


def test_a_folder_this_user_may_not_make_is_told_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["run", str(tmp_path / "state")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'state'}: this user may not make it" in error
    assert "sudo install -d" in error


@pytest.mark.parametrize("bundle", [None, DEMO_BUNDLE])
def test_where_there_are_scores_windows_are_drawn_by_them_too(
    tmp_path: Path, bundle: Path | None
) -> None:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    args = parser.parse_args([str(tmp_path), "--sample", "0.04"])
    args.bundle = bundle
    design = run._orders(args, StateFolder(tmp_path), None).sample
    assert design.probability == 0.04
    drawn = [(stratum.score_from, stratum.probability) for stratum in design.strata]
    assert drawn == ([(0.1, 0.04), (0.3, 0.08), (0.6, 0.2), (0.9, 0.4)] if bundle else [])


def test_a_link_to_a_bundle_is_followed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a bundle are opened one after another, by path; an update switches the link."""
    opened: list[Path] = []
    monkeypatch.setattr(log, "never_wait", lambda: None)
    monkeypatch.setattr(process, "run_worker", lambda _state, bundle, **_: opened.append(bundle))
    (tmp_path / "current").symlink_to(DEMO_BUNDLE)
    words = ["--only", "classify", "--bundle", str(tmp_path / "current")]
    assert main(["run", str(tmp_path / "state"), *words]) == 0
    assert opened == [DEMO_BUNDLE.resolve()]


def test_a_whole_station_hears_tells_and_keeps(
    tmp_path: Path, plugged: Callable[[int], VirtualMicrophone]
) -> None:
    microphone = plugged(RATE)
    samples, _ = sf.read(SCENE, dtype="int16")
    sf.write(tmp_path / "part.wav", samples[: 16 * RATE], RATE)
    (tmp_path / "deployment.toml").write_text('deployment_id = "wood-1"')
    state = tmp_path / "state"

    def edge_probe(*words: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "edge_probe", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    command = [sys.executable, "-m", "edge_probe", "run", state, "--bundle", DEMO_BUNDLE,
               "--device", microphone.name, "--rate", RATE, "--segment", 4, "--floor", 0.01,
               "--deployment", tmp_path / "deployment.toml"]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        station = subprocess.Popen([*map(str, command)], env=microphone.environment, stderr=log)
    try:
        _until(lambda: "recording" in (tmp_path / "log").read_text())
        time.sleep(3)
        assert microphone.play(tmp_path / "part.wav", latency_ms=1000).wait(timeout=60) == 0
        _until(lambda: "Sea waves" in edge_probe("tail", state, "--json").stdout)
        told = edge_probe("status", state, "--one-line")
    finally:
        station.terminate()
        code = station.wait(timeout=20)
    assert code == 0, (tmp_path / "log").read_text()
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.startswith("wood-1")
    kinds = {
        json.loads(line)["kind"] for line in edge_probe("tail", state, "--json").stdout.splitlines()
    }
    assert {"gap", "detection"} <= kinds
    assert edge_probe("status", state).returncode == 1
    assert edge_probe("effort", state).returncode == 0
    with (state / "effort.csv").open() as file:
        rows = list(csv.DictReader(file))
    heard = sum(float(row["classified_s"]) + float(row["skipped_s"]) for row in rows)
    assert heard == pytest.approx(sum(float(row["recorded_s"]) for row in rows), abs=1e-5)
    assert heard > 16


def test_a_recorder_without_room_does_not_call_itself_recording(
    tmp_path: Path, plugged: Callable[[int], VirtualMicrophone]
) -> None:
    microphone = plugged(RATE)
    edge_probe = [sys.executable, "-m", "edge_probe"]
    command = [*edge_probe, "run", tmp_path / "state", "--device", microphone.name,
               "--rate", RATE, "--segment", 10, "--quota", 0.001]  # fmt: skip
    told = [""]

    def is_full() -> bool:
        words = [*edge_probe, "status", str(tmp_path / "state"), "--one-line"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        told.append(done.stdout)
        return "disk full" in done.stdout and done.returncode == 1

    with (tmp_path / "log").open("wb") as log:
        station = subprocess.Popen([*map(str, command)], env=microphone.environment, stderr=log)
    try:
        _until(lambda: "there is no room" in (tmp_path / "log").read_text())
        _until(is_full)
        assert "NOT RECORDING; the recorder runs but does not record: disk full" in told[-1]
    finally:
        station.terminate()
        assert station.wait(timeout=20) == 0


def _until(done: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.2)
