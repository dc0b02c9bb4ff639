"""Is it alive: from the lock, the status, the databases and the file that grows."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_ledger import RATE, T0, MadeState
from support.numbered_source import VirtualClock
from support.recorded_state import RECORDING, Detections, Recording

from edge_probe.alive import facts as facts_module
from edge_probe.alive.duration import text_of
from edge_probe.alive.facts import Facts, facts, last_detection
from edge_probe.alive.page import MAX_LINE, as_dict, one_line, page
from edge_probe.alive.report import STALE_S, Report, look
from edge_probe.alive.status import JSON_NAME, LastDetection, Status, StatusFiles, Written
from edge_probe.cli import main
from edge_probe.clock import SystemClock
from edge_probe.database import read
from edge_probe.errors import StateError
from edge_probe.lock import hold

GSM_ONE_SEPTET = set(
    "@$_!\"#%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz "
)
"""ASCII in the default alphabet of GSM 03.38, without its extension table."""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def say(state: Path, clock: VirtualClock, status: Status = RECORDING) -> None:
    StatusFiles(state, clock).update(lambda: status)


def trouble(state: Path, clock: VirtualClock, *, alive: bool = True) -> str | None:
    with hold(state) if alive else nullcontext():
        return look(state, clock).trouble


def test_a_recorder_that_lives_and_says_so_records(tmp_path: Path, clock: VirtualClock) -> None:
    say(tmp_path, clock)
    clock.now_ns += round((STALE_S - 1) * 1e9)
    with hold(tmp_path):
        report = look(tmp_path, clock)
    assert report.trouble is None
    assert report.pid == os.getpid()
    assert report.fresh == RECORDING
    assert look(tmp_path, clock).pid is None  # the lock is free again, the number still in it


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "no microphone"}, "no microphone"),
        ({"last_frame_age_s": 12.0}, "no sample has come for 12s"),
        ({"last_frame_age_s": None}, "no sample has come"),
    ],
)
def test_a_recorder_that_lives_and_does_not_record(
    tmp_path: Path, clock: VirtualClock, change: dict[str, object], words: str
) -> None:
    say(tmp_path, clock, replace(RECORDING, **change))  # type: ignore[arg-type]
    found = trouble(tmp_path, clock)
    assert found is not None
    assert words in found


def test_off_hours_are_no_trouble_and_no_recording(tmp_path: Path, clock: VirtualClock) -> None:
    say(tmp_path, clock, replace(RECORDING, state="off hours", last_frame_age_s=None))
    with hold(tmp_path):
        report = look(tmp_path, clock)
    assert report.trouble is None
    assert page(report).startswith(f"recorder   off hours, process {os.getpid()}\n")
    assert one_line(report).split("; ")[0].endswith(" OK")
    assert as_dict(report)["recording"] is False


def test_a_recorder_that_is_gone_died_or_was_stopped(tmp_path: Path, clock: VirtualClock) -> None:
    say(tmp_path, clock)
    clock.now_ns += 120 * 10**9
    died = "no recorder runs: it went down without a word, last sign 2min ago"
    assert trouble(tmp_path, clock, alive=False) == died
    say(tmp_path, clock, replace(RECORDING, state="stopped"))
    assert trouble(tmp_path, clock, alive=False) == "no recorder runs: it was stopped, 0s ago"


def test_a_number_left_behind_by_a_dead_recorder_deceives_nobody(
    tmp_path: Path, clock: VirtualClock
) -> None:
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")  # alive, but holds no lock
    assert trouble(tmp_path, clock, alive=False) == ("no recorder runs, and none has recorded here")


@pytest.mark.parametrize("status", ["missing", "stale", "damaged", "of another version"])
def test_without_a_status_the_databases_and_the_growing_file_tell(
    tmp_path: Path, status: str
) -> None:
    clock = VirtualClock(offset_ns=SystemClock().utc_ns() - 10**9)  # files have real times
    match status:
        case "stale":
            say(tmp_path, clock)
            clock.now_ns += 10**11
            clock.offset_ns -= 10**11
        case "damaged":
            (tmp_path / JSON_NAME).write_text('{"half')
        case "of another version":
            (tmp_path / JSON_NAME).write_text('{"written_utc": "2026-11-24T10:00:00Z"}')
    recording = Recording(tmp_path, clock)
    recording.record(20)
    clock.offset_ns -= 2 * 10**9  # virtual seconds took no time
    detections = Detections(tmp_path)
    detections.detect("Wren")
    detections.detect("Unicorn", suppressed=True)
    with hold(tmp_path):
        report = look(tmp_path, clock)
        assert report.trouble is None
        assert report.last_detection == LastDetection("Wren", 0.9, report.last_detection.utc)  # type: ignore[union-attr]
        assert "Wren 0.90" in page(report)
        assert "Wren 0.90" in one_line(report)
        assert len(report.notes) == (status in ("damaged", "of another version"))
        clock.now_ns += 60 * 10**9  # nothing is written any more
        still = look(tmp_path, clock).trouble
        assert still is not None
        assert "no audio for" in still
        recording.end("device")
        ended = look(tmp_path, clock).trouble
        assert ended is not None
        assert ended.endswith("records nothing: device")
    assert look(tmp_path, clock).facts == Facts(
        1, 1, "numbered", 2.0, {}, "device", None, "ntp", report.last_detection
    )


def test_looking_leaves_no_trace(tmp_path: Path, clock: VirtualClock) -> None:
    recording = Recording(tmp_path)
    recording.record(20)
    recording.end()
    before = sorted(tmp_path.rglob("*"))
    report = look(tmp_path, clock)
    assert report.trouble == "no recorder runs: it was stopped"
    assert report.facts is not None
    assert sorted(tmp_path.rglob("*")) == before


names = st.text(max_size=200)
seconds = st.floats(-1e12, 1e15)
detections = st.none() | st.builds(LastDetection, names, seconds, st.none() | names)
reports = st.builds(
    Report,
    state=st.just(Path("/s")), pid=st.none() | st.integers(0, 2**22),
    trouble=st.none() | names, age_s=st.none() | seconds, notes=st.just(()),
    written=st.none() | st.builds(
        Written, utc=st.datetimes(), monotonic_ns=st.integers(0, 2**62), kernel_id=names,
        status=st.builds(
            replace, st.just(RECORDING), deployment_id=st.none() | names, recorded_s=seconds,
            gap_s=st.dictionaries(st.sampled_from(["stall", "disk"]), seconds),
            alarms=st.lists(names, max_size=5).map(tuple), last_detection=detections,
        ),
    ),
    facts=st.none() | st.builds(
        Facts, st.integers(), st.none() | st.integers(), st.none() | names, seconds,
        st.just({}), st.none(), st.none(), st.none() | names, detections,
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(report=reports)
def test_one_line_fits_one_sms_whatever_it_says(report: Report) -> None:
    line = one_line(report)
    assert len(line) <= MAX_LINE
    assert set(line) <= GSM_ONE_SEPTET
    assert ("NOT RECORDING" in line) is (report.trouble is not None)
    assert "; age " in line  # how old it is is never left out
    assert page(report)


@settings(deadline=None)
@given(duration_s=st.floats(-1e18, 1e18))
def test_a_duration_takes_six_characters(duration_s: float) -> None:
    assert 2 <= len(text_of(duration_s)) <= 6


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(59.9, "59s"), (60, "1min"), (3599, "59min"), (3600, "1h00"), (86_399, "23h59"),
     (86_400, "1d00h"), (99 * 86_400, "99d00h"), (100 * 86_400, "100d")],
)  # fmt: skip
def test_durations(duration_s: float, text: str) -> None:
    assert text_of(duration_s) == text


def test_the_line_is_for_people_too(tmp_path: Path, clock: VirtualClock) -> None:
    say(tmp_path, clock, replace(RECORDING, alarms=("gain 12 dB",)))
    with hold(tmp_path):
        assert one_line(look(tmp_path, clock)) == (
            "forest-07 OK; age 0s; ALARM gain 12 dB; rec 1h59; lost 0.14%; disk 41d12h;"
            " class running 4s behind; last Wren 0.93 at an unknown time; clock ntp"
        )


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    StatusFiles(tmp_path, SystemClock()).update(lambda: RECORDING)
    with hold(tmp_path):
        assert main(["status", str(tmp_path)]) == 0
        text = capsys.readouterr().out
        assert main(["status", str(tmp_path), "--json"]) == 0
        fields = json.loads(capsys.readouterr().out)
    assert "recording, process" in text
    assert all(len(line) <= 80 for line in text.splitlines() if "note" not in line)
    assert fields["status"]["gap_s"] == RECORDING.gap_s
    assert fields["recording"] is True
    assert main(["status", str(tmp_path), "--one-line"]) == 1
    assert "NOT RECORDING" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_no_such_folder(tmp_path: Path, clock: VirtualClock) -> None:
    with pytest.raises(StateError, match="no such folder"):
        look(tmp_path / "none", clock)


@pytest.mark.parametrize("command", ["status", "tail"])
def test_asking_costs_no_numpy(tmp_path: Path, command: str) -> None:
    Recording(tmp_path).record(20)
    words = [
        command,
        str(tmp_path),
        *(["--cursor-file", str(tmp_path / "c")] * (command == "tail")),
    ]
    code = (
        "import sys; from edge_probe.cli import main\n"
        f"main({words!r}); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_newest_detection_costs_the_same_after_months(tmp_path: Path) -> None:
    """The recorder asks for it every ten seconds."""
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0, "ntp")
    stream = made.stream(opened_ns=0)
    with made.ledger.transaction():
        for n in range(10_000):
            made.segment(stream, n * RATE, RATE)
    detections = Detections(tmp_path)
    detections.detect("Wren", 9_000 * RATE)
    detections.detect("Ørret", suppressed=True)
    n_steps = 0

    def count() -> None:
        nonlocal n_steps
        n_steps += 1

    def counted(
        path: Path, look: Callable[[sqlite3.Connection], object], version: int = 1
    ) -> object:
        def watched(db: sqlite3.Connection) -> object:
            db.set_progress_handler(count, 100)
            return look(db)

        return read(path, watched, version)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(facts_module, "read", counted)
        newest = last_detection(tmp_path)
    assert n_steps < 100
    assert newest == facts(tmp_path).last_detection
    assert newest == LastDetection("Wren", 0.9, "2023-11-15T00:43:20.000Z")
