"""Events with a cursor: none is lost, whoever is killed, and readers leave no trace."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recorded_state import Detections, Recording

from edge_probe.alive import events as events_module
from edge_probe.alive.cursor import Cursor, load, save
from edge_probe.alive.events import newest, read_events
from edge_probe.capture.ledger import Ledger
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.cli import main
from edge_probe.database import read
from edge_probe.errors import StateError
from edge_probe.health.row import Alarm

MINUTE_NS = 60 * 10**9


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    made = Recording(tmp_path)
    made.record(50)  # before that a loss is the start of the card
    return made


def tell(state: Path, cursor: Cursor | None = None) -> tuple[Sequence[dict[str, Any]], Cursor]:
    """All there is, and the cursor behind it."""
    told: list[dict[str, Any]] = []
    while True:
        events, cursor = read_events(state, cursor)
        if not events:
            return told, cursor
        told += [event.fields for event in events]


def test_a_detection_is_told_once_with_its_time(recording: Recording) -> None:
    detections = Detections(recording.state)
    detections.detect("Wren", 1000)
    detections.detect("Ørret", 1200, suppressed=True)
    (wren, trout), cursor = tell(recording.state)
    assert (wren["kind"], wren["label"], wren["bundle"]) == ("detection", "Wren", "demo-1")
    assert (wren["stream"], wren["first_frame"], wren["n_frames"]) == (1, 1000, 500)
    assert (wren["duration_s"], wren["boot"], wren["clock_trust"]) == (0.5, 1, "ntp")
    # The virtual clocks start at 1 s, and frame 0 then: 1 s + offset + 1000 frames.
    assert wren["time_utc"] == "2023-11-14T22:13:22.000Z"
    assert (wren["suppressed"], trout["suppressed"], wren["private"]) == (False, True, False)
    assert tell(recording.state, cursor)[0] == []
    detections.detect("Robin")
    assert [event["label"] for event in tell(recording.state, cursor)[0]] == ["Robin"]


def test_a_gap_that_is_open_is_told_at_once_and_again_when_it_ends(recording: Recording) -> None:
    state = recording.state
    recording.source.lose(700)
    recording.record(30)
    (lost,), cursor = tell(state)
    assert (lost["kind"], lost["cause"], lost["n_frames"]) == ("gap", "stall", 700)
    recording.end("device")
    (gone,), cursor = tell(state, cursor)
    assert (gone["cause"], gone["duration_s"]) == ("device", None)
    assert tell(state, cursor)[0] == []
    recording.clock.now_ns += 10 * 10**9
    Recording(state, recording.clock).record(20)
    (ended,), cursor = tell(state, cursor)
    assert ended["first_frame"] == gone["first_frame"]
    assert ended["duration_s"] == pytest.approx(10, abs=0.2)
    assert tell(state, cursor)[0] == []


def test_a_gap_that_grows_is_told_again_when_it_is_over(recording: Recording) -> None:
    """As while the card is full: its row says how long it is so far."""
    state, end = recording.state, 5000

    def grow(n_frames: int) -> None:
        ledger = Ledger(state / "capture.sqlite")
        ledger.put_gap(1, end, n_frames, "disk")
        ledger.close()

    grow(20_000)
    (begun,), cursor = tell(state)
    assert (begun["cause"], begun["n_frames"]) == ("disk", 20_000)
    for n_frames in (40_000, 60_000):
        grow(n_frames)
        assert tell(state, cursor)[0] == []
    ledger = Ledger(state / "capture.sqlite")
    ledger.put_gap(1, end + 60_000, 700, "stall")
    ledger.close()
    (over, other), cursor = tell(state, cursor)
    assert (over["first_frame"], over["n_frames"]) == (end, 60_000)
    assert other["n_frames"] == 700
    assert tell(state, cursor)[0] == []


def test_skips_that_follow_each_other_are_one_event(recording: Recording) -> None:
    detections = Detections(recording.state)
    for n, (state, reason) in enumerate(
        [("done", None), *[("skipped", "behind")] * 3, ("quarantined", "killed"), ("tried", None)]
    ):
        detections.leave_out(n, state, reason)  # type: ignore[arg-type]
    told, cursor = tell(recording.state)
    assert [(e["kind"], e["state"], e["first_frame"], e["n_frames"]) for e in told] == [
        ("skip", "skipped", 1000, 3000), ("skip", "quarantined", 4000, 1000),
    ]  # fmt: skip
    detections.db.execute("UPDATE chunk SET state = 'skipped', reason = 'behind' WHERE n = 5")
    (late,), cursor = tell(recording.state, cursor)
    assert late["first_frame"] == 5000
    detections.db.execute("INSERT INTO bundle VALUES (2, 'demo-2')")
    detections.leave_out(0, "skipped", "behind", bundle=2)
    detections.leave_out(6, "skipped", "behind", bundle=1)  # the first bundle is back
    assert len(tell(recording.state, cursor)[0]) == 2


def test_an_alarm_is_told_when_it_begins(recording: Recording) -> None:
    ledger = Ledger(recording.state / "capture.sqlite")

    def alarm(name: str, minute: int) -> None:
        row = Alarm(name, f"{name} is wrong", "mend it").row(minute * MINUTE_NS)
        ledger.add_health(1, [row])

    for minute in (1, 2, 3, 10):
        alarm("gain", minute)
    alarm("clipping.0", 2)
    told, cursor = tell(recording.state)
    assert [(event["name"], event["monotonic_ns"] // MINUTE_NS) for event in told] == [
        ("gain", 1), ("clipping.0", 2), ("gain", 10),
    ]  # fmt: skip
    assert told[0]["text"] == "gain is wrong; mend it"
    alarm("gain", 11)
    assert tell(recording.state, cursor)[0] == []
    ledger.close()


def test_more_than_fits_comes_in_portions(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "AT_ONCE", 3)
    detections = Detections(recording.state)
    for n in range(10):
        detections.detect(f"bird {n}")
        detections.leave_out(n, "skipped", f"reason {n}")
    told, cursor = tell(recording.state)
    assert [e["label"] for e in told if e["kind"] == "detection"] == [
        f"bird {n}" for n in range(10)
    ]
    assert [e["reason"] for e in told if e["kind"] == "skip"] == [f"reason {n}" for n in range(10)]
    assert tell(recording.state, cursor)[0] == []


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_whoever_goes_on_behind_any_line_misses_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    recording = Recording(tmp_path_factory.mktemp("state"))
    recording.record(50)
    detections = Detections(recording.state)
    n_told, wanted, cursor = 0, [], None
    for step in range(data.draw(st.integers(1, 6))):
        for n in range(data.draw(st.integers(0, 4))):
            detections.detect(label := f"{step}.{n}")
            wanted.append(("detection", label))
        if data.draw(st.booleans()):
            recording.source.lose(data.draw(st.integers(60, 999)))
            recording.record(15)
        events, _ = read_events(recording.state, cursor)
        if events:  # the reader dies behind some line
            n_read = data.draw(st.integers(1, len(events)))
            cursor = Cursor.parse(str(events[n_read - 1].cursor))
            wanted = [w for w in wanted if w[1] not in {
                str(e.fields.get("label")) for e in events[:n_read]}]  # fmt: skip
            n_told += sum(e.fields["kind"] == "gap" for e in events[:n_read])
    rest, _ = tell(recording.state, cursor)
    assert [("detection", e["label"]) for e in rest if e["kind"] == "detection"] == wanted
    path = recording.state / "capture.sqlite"
    (n_gaps,) = read(
        path, lambda db: db.execute("SELECT count(*) FROM gap").fetchone(), CAPTURE_VERSION
    )
    assert n_told + sum(event["kind"] == "gap" for event in rest) == n_gaps


def test_from_now_on(recording: Recording) -> None:
    detections = Detections(recording.state)
    detections.detect("Wren")
    detections.leave_out(0, "skipped", "behind")
    recording.source.lose(700)
    recording.record(30)
    assert len(tell(recording.state)[0]) == 3
    cursor = newest(recording.state)
    assert tell(recording.state, cursor)[0] == []
    detections.detect("Robin")
    assert [event["label"] for event in tell(recording.state, cursor)[0]] == ["Robin"]


def test_a_cursor_of_another_folder_is_refused(recording: Recording, tmp_path: Path) -> None:
    _, cursor = tell(recording.state)
    other = Recording(tmp_path / "other")
    other.clock.kernel_id = "another"
    other.record(20)
    with pytest.raises(StateError, match="another"):
        read_events(other.state, cursor)


def test_a_ledger_that_was_rebuilt_loses_no_detection(recording: Recording) -> None:
    detections = Detections(recording.state)
    detections.detect("Wren")
    recording.end("device")
    (_, _), cursor = tell(recording.state)
    (recording.state / "capture.sqlite").write_bytes(b"worn out" * 1000)
    detections.detect("Robin")
    recording.clock.kernel_id = "second"
    Recording(recording.state, recording.clock).record(50)
    gap, robin = tell(recording.state, cursor)[0]
    assert (gap["kind"], gap["cause"]) == ("gap", "power")
    assert (robin["label"], robin["time_utc"]) == ("Robin", None)


def test_a_database_that_began_anew_is_seen(recording: Recording) -> None:
    detections = Detections(recording.state)
    detections.detect("Wren")
    _, cursor = tell(recording.state)
    detections.db.execute("DELETE FROM detection")
    with pytest.raises(StateError, match="found fewer"):
        read_events(recording.state, cursor)


@given(text=st.text(max_size=60), at=st.integers(0, 200), other=st.characters())
@settings(max_examples=100, deadline=None)
def test_what_is_no_cursor_is_refused(text: str, at: int, other: str) -> None:
    with pytest.raises(StateError, match="expected a cursor"):
        Cursor.parse(text)
    whole = str(Cursor("first", {"detection": (7,), "alarm": (1, 2**62, "alarm.gain é")}))
    assert str(Cursor.parse(whole)) == whole
    at %= len(whole)
    broken = whole[:at] + other + whole[at + 1 :]
    if broken.rstrip("=") != whole and other not in "=\n":
        with suppress(StateError):
            assert str(Cursor.parse(broken)) == whole  # unused bits of the last character
    with pytest.raises(StateError):
        Cursor.parse(whole[:at])


def test_a_cursor_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    assert load(path) is None
    for row in range(3):
        save(path, Cursor("first", {"detection": (row,)}))
        assert load(path) == Cursor("first", {"detection": (row,)})
    for damaged in (b"", b"\xff\xfe\0"):
        path.write_bytes(damaged)
        with pytest.raises(StateError, match="expected a cursor"):
            load(path)


def test_the_command_goes_on_where_it_was(
    recording: Recording, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # A terminal's or a pipe's stdout has a descriptor; that of capsys has none.
    state, kept = recording.state, tmp_path / "cursor"
    Detections(state).detect("Wren")
    command = [sys.executable, "-m", "edge_probe", "tail", str(state), "--cursor-file", str(kept)]
    first = subprocess.run([*command, "--json"], capture_output=True, check=True).stdout
    (line,) = map(json.loads, first.splitlines())
    assert next(iter(line)) == "kind"
    assert kept.read_text().strip() == line["cursor"]
    again = subprocess.run(command, capture_output=True, check=True).stdout
    assert again == b""
    assert main(["tail", str(state), "--since", line["cursor"][:-2]]) == 1
    assert "expected a cursor" in capsys.readouterr().err


def test_kill_9_loses_nothing(recording: Recording, tmp_path: Path) -> None:
    state, kept, output = recording.state, tmp_path / "cursor", tmp_path / "lines"
    detections = Detections(state)
    n_detections = 0
    with output.open("ab") as lines:
        for lives_s in (0.3, 1.1, 1.7, 2.3):  # it starts, reads, has written, waits
            follower = subprocess.Popen(
                [sys.executable, "-m", "edge_probe", "tail", str(state), "--json", "--follow",
                 "--cursor-file", str(kept)], stdout=lines,
            )  # fmt: skip
            end_s = time.monotonic() + lives_s
            while time.monotonic() < end_s:
                detections.detect(f"{n_detections}")
                n_detections += 1
                time.sleep(0.005)
            follower.send_signal(signal.SIGKILL)
            follower.wait()
        command = [sys.executable, "-m", "edge_probe", "tail", str(state), "--json",
                   "--cursor-file", str(kept)]  # fmt: skip
        subprocess.run(command, stdout=lines, check=True)
    labels = [json.loads(line)["label"] for line in _whole_lines(output)]
    assert list(dict.fromkeys(labels)) == [f"{n}" for n in range(n_detections)]


def test_sigterm_ends_a_follower_in_order(recording: Recording, tmp_path: Path) -> None:
    Detections(recording.state).detect("Wren")
    follower = subprocess.Popen(
        [sys.executable, "-m", "edge_probe", "tail", str(recording.state), "--follow"],
        stdout=subprocess.PIPE,
    )
    assert follower.stdout is not None
    assert b"Wren 0.90" in follower.stdout.readline()
    follower.send_signal(signal.SIGTERM)
    assert follower.wait(timeout=30) == 0
    follower.stdout.close()


def _whole_lines(path: Path) -> list[str]:
    """A line that a kill cut is completed by the next reader's first one: told again."""
    lines = []
    for line in path.read_text().splitlines():
        start = line.rfind('{"kind"')
        lines.append(line[start:])
    return [line for line in lines if line.endswith("}")]
