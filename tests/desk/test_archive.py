"""What the desk reads of a state folder and of an archive, and that reading leaves no trace."""

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from support.made_archive import usual
from support.made_card import FieldRecorder, fingerprint
from support.made_ledger import RATE, T0, MadeState, S

from edge_probe.classify import ChunkAnalyser
from edge_probe.deployment.effort import write_effort
from edge_probe.deployment.state import StateFolder
from edge_probe.desk.archive import Deployment, DetectionRow, open_archive
from edge_probe.errors import StateError


@pytest.fixture
def recorder(tmp_path: Path, analyser: ChunkAnalyser) -> FieldRecorder:
    found = FieldRecorder(tmp_path / "state", analyser, 1, "wood", segment_s=0.1)
    found.record()
    found.reboot()
    found.record()
    return found


def told(state: Path) -> list[DetectionRow]:
    return list(open_archive(state).detections())


def test_a_pulled_card_is_read_without_a_trace(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    assert (card / "detections.sqlite-wal").exists()
    before = fingerprint(card)
    found = told(card)
    assert fingerprint(card) == before
    with closing(sqlite3.connect(recorder.state / "detections.sqlite")) as db:
        rows = db.execute(
            "SELECT stream, first_frame, first_frame + n_frames, channel, label, logit, score,"
            " low_hz, high_hz, window_frame, threshold FROM detection"
        ).fetchall()
    assert len(rows) > 20
    assert sorted(rows) == sorted(
        (one.stream, one.start_sample, one.end_sample, one.channel, one.label, one.logit,
         one.score, one.low_hz, one.high_hz, one.window_start_sample, one.threshold)
        for one in found
    )  # fmt: skip
    places = [(one.stream, one.start_sample) for one in found]
    assert places == sorted(places)
    times = [one.start_utc for one in found]
    assert all(a and b and a <= b for a, b in pairwise(times))


def test_a_detection_lies_in_the_segment_it_begins_in(
    recorder: FieldRecorder, tmp_path: Path
) -> None:
    card = recorder.pull(tmp_path / "card")
    crossing = 0
    with Deployment(card) as deployment:
        segments = list(deployment.segments())
        assert all(one.path and one.path.exists() for one in segments)
        for one in deployment.detections():
            segment = one.segment
            assert segment in segments
            assert segment
            assert one.start_s is not None
            assert one.end_s is not None
            assert 0 <= one.start_s < segment.duration_s
            assert one.end_s - one.start_s == pytest.approx(
                (one.end_sample - one.start_sample) / one.rate_hz
            )
            assert one.start_utc
            assert segment.start_utc
            later = (one.start_utc - segment.start_utc).total_seconds()
            assert later == pytest.approx(one.start_s, abs=1e-3)
            crossing += one.end_s > segment.duration_s
    assert crossing


def test_effort_is_that_of_the_file(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    found = list(open_archive(card).effort())
    write_effort(StateFolder(recorder.state), "wood", None)
    lines = (recorder.state / "effort.csv").read_text().splitlines()[1:]
    assert [f"{row.classified_s:.6f}" for row in found] == [one.split(",")[-1] for one in lines]
    assert sum(row.classified_s for row in found) == pytest.approx(5.2, abs=0.1)


def test_gaps_across_boots_are_as_long_as_clocks_tell(tmp_path: Path) -> None:
    state = MadeState(tmp_path)
    state.reboot()
    state.anchor(0, T0, "ntp")
    first = state.stream(0)
    state.segment(first, 0, 2000)
    state.gap(first, 2000, None, "power")
    state.reboot()
    state.anchor(0, T0 + 60 * S, "ntp")
    second = state.stream(0)
    state.segment(second, 0, 1000)
    state.gap(second, 1000, None, "schedule")
    state.ledger.close()
    one, last = open_archive(tmp_path).gaps()
    assert (one.n_samples, one.cause, one.duration_s) == (58 * RATE, "power", 58.0)
    assert one.start_utc
    assert one.end_utc
    assert (one.end_utc - one.start_utc).total_seconds() == 58
    assert (last.n_samples, last.end_utc) == (None, None)


def test_an_unset_clock_tells_no_time(tmp_path: Path) -> None:
    state = MadeState(tmp_path)
    state.reboot()
    state.segment(state.stream(0), 0, 1000)
    state.ledger.close()
    (segment,) = open_archive(tmp_path).segments()
    assert (segment.start_utc, segment.clock_trust) == (None, "unset")
    assert segment.path is None  # nothing wrote it


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="found neither"):
        open_archive(tmp_path)
    with pytest.raises(StateError, match="no such folder"):
        open_archive(tmp_path / "nowhere")


def test_a_half_collected_deployment_is_refused(recorder: FieldRecorder) -> None:
    (recorder.state / "collected.part").write_text("")
    with pytest.raises(StateError, match="not finished"):
        told(recorder.state)


def test_a_damaged_database_is_told_of(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    (card / "detections.sqlite-wal").unlink()
    (card / "detections.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StateError, match="not a database"):
        told(card)


@pytest.mark.parametrize("name", ["capture.sqlite", "detections.sqlite"])
def test_a_database_that_was_collected_and_is_gone_is_missed(name: str, tmp_path: Path) -> None:
    """Rather than a deployment without detections, or an archive without the deployment."""
    usual(tmp_path / "archive", "wood-1").close()
    usual(tmp_path / "archive", "wood-2").close()
    note = {"sha256": "", "n_bytes": 1, "mtime_ns": 0}
    files = {"capture.sqlite": note, "detections.sqlite": note}
    told_ = {"version": 1, "deployment_id": "wood-1", "collections": [], "files": files}
    folder = tmp_path / "archive" / "wood-1"
    (folder / "collected.json").write_text(json.dumps(told_))
    assert told(tmp_path / "archive")
    (folder / name).unlink()
    with pytest.raises(StateError, match=f"wood-1/{name}: was collected, and is gone"):
        told(tmp_path / "archive")


def test_one_deployment_in_two_folders_is_refused(tmp_path: Path) -> None:
    usual(tmp_path / "archive", "wood-1").close()
    shutil.copytree(tmp_path / "archive" / "wood-1", tmp_path / "archive" / "wood-1 (copy)")
    with pytest.raises(StateError, match="both hold the deployment wood-1"):
        open_archive(tmp_path / "archive")


@pytest.mark.parametrize(
    "change",
    [
        "label = 'a' || char(9) || 'b'", "label = ''", "logit = 9e999", "score = 9e999",
        "score = -0.5", "threshold = -9e999", "low_hz = 9e999", "channel = 7", "channel = -1",
        "n_frames = 0", "first_frame = -1", "high_hz = -9e999",
    ],
)  # fmt: skip
def test_rows_that_cannot_be_are_left_out(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is rescued of a damaged page may be anything."""
    usual(tmp_path / "archive", "wood-1").close()
    n = len(told(tmp_path / "archive"))
    with closing(sqlite3.connect(tmp_path / "archive" / "wood-1" / "detections.sqlite")) as db:
        db.execute(f"UPDATE detection SET {change} WHERE detection = 2")
        db.commit()
    assert [one.detection for one in told(tmp_path / "archive") if one.detection == 2] == []
    assert len(told(tmp_path / "archive")) == n - 1
    assert "1 detections have values that cannot be" in caplog.text
