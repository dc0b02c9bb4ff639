"""A copy of one moment while a recorder and its classifier go on."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
import soundfile as sf
from support.made_card import FieldRecorder, committed
from support.virtual_microphone import VirtualMicrophone

from edge_probe.classify import ChunkAnalyser
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.desk.archive import Deployment
from edge_probe.desk.collect import collect
from edge_probe.desk.copies import is_written
from edge_probe.desk.files import sha256_of
from edge_probe.desk.progress import Progress
from edge_probe.desk.record import Collection
from edge_probe.desk.snapshot import snapshot
from edge_probe.errors import StateError
from edge_probe.lock import hold

RATE = 44_100
SCENE = DEMO_BUNDLE.parent / "demo_scene.ogg"


@pytest.fixture
def microphone(tmp_path: Path) -> Iterator[VirtualMicrophone]:
    if lacking := VirtualMicrophone.missing():
        pytest.skip(lacking)
    folder = tmp_path / "pulse"
    folder.mkdir()
    found = VirtualMicrophone(folder, RATE)
    yield found
    found.close()


def shoot(state: Path, target: Path) -> Collection:
    return snapshot(state, target, Progress(StringIO()))


def check_of_one_moment(folder: Path, state: Path) -> int:
    """Every detection's segment is there, as row and as file; returns how many detections."""
    assert not list(folder.glob("*-wal"))
    with closing(sqlite3.connect(folder / "detections.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (n_rows,) = db.execute("SELECT count(*) FROM detection").fetchone()
        chunks = db.execute("SELECT stream, max(first_frame + n_frames) FROM chunk"
                            " WHERE state != 'tried' GROUP BY 1").fetchall()  # fmt: skip
    with closing(sqlite3.connect(folder / "capture.sqlite")) as db:
        for stream, end in chunks:
            (known,) = db.execute("SELECT max(first_frame + n_frames) FROM segment"
                                  " WHERE stream = ?", (stream,)).fetchone()  # fmt: skip
            assert end <= known
    with Deployment(folder) as deployment:
        detections = list(deployment.detections())
        assert all(one.segment and one.segment.path for one in detections)
        for segment in deployment.segments():
            assert segment.path is not None
            twin = state / "audio" / segment.path.name
            assert not twin.exists() or sha256_of(twin) == sha256_of(segment.path)
    assert len(detections) == n_rows
    return len(detections)


def test_while_a_recorder_runs(tmp_path: Path, microphone: VirtualMicrophone) -> None:
    samples, _ = sf.read(SCENE, dtype="int16")
    sf.write(tmp_path / "part.wav", samples[: 16 * RATE], RATE)
    (tmp_path / "deployment.toml").write_text('deployment_id = "wood"')
    state, target, log = tmp_path / "state", tmp_path / "copy", tmp_path / "log"
    command = [sys.executable, "-m", "edge_probe", "run", state, "--bundle", DEMO_BUNDLE,
               "--device", microphone.name, "--rate", RATE, "--segment", 2, "--floor", 0.01,
               "--deployment", tmp_path / "deployment.toml"]  # fmt: skip
    with log.open("wb") as file:
        station = subprocess.Popen([*map(str, command)], env=microphone.environment, stderr=file)
    heard: list[int] = []
    try:
        deadline = time.monotonic() + 120
        while "recording" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        player = microphone.play(tmp_path / "part.wav", latency_ms=1000)
        while not (heard and heard[-1] and player.poll() is not None):
            assert time.monotonic() < deadline, log.read_text()
            if (state / "detections.sqlite").exists():
                found = shoot(state, target)
                assert found.was_recording
                assert not found.bad
                heard.append(check_of_one_moment(target, state))
            time.sleep(0.5)
        assert player.wait() == 0
    finally:
        station.terminate()
        code = station.wait(timeout=60)
    assert code == 0, log.read_text()  # it did not mind
    assert len(heard) > 2
    assert heard == sorted(heard)
    (outcome,) = collect([target], tmp_path / "archive", Progress(StringIO()))
    assert outcome.is_good
    assert check_of_one_moment(tmp_path / "archive" / "wood", state) == heard[-1]
    (outcome,) = collect([state], tmp_path / "archive", Progress(StringIO()))
    assert outcome.is_good
    assert committed(state, tmp_path / "s") == committed(
        tmp_path / "archive" / "wood", tmp_path / "s"
    )


def test_what_is_deleted_or_transcoded_meanwhile(
    tmp_path: Path, analyser: ChunkAnalyser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder makes room between the copy of the ledger and that of the audio."""
    recorder = FieldRecorder(tmp_path / "recorder", analyser, 1, "wood", segment_s=0.2)
    recorder.record(500)
    victim, *_ = sorted((recorder.state / "audio").glob("*.wav"))
    from edge_probe.desk import audio

    before = audio.AudioBringer.bring

    def bring(self: audio.AudioBringer, known: set[str] | None, blanked: set[str]) -> None:
        if victim.exists():
            with closing(sqlite3.connect(recorder.state / "capture.sqlite")) as db:
                db.execute(
                    "INSERT INTO deletion SELECT NULL, stream, first_frame, n_frames, name, 1,"
                    " 'quota', 'nothing', 1, 0, 0 FROM segment WHERE name = ?", (victim.name,),
                )  # fmt: skip
                db.commit()
            victim.unlink()
        before(self, known, blanked)

    monkeypatch.setattr(audio.AudioBringer, "bring", bring)
    with hold(recorder.state):
        assert is_written(recorder.state)
        found = shoot(recorder.state, tmp_path / "copy")
    assert not found.bad
    with closing(sqlite3.connect(tmp_path / "copy" / "capture.sqlite")) as db:
        assert db.execute("SELECT name FROM deletion").fetchall() == [(victim.name,)]


def test_what_is_there_is_not_overwritten(tmp_path: Path, analyser: ChunkAnalyser) -> None:
    recorder = FieldRecorder(tmp_path / "recorder", analyser, 1)
    recorder.record(300)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(StateError, match="is there already, and no snapshot"):
        shoot(recorder.state, tmp_path / "full")
    with pytest.raises(StateError, match="lies in the folder"):
        shoot(recorder.state, recorder.state / "copy")
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["mine.txt"]
    other = FieldRecorder(tmp_path / "other", analyser, 2)
    other.record(300)
    shoot(recorder.pull(tmp_path / "card"), tmp_path / "copy")
    with pytest.raises(StateError, match="another one"):
        shoot(other.pull(tmp_path / "second"), tmp_path / "copy")


def test_a_classifier_that_has_only_begun(tmp_path: Path, analyser: ChunkAnalyser) -> None:
    recorder = FieldRecorder(tmp_path / "recorder", analyser, 1)
    recorder.record(300)
    state = recorder.pull(tmp_path / "card")
    for name in ("detections.sqlite", "detections.sqlite-wal"):
        (state / name).unlink()
    for begin in ("SELECT 1", "PRAGMA journal_mode = WAL"):
        with closing(sqlite3.connect(state / "detections.sqlite")) as db, hold(state):
            db.execute(begin)
            assert not shoot(state, tmp_path / "copy").bad
            assert not (tmp_path / "copy" / "detections.sqlite").exists()
            with Deployment(state) as deployment:
                assert list(deployment.detections()) == []
                assert deployment.bundles() == []
    for suffix in ("", "-wal"):
        (state / f"capture.sqlite{suffix}").unlink()
    with (
        closing(sqlite3.connect(state / "capture.sqlite")),
        hold(state),
        pytest.raises(StateError, match="only begun"),
    ):
        shoot(state, tmp_path / "another")
