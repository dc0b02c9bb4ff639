"""Room: never over the quota, the right segments go, and nothing goes without a row."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysed_state import SoundCard, small_bundle, worker_on
from support.made_segments import MadeFindings, MadeSegments

from edge_probe.analysis import worker as worker_module
from edge_probe.analysis.tables import TABLES
from edge_probe.capture import segment as segment_module
from edge_probe.capture.ledger import DELETIONS_AT_ONCE
from edge_probe.capture.recovery import Remains, recover
from edge_probe.capture.segment import PART, Format
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk import room as room_module
from edge_probe.disk import rows
from edge_probe.disk.findings import Findings
from edge_probe.disk.reserve import NAME, RESERVE_BYTES
from edge_probe.disk.room import RETRY_S, Limits, Room
from edge_probe.disk.sample import Design, Sampler, Stratum
from edge_probe.errors import StateError
from edge_probe.spec import WindowSpec

RATE = 1000
MONO = Format(RATE, 1, 2)
N_FRAMES = 100_000
N_BYTES = 44 + 2 * N_FRAMES
PLENTY = 10**12


@pytest.fixture
def card(tmp_path: Path) -> MadeSegments:
    return MadeSegments(tmp_path, MONO)


def folder_bytes(state: Path) -> int:
    return sum(path.stat().st_size for path in state.rglob("*") if path.is_file())


def room_for(
    card: MadeSegments,
    n_segments: float,
    keep: str = "detections",
    *,
    floor_bytes: int = 0,
    free: Callable[[Path], int] = lambda _: PLENTY,
    design: Design | None = None,
) -> Room:
    """A quota of what else is there and so many segments."""
    findings = Findings(card.state / "detections.sqlite")
    others = folder_bytes(card.state) - folder_bytes(card.audio) + RESERVE_BYTES
    quota = others + round(n_segments * N_BYTES) + 40_000  # databases grow
    sampler = Sampler(design, findings) if design else None
    limits = Limits(keep, quota, floor_bytes)
    return Room(card.state, limits, card.clock, findings, sampler, free=free)


def test_nothing_goes_while_there_is_room(card: MadeSegments) -> None:
    for _ in range(5):
        card.add(N_FRAMES)
    assert room_for(card, 6).make(card.ledger, N_BYTES)
    assert card.deletions() == []


def test_oldest_go_first_and_their_files_with_them(card: MadeSegments) -> None:
    paths = [card.add(N_FRAMES) for _ in range(6)]
    assert room_for(card, 4).make(card.ledger, N_BYTES)
    n_deleted = len(card.deletions())
    assert 1 <= n_deleted <= 3
    assert card.deletions() == [(i * N_FRAMES, "quota", "unknown") for i in range(n_deleted)]
    assert [path.exists() for path in paths] == [i >= n_deleted for i in range(6)]
    (kept_row,) = card.ledger.connection.execute("SELECT count(*) FROM segment").fetchone()
    assert kept_row == 6


def test_keep_all_deletes_nothing_and_says_that_it_is_full_for_a_while(
    card: MadeSegments, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(6):
        card.add(N_FRAMES)
    room = room_for(card, 4, "all")
    assert not room.make(card.ledger, N_BYTES)
    assert card.deletions() == []
    for path in card.audio.iterdir():
        path.unlink()
    assert not room.make(card.ledger, N_BYTES), "it does not look again at once"
    card.clock.now_ns += round((RETRY_S + room_module.RECOUNT_S) * 1e9)
    assert room.make(card.ledger, N_BYTES)
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]


def test_what_goes_first(card: MadeSegments) -> None:
    """Unkept, then detections, then unclassified; a sampled one only below the floor."""
    found = MadeFindings(card.state)
    for _ in range(6):
        card.add(N_FRAMES)
    found.detect(1 * N_FRAMES - 1, 1)
    found.detect(2 * N_FRAMES, 500)
    found.classify(4 * N_FRAMES, RATE)
    with card.ledger.transaction():
        card.ledger.connection.execute(
            "INSERT INTO sample VALUES (1, ?, 'random', 1000, NULL, 0.5)", (3 * N_FRAMES - 1,)
        )
    design = Design(1, 1.0, 0.0)
    assert not room_for(card, 0, "sample+detections", design=design).make(card.ledger, N_BYTES)
    assert card.deletions() == [
        (1 * N_FRAMES, "quota", "nothing"),
        (0 * N_FRAMES, "quota", "detections"),
        (4 * N_FRAMES, "quota", "unknown"),
        (5 * N_FRAMES, "quota", "unknown"),
    ]
    low = room_for(
        card, 100, "sample+detections", design=design, floor_bytes=RESERVE_BYTES + 1,
        free=lambda _: RESERVE_BYTES,
    )  # fmt: skip
    assert low.make(card.ledger, N_BYTES)
    assert card.deletions()[4:] == [
        (2 * N_FRAMES, "floor", "sample"), (3 * N_FRAMES, "floor", "sample"),
    ]  # fmt: skip
    found.close()


def test_months_of_detections_are_looked_through_in_portions(
    card: MadeSegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is looked, nothing is written: the ring must not fill."""
    monkeypatch.setattr(room_module, "LOOKS_AT_ONCE", 4)
    found = MadeFindings(card.state)
    for n in range(14):
        card.add(N_FRAMES)
        if n != 10:
            found.detect(n * N_FRAMES, 10)
    found.classify(15 * N_FRAMES, RATE)
    room = room_for(card, 14)
    answers = [room.make(card.ledger, N_BYTES) for _ in range(3)]
    assert answers == [False, False, True]
    assert not room.is_full
    assert card.deletions() == [(10 * N_FRAMES, "quota", "nothing")]
    found.close()


def test_a_look_at_one_segment_costs_the_same_after_months(card: MadeSegments) -> None:
    card.add(N_FRAMES)
    with closing(sqlite3.connect(card.state / "detections.sqlite")) as db:
        for statement in TABLES.split(";\n"):
            db.execute(statement)
        db.execute("INSERT INTO bundle VALUES (1, 'x', 'x', 1, 1, 1)")
        db.execute("INSERT INTO duty VALUES (1, 1, 1, 0, 0), (2, 1, 1, 0, ?)", (10**9,))
        db.executemany(
            "INSERT INTO detection VALUES (NULL, 1, 1, 0, 0, 0, 'Wren', ?1, 9, 1, 2, 1, 1, 1, 1,"
            " ?1, ?1, 9, 0, ?2)",
            [(n * N_FRAMES // 2, n % 2) for n in range(2, 10_000)],
        )
        db.commit()
    n_steps = 0

    def count() -> None:
        nonlocal n_steps
        n_steps += 1

    findings = Findings(card.state / "detections.sqlite")
    (segment,) = card.segments()
    assert findings.held(segment) == "nothing"
    assert findings._db
    findings._db.set_progress_handler(count, 100)
    for _ in range(10):
        assert findings.held(segment) == "nothing"
        assert len(findings.private((1, 4_900 * N_FRAMES))) == 100
    assert n_steps < 1000
    assert findings.held(segment._replace(first_frame=1, n_frames=N_FRAMES)) == "detections"
    findings.close()


def test_a_detection_that_has_not_ended_makes_its_audio_unknown(card: MadeSegments) -> None:
    found = MadeFindings(card.state)
    for _ in range(4):
        card.add(N_FRAMES)
    found.classify(4 * N_FRAMES, RATE)
    found.hold_open(150, RATE)
    findings = Findings(card.state / "detections.sqlite")
    held = [findings.held(segment) for segment in card.segments()]
    assert held == ["nothing", "unknown", "unknown", "unknown"]
    found.close()


@pytest.mark.parametrize("text", ["[[0, 1", "[]]", "[7]", "{}", '{"a": 1}', "null", '[[1, "x"]]'])
def test_a_bit_that_flipped_in_open_detections_does_not_stop_the_recording(
    card: MadeSegments, text: str
) -> None:
    found = MadeFindings(card.state)
    card.add(N_FRAMES)
    found.classify(N_FRAMES, RATE)
    found.hold_open(0, RATE)
    with closing(sqlite3.connect(card.state / "detections.sqlite")) as db, db:
        db.execute("UPDATE stint SET open = ?", (text,))
    findings = Findings(card.state / "detections.sqlite")
    assert [findings.held(segment) for segment in card.segments()] == ["unknown"]
    found.close()


def test_what_a_window_to_come_looks_at_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever one looks, what holds nothing is never a part of a detection that ends later."""
    monkeypatch.setattr(worker_module, "MAX_AT_ONCE", 1)
    state = tmp_path / "state"
    card = SoundCard(state, segment_s=0.02)
    card.noise(1200, 0)
    card.end()
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        segments = list(rows.segments_after(db, rows.ORIGIN))
    bundle = small_bundle(tmp_path / "bundle", WindowSpec(6, 1, 0.0))
    worker = worker_on(state, ChunkAnalyser(bundle))
    findings = Findings(state / "detections.sqlite")
    said: dict[tuple[int, int], set[str]] = {segment.place: set() for segment in segments}
    while not worker.is_idle:
        worker.step()
        for segment in segments:
            said[segment.place].add(findings.held(segment))
    findings.close()
    final = [answers - {"unknown"} for answers in said.values()]
    assert [len(answers) for answers in final if len(answers) > 1] == []
    assert {"nothing"} in final
    assert {"detections"} in final


@pytest.mark.parametrize("n_segments", [0, 1, 4, 5, 300])
def test_segments_come_in_order_although_some_are_deleted_meanwhile(
    card: MadeSegments, n_segments: int
) -> None:
    for _ in range(n_segments):
        card.add(10)
    db, seen = card.ledger.connection, []
    for segment in rows.segments_after(db, rows.ORIGIN):
        seen.append(segment.first_frame)
        if len(seen) % 2:
            with card.ledger.transaction():
                rows.add_deletions(db, [segment], "quota", "nothing", ("first", 0, 0))
    assert seen == list(range(0, 10 * n_segments, 10))


def test_findings_that_cannot_be_read_make_audio_unknown(
    card: MadeSegments, caplog: pytest.LogCaptureFixture
) -> None:
    (card.state / "detections.sqlite").write_bytes(b"no database at all" * 99)
    for _ in range(4):
        card.add(N_FRAMES)
    assert room_for(card, 2).make(card.ledger, N_BYTES)
    assert {held for _, _, held in card.deletions()} == {"unknown"}
    assert sum("not a database" in message for message in caplog.messages) == 1


def test_what_is_not_drawn_from_yet_is_unknown(card: MadeSegments) -> None:
    found = MadeFindings(card.state)
    for _ in range(4):
        card.add(N_FRAMES)
    found.classify(2 * N_FRAMES + 1000, RATE)
    design = Design(1, 1.0, 0.0, (Stratum(0.5, 0.0),))
    room = room_for(card, 0.5, "sample+detections", design=design)
    room.make(card.ledger, 0)
    assert [held for _, _, held in card.deletions()] == ["nothing", "nothing", "unknown", "unknown"]
    found.close()


def test_more_than_fit_one_transaction_go(card: MadeSegments) -> None:
    n_segments = 2 * DELETIONS_AT_ONCE + 7
    for _ in range(n_segments):
        card.add(10)
    limits = Limits("detections", folder_bytes(card.state) + RESERVE_BYTES, 0)
    room = Room(card.state, limits, card.clock, Findings(card.state / "none"))
    assert room.make(card.ledger, n_segments * 64 + 20_000) is False
    assert len(card.deletions()) == n_segments
    assert not list(card.audio.iterdir())


def test_a_kill_between_row_and_file_is_repaired(
    card: MadeSegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [card.add(N_FRAMES) for _ in range(6)]
    paths[0].with_suffix(".flac").write_bytes(b"half a transcoding")

    class Killed(BaseException): ...

    def kill(*_: object) -> None:
        raise Killed

    room = room_for(card, 4)
    with monkeypatch.context() as patched:
        patched.setattr(room_module, "remove_audio", kill)
        with pytest.raises(Killed):
            room.make(card.ledger, N_BYTES)
    n_deleted = len(card.deletions())
    assert n_deleted
    assert all(path.exists() for path in paths)
    recover(card.audio, card.ledger, Remains())
    left = sorted(path.name for path in card.audio.iterdir())
    assert left == [path.name for path in paths[n_deleted:]]
    recover(card.audio, card.ledger, Remains())
    assert room.make(card.ledger, N_BYTES)
    assert len(card.deletions()) == n_deleted


def test_a_disk_that_fails_is_counted_anew(
    card: MadeSegments, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        card.add(N_FRAMES)
    room = room_for(card, 4)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(segment_module, "sync_folder", fail)
        with pytest.raises(OSError, match="Input/output"):
            room.make(card.ledger, N_BYTES)
    recover(card.audio, card.ledger, Remains())
    n_deleted = len(card.deletions())
    assert room.make(card.ledger, N_BYTES)
    assert len(card.deletions()) == n_deleted


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_quota_holds_whatever_is_recorded_and_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Checked when each segment is complete, which is when most is there."""
    card = MadeSegments(tmp_path_factory.mktemp("card"), MONO)
    found = MadeFindings(card.state)
    findings = Findings(card.state / "detections.sqlite")
    keep = data.draw(st.sampled_from(("sample+detections", "detections")))
    sampler = Sampler(Design(7, 1.0, 0.05), findings)
    quota = RESERVE_BYTES + 2_000_000 + data.draw(st.integers(0, 300_000))
    room = Room(card.state, Limits(keep, quota, 0), card.clock, findings, sampler,
                free=lambda _: PLENTY)  # fmt: skip
    n_planned = data.draw(st.integers(100_000, 300_000))
    n_bytes = 44 + 2 * n_planned
    steps = st.tuples(st.integers(1, n_planned), st.booleans(), st.booleans())
    for written, is_detected, is_classified in data.draw(st.lists(steps, min_size=10, max_size=40)):
        if not room.make(card.ledger, n_bytes):
            card.clock.now_ns += round(RETRY_S * 1e9)
            continue
        card.add(written)
        card.clock.now_ns += written * 10**6
        assert folder_bytes(card.state) <= quota + n_bytes
        if is_detected:
            found.detect(card.end_frame - 1, 1)
        if is_classified:
            found.classify(card.end_frame, RATE)
    on_disk = {path.name for path in card.audio.iterdir()}
    assert on_disk == {segment.name for segment in card.segments()}
    found.close()


def test_the_segment_that_grows_counts(card: MadeSegments) -> None:
    card.add(N_FRAMES)
    growing = card.begin(N_FRAMES)
    growing.with_name(growing.name + PART).write_bytes(bytes(3 * N_BYTES))
    room = room_for(card, 3.5)
    assert room.make(card.ledger, N_BYTES) is False
    assert len(card.deletions()) == 1


def test_the_reserve_is_given_away_on_a_full_disk_and_taken_back(card: MadeSegments) -> None:
    free = [PLENTY]
    room = room_for(card, 9, free=lambda _: free[0])
    room.prepare()
    reserve = card.state / NAME
    assert reserve.stat().st_blocks * 512 >= RESERVE_BYTES
    free[0] = RESERVE_BYTES - 1
    room.prepare()
    assert not reserve.exists()
    free[0] = 2 * RESERVE_BYTES
    room.prepare()
    assert not reserve.exists()
    free[0] = 4 * RESERVE_BYTES
    room.prepare()
    assert reserve.exists()


@pytest.mark.parametrize("values", [("some", 1, 1), ("all", 0, 1), ("all", 1, -1)])
def test_limits_that_make_no_sense_are_refused(values: tuple) -> None:
    with pytest.raises(StateError):
        Limits(*values)


def test_a_locked_database_of_findings_does_not_stop_the_recording(card: MadeSegments) -> None:
    found = MadeFindings(card.state)
    for _ in range(4):
        card.add(N_FRAMES)
    locker = sqlite3.connect(card.state / "detections.sqlite", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    try:
        assert room_for(card, 2).make(card.ledger, N_BYTES)
    finally:
        locker.close()
    found.close()
    assert {held for _, _, held in card.deletions()} == {"unknown"}


def test_audio_whose_findings_are_lost_goes_after_what_is_empty(card: MadeSegments) -> None:
    """A classifier began its database anew, and hears again from the fourth segment on."""
    for _ in range(6):
        card.add(N_FRAMES)
    found = MadeFindings(card.state)
    found.classify(6 * N_FRAMES, RATE)
    found.close()
    with closing(sqlite3.connect(card.state / "detections.sqlite")) as db:
        db.execute("UPDATE duty SET stream = 1, first_frame = ?", (3 * N_FRAMES,))
        db.commit()
    assert room_for(card, 2).make(card.ledger, N_BYTES)
    order = [(first // N_FRAMES, held) for first, _, held in card.deletions()]
    expected = [(3, "nothing"), (4, "nothing"), (5, "nothing"), (0, "unknown"), (1, "unknown")]
    assert order == expected[: len(order)]
    assert len(order) >= 4
