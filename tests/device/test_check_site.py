"""Half a minute at the site: levels that are right, and a list that says what to look at."""

import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numbered_source import VirtualClock
from support.recorded_state import RECORDING, Recording
from support.virtual_microphone import VirtualMicrophone

from edge_probe.alive import level
from edge_probe.alive.level import Levels, Meter, bar
from edge_probe.alive.report import Report, look
from edge_probe.alive.site import (
    WIDTH,
    Point,
    clock_point,
    detection_point,
    disk_point,
    gain_points,
    gain_rows,
    report_points,
    sound_points,
)
from edge_probe.alive.status import Classifier, Disk, Status, StatusFiles
from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format
from edge_probe.cli import main
from edge_probe.health.row import Row
from edge_probe.lock import hold

RATE = 44_100
TONE_DBFS = -20.0


def tone(seconds: float, dbfs: float, n_channels: int = 1) -> np.ndarray:
    wave_ = np.sin(2 * np.pi * 1000 * np.arange(round(seconds * RATE)) / RATE)
    scaled = np.round(10 ** (dbfs / 20) * 2**15 * wave_).clip(-(2**15), 2**15 - 1)
    return np.repeat(scaled.astype("<i2")[:, None], n_channels, axis=1)


def judge(frames: np.ndarray) -> tuple[list[Levels], list[Point]]:
    """Second by second, in odd blocks, as the command does."""
    meter = Meter(Format(RATE, frames.shape[1], 2), VirtualClock())
    found = [meter.feed(part.tobytes()) for part in np.array_split(frames, 37)]
    levels = [one for one in found if one]
    rows, alarms = meter.whole.minute(0)
    return levels, [*sound_points(rows, alarms, max((x.peak_dbfs for x in levels), default=None))]


@pytest.mark.parametrize("dbfs", [-1.0, -20.0, -50.0])
def test_levels_of_a_tone_are_its_own(dbfs: float) -> None:
    levels, points = judge(tone(3, dbfs))
    assert len(levels) == 3
    for found in levels:
        assert found.peak_dbfs == pytest.approx(dbfs, abs=0.1)
        assert found.rms_dbfs == pytest.approx(dbfs, abs=0.1)
    assert [point.hint for point in points] == [None]


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (np.zeros((3 * RATE, 1), "<i2"), "flat line"),
        (np.full((3 * RATE, 1), 77, "<i2"), "flat line"),
        (tone(3, 6.0), "clipping"),
        (tone(3, -65.0), "level"),
        (tone(3, -20.0) + np.int16(5000), "dc"),
        (np.hstack([tone(3, -20.0), np.zeros((3 * RATE, 1), "<i2")]), "flat line"),
    ],
)
def test_what_is_wrong_with_the_sound_is_named(frames: np.ndarray, name: str) -> None:
    _, points = judge(frames.astype("<i2"))
    assert [point.name for point in points] == [name]
    assert points[0].hint


def test_no_sound_is_no_good_sound() -> None:
    _, (point,) = judge(tone(0.5, -20))
    assert point.hint


@given(peak=st.floats(-200, 0), rms=st.floats(-200, 0))
def test_a_bar_is_always_as_wide(peak: float, rms: float) -> None:
    text = bar(Levels(peak, rms))
    assert len(text) == len(bar(Levels(0, 0)))
    assert text.count("|") == 1


@settings(deadline=None)
@given(name=st.sampled_from(["gain", "flat line"]), text=st.text("ab ,é"), hint=st.text("cd "))
def test_a_point_fits_a_phone(name: str, text: str, hint: str) -> None:
    for point in (Point(name, text), Point(name, text, hint)):
        lines = str(point).splitlines()
        assert all(len(line) <= WIDTH for line in lines)
        assert lines[0].startswith("ok" if point.hint is None else "LOOK")
        assert "".join(text.split()) in "".join(re.sub(r"^.{17}", "", x) for x in lines).replace(
            " ", ""
        )


def report_of(state: Path, status: Status) -> Report:
    clock = VirtualClock()
    StatusFiles(state, clock).update(lambda: status)
    with hold(state):
        return look(state, clock)


def test_a_recorder_that_is_well_has_no_hints(tmp_path: Path) -> None:
    report = report_of(tmp_path, RECORDING)
    points = [*report_points(report), disk_point(report, tmp_path, None), clock_point("ntp")]
    assert any("started again 1 times" in point.text for point in points)
    assert [point.hint for point in [*points, detection_point(report)]] == [None] * 5
    assert "full in 41d12h" in points[2].text


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"state": "no microphone"}, "recorder"),
        ({"alarms": ("gain: expected 10 dB",)}, "alarm"),
        ({"classifier": Classifier("record-only", 7200.0, 9)}, "classifier"),
        ({"disk": Disk(10**9, 10**9, None, 0.4)}, "disk"),
    ],
)
def test_what_is_wrong_with_a_recorder_is_named(
    tmp_path: Path, change: dict[str, object], name: str
) -> None:
    report = report_of(tmp_path, replace(RECORDING, **change))  # type: ignore[arg-type]
    points = [*report_points(report), disk_point(report, tmp_path, None)]
    assert [point.name for point in points if point.hint] == [name]


def test_a_disk_without_a_plan_is_judged_as_if_all_were_kept(tmp_path: Path) -> None:
    point = disk_point(None, tmp_path / "not" / "there", Format(RATE, 1, 2))
    assert "if all is kept" in point.text
    assert disk_point(None, tmp_path, Format(2**40, 8, 4)).hint
    assert clock_point("unset").hint


def test_the_gain_is_that_of_the_newest_opening(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.record(20)
    ledger = Ledger(tmp_path / "capture.sqlite")
    for at_s, text in ((-900, "old"), (0, "8.00 dB"), (900, "new")):
        row = Row(recording.clock.now_ns + at_s * 10**9, "gain.Mic,0", 8, "dB", f"Mono {text}")
        ledger.add_health(1, [row])
    ledger.close()
    (point,) = gain_points(gain_rows(tmp_path), [])
    assert (point.text, point.hint) == ("Mic,0 Mono 8.00 dB", None)


@pytest.fixture
def microphone(
    tmp_path: Path, plugged: Callable[[int], VirtualMicrophone]
) -> Iterator[VirtualMicrophone]:
    server = plugged(RATE)
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(tone(60, TONE_DBFS).tobytes())
    player = server.play(tmp_path / "tone.wav")
    time.sleep(2.5)  # until PulseAudio delivers it
    yield server
    player.kill()
    player.wait()


def edge_probe(microphone: VirtualMicrophone, *words: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "edge_probe", *map(str, words)], text=True,
        env=microphone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_it_opens_the_microphone_when_no_recorder_runs(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    words = ("check-site", tmp_path / "none", "--device", "fieldmic", "--seconds", 4)
    output, log = (done := edge_probe(microphone, *words)).communicate(timeout=60)
    assert "levels are those of fieldmic" in output, log
    assert max(levels_in(output)) == pytest.approx(TONE_DBFS, abs=0.5)
    assert "\nok    level" in output
    assert "Traceback" not in log
    assert all(len(line) <= WIDTH for line in output.splitlines())
    assert done.returncode == int("\nLOOK" in output)  # of clock and disk of this machine


def test_it_reads_along_when_a_recorder_runs(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    state = tmp_path / "state"
    words = ("run", state, "--device", "fieldmic", "--rate", RATE, "--segment", 3)
    recorder = edge_probe(microphone, *words)
    for _ in range(100):
        if list(state.glob("audio/*.part")):
            break
        time.sleep(0.1)
    checker = edge_probe(microphone, "check-site", state, "--seconds", 6)
    output, log = checker.communicate(timeout=60)
    recorder.terminate()
    recorder.communicate(timeout=60)
    assert "A recorder runs" in output, log
    found = levels_in(output)
    assert len(found) >= 4  # over the seam of two files
    assert max(found) == pytest.approx(TONE_DBFS, abs=0.5)
    assert "\nok    level" in output


def test_a_recorder_that_writes_nothing_is_a_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(level, "_PATIENCE_S", 0.3)
    recording = Recording(tmp_path)
    recording.record(20)
    recording.end("device")
    with hold(tmp_path):
        assert main(["check-site", str(tmp_path), "--seconds", "9"]) == 1
    output = capsys.readouterr().out
    assert "LOOK  recorder" in output
    assert "LOOK  microphone" in output


def test_a_microphone_that_is_not_there_is_a_point(tmp_path: Path) -> None:
    words = ["check-site", str(tmp_path), "--device", "no such thing"]
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", *words], text=True, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert "LOOK  microphone" in done.stdout
    assert " clock " in done.stdout  # the other points are told all the same
    assert "Traceback" not in done.stderr


def levels_in(output: str) -> list[float]:
    return [float(found) for found in re.findall(r"rms +(-?[\d.]+) dB", output)]
