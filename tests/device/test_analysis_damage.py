"""Detections that cannot be read any more are put aside, and the classifier goes on."""

import logging
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from device.test_analysis_process import count, process, until
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.analysed_state import SoundCard, rows, small_bundle, work_off, worker_on

from edge_probe.alive.cursor import Cursor
from edge_probe.alive.events import newest, read_events
from edge_probe.alive.facts import facts
from edge_probe.analysis.rows import Key
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import Bundle
from edge_probe.capture.ledger import Ledger
from edge_probe.classify import ChunkAnalyser
from edge_probe.database import put_aside_if_damaged
from edge_probe.deployment.effort import read_both
from edge_probe.deployment.effort import rows as effort_rows
from edge_probe.deployment.state import StateFolder
from edge_probe.disk import rows as disk_rows
from edge_probe.disk.findings import Findings
from edge_probe.spec import WindowSpec

PAGE = 1024
CHUNK = 16
"""Frames."""

N_CHUNKS = 1500 // CHUNK + 1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "one", WindowSpec(3, 2, 0.1))


@pytest.fixture(scope="module")
def analyser(bundle: Bundle) -> ChunkAnalyser:
    return ChunkAnalyser(bundle)


def settle(state: Path) -> Path:
    """All that is in the log goes to the database itself."""
    path = state / "detections.sqlite"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    return path


def rot(path: Path, share: float = 1.0) -> None:
    """Bit rot in every page, or some, but the first."""
    data, chance = bytearray(path.read_bytes()), random.Random(1)
    for at in range(PAGE, len(data), PAGE):
        if chance.random() < share:
            data[at : at + PAGE] = chance.randbytes(PAGE)
    path.write_bytes(data)


def forget_pages(worker: Worker) -> None:
    """As if other work had taken the memory in which the database was cached."""
    worker._store._db.execute("PRAGMA shrink_memory")


def recorded(state: Path, n_frames: int = 1000) -> SoundCard:
    card = SoundCard(state, segment_s=0.25)
    card.noise(n_frames, 0)
    return card


damages = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(st.just("zero"), st.floats(0, 1)),
    st.tuples(st.just("zero from"), st.floats(0, 1)),
    st.tuples(st.just("noise"), st.floats(0, 1)),
    st.tuples(st.just("noise from"), st.floats(0, 1)),
)


def harm(path: Path, damage: tuple[str, float]) -> None:
    """Pages that are lost; a place is a share of the file."""
    kind, place = damage
    data = bytearray(path.read_bytes())
    at = int(place * (len(data) // PAGE - 1)) * PAGE
    end = len(data) if kind.endswith("from") else at + PAGE
    if kind == "cut":
        del data[max(1, int(place * len(data))) :]
    elif kind.startswith("zero"):
        data[at:end] = bytes(end - at)
    else:
        data[at:end] = random.Random(at).randbytes(end - at)
    path.write_bytes(data)


@example(("cut", 0.0), True, 35)
@example(("zero", 0.9518062977969013), False, 37)  # in the text of a stint
@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(damages, st.booleans(), st.integers(1, 60))
def test_classifying_goes_on_whatever_is_lost(
    analyser: ChunkAnalyser,
    tmp_path_factory: pytest.TempPathFactory,
    damage: tuple[str, float],
    is_at_work: bool,
    n_steps: int,
) -> None:
    state = tmp_path_factory.mktemp("state")
    card = recorded(state, 1000)
    worker = worker_on(state, analyser)
    for _ in range(n_steps):
        worker.step()
    worker.rest()
    if not is_at_work:
        worker._store.close()
    harm(settle(state), damage)
    if is_at_work:
        forget_pages(worker)
    else:
        worker = worker_on(state, analyser)
    card.noise(500, 1)
    card.end()
    work_off(worker)
    assert worker._store.next_n(Key(1, 0, 0, 0)) == N_CHUNKS
    worker.rest()  # may meet damage that was in no page until then
    worker._store.close()
    again = worker_on(state, analyser)  # damage in pages that were in memory is met now, or never
    work_off(again)
    assert again._store.next_n(Key(1, 0, 0, 0)) == N_CHUNKS
    again._store.close()
    if list(state.glob("detections.sqlite.damaged-*")):
        assert rows(state, "PRAGMA integrity_check") == [("ok",)]
        done = rows(state, "SELECT count(*) FROM chunk WHERE state = 'done'")
        assert done == [(N_CHUNKS,)]


def test_a_process_puts_it_aside_at_its_start_and_at_work(bundle: Bundle, tmp_path: Path) -> None:
    card = recorded(tmp_path)
    with process(tmp_path, bundle) as child:
        until(lambda: count(tmp_path, "state = 'done'") > 20)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    path = settle(tmp_path)
    rot(path)
    lost = path.read_bytes()
    card.noise(500, 1)
    card.end()
    with process(tmp_path, bundle, "--forgive") as child:
        until(lambda: (tmp_path / "detections.sqlite.damaged-1").exists())
        until(lambda: path.exists() and count(tmp_path, "state = 'done'") == N_CHUNKS)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=60)
        assert child.returncode == 0
    assert (tmp_path / "detections.sqlite.damaged-1").read_bytes() == lost
    assert said.count("detections.sqlite: damaged: ") == 1
    assert "kept as detections.sqlite.damaged-1" in said


def test_what_is_sound_is_never_put_aside(
    analyser: ChunkAnalyser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite may call a ledger of capture damaged, too: the classifier ends, and keeps its own."""
    recorded(tmp_path).end()
    worker = worker_on(tmp_path, analyser)
    for _ in range(20):
        worker.step()
    error = sqlite3.DatabaseError("malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def fail() -> None:
        raise error

    monkeypatch.setattr(worker, "_next", fail)
    with pytest.raises(sqlite3.DatabaseError):
        worker.step()
    assert not list(tmp_path.glob("*.damaged-*"))
    assert rows(tmp_path, "SELECT count(*) > 0 FROM chunk WHERE state = 'done'") == [(1,)]


def begin_anew(state: Path, analyser: ChunkAnalyser, backlog_s: float) -> None:
    """Rot, and a classifier that goes on with as much audio as may wait."""
    rot(settle(state))
    worker = worker_on(state, analyser, backlog_s=backlog_s)
    work_off(worker)
    worker.rest()
    worker._store.close()
    assert list(state.glob("detections.sqlite.damaged-*"))


@pytest.fixture
def begun_anew(analyser: ChunkAnalyser, tmp_path: Path) -> Path:
    """After damage, with half a second heard again: the newest segment, and one that may wait."""
    card = recorded(tmp_path, 750)
    card.end("device")
    card.noise(750, 1)
    card.end()
    worker = worker_on(tmp_path, analyser)
    work_off(worker)
    worker._store.close()
    begin_anew(tmp_path, analyser, 0.25)
    return tmp_path


def test_only_what_may_wait_is_heard_again(begun_anew: Path) -> None:
    (duty,) = rows(begun_anew, "SELECT stream, run_frame, first_frame FROM duty")
    with closing(sqlite3.connect(begun_anew / "capture.sqlite")) as db:
        segments = db.execute(
            "SELECT first_frame, n_frames FROM segment WHERE stream = 2 ORDER BY 1"
        ).fetchall()
    assert duty == (2, 0, segments[-2][0])
    assert duty[2] > 0
    ((begin, end, n_left_out),) = rows(
        begun_anew,
        "SELECT min(first_frame), max(first_frame + n_frames), sum(state != 'done') FROM chunk",
    )
    assert begin <= duty[2] < begin + CHUNK
    assert end == sum(segments[-1])
    assert n_left_out <= 3  # a window: the first chunk begins a little before


def test_effort_calls_nothing_classified_that_is_lost(begun_anew: Path) -> None:
    found = read_both(StateFolder(begun_anew), lambda one, other: [*effort_rows(one, other, None)])
    frames = [row.frames for row in found]
    ((heard,),) = rows(begun_anew, "SELECT sum(n_frames) FROM chunk WHERE state = 'done'")
    assert sum(one.classified for one in frames) == heard < 750
    assert sum(one.skipped for one in frames) == 1500 - heard


def test_audio_whose_findings_are_lost_is_unknown_and_never_empty(begun_anew: Path) -> None:
    findings = Findings(begun_anew / "detections.sqlite")
    ledger = Ledger(begun_anew / "capture.sqlite")
    segments = list(disk_rows.segments_after(ledger.connection, disk_rows.ORIGIN))
    ledger.close()
    assert [findings.is_lost(one) for one in segments] == [True] * (len(segments) - 2) + [False] * 2
    assert {findings.held(one) for one in segments[:-2]} == {"unknown"}
    assert "unknown" not in {findings.held(one) for one in segments[-2:-1]}
    assert all(findings.scores(one) == [] for one in segments[:-2])


def test_findings_follow_a_database_that_is_begun_anew(
    analyser: ChunkAnalyser, tmp_path: Path
) -> None:
    recorded(tmp_path).end()
    work_off(worker_on(tmp_path, analyser))
    findings = Findings(tmp_path / "detections.sqlite")
    assert findings.is_classified(1, 750)
    path = settle(tmp_path)
    rot(path)
    assert put_aside_if_damaged(path)
    Store(path, analyser.bundle).close()
    assert not findings.is_classified(1, 1)


def tell(state: Path, cursor: Cursor | None) -> tuple[list[dict], Cursor]:
    told: list[dict] = []
    while True:
        events, cursor = read_events(state, cursor)
        if not events:
            return told, cursor
        told += [event.fields for event in events if event.fields["kind"] == "detection"]


@pytest.mark.parametrize("read_by", [lambda state: tell(state, None)[1], newest])
def test_every_detection_after_a_loss_is_told(
    analyser: ChunkAnalyser, tmp_path: Path, read_by: Callable[[Path], Cursor]
) -> None:
    """Also where there are more of them by now than the cursor has seen."""
    card = recorded(tmp_path, 500)
    worker = worker_on(tmp_path, analyser)
    work_off(worker)
    worker.rest()
    worker._store.close()
    cursor = read_by(tmp_path)
    ((n_before,),) = rows(tmp_path, "SELECT count(*) FROM detection")
    card.noise(1500, 1)
    card.end()
    begin_anew(tmp_path, analyser, 1.25)
    told, cursor = tell(tmp_path, cursor)
    kept = rows(tmp_path, "SELECT first_frame, label FROM detection ORDER BY detection")
    assert 0 < n_before < len(kept)
    assert [(one["first_frame"], one["label"]) for one in told] == kept
    assert tell(tmp_path, cursor)[0] == []
    last = facts(tmp_path).last_detection
    assert last is not None
    assert last.label == kept[-1][1]


def test_a_long_look_at_damage_gives_signs_of_life(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "detections.sqlite"
    Store(path, bundle).close()
    with path.open("r+b") as file:
        file.write(b"x" * 100)
    beats: list[None] = []
    with caplog.at_level(logging.ERROR):
        Store(path, bundle, lambda: beats.append(None)).close()
    assert beats
    assert [record.levelname for record in caplog.records] == ["ERROR"]
