"""What is damaged, lost or begun anew: every good row comes into the archive, once."""

import os
import random
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from support.analysed_state import check_account, detections, expected, worker_on
from support.made_card import FieldRecorder, committed
from support.numbered_source import VirtualClock

from edge_probe.capture.store import Store
from edge_probe.capture.tables import TABLES, VERSION
from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.archive import Deployment
from edge_probe.desk.collect import Outcome, collect
from edge_probe.desk.progress import Progress
from edge_probe.desk.rescue import rescue

PAGE = 1024


@pytest.fixture
def recorder(tmp_path: Path, analyser: ChunkAnalyser) -> FieldRecorder:
    found = FieldRecorder(tmp_path / "recorder", analyser, 1, "wood", segment_s=0.2)
    found.record(700)
    return found


def gather(tmp_path: Path, card: Path) -> Outcome:
    (outcome,) = collect([card], tmp_path / "archive", Progress(StringIO()))
    return outcome


def rows(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def checkpoint(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def make_ledger(path: Path, n: int) -> set[tuple]:
    """Gaps and anchors, in pages of both."""
    gaps = [(i // 300 + 1, 100 * (i % 300), 100, "stall") for i in range(n)]
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.executescript(TABLES + f"PRAGMA user_version = {VERSION};")
        db.execute("INSERT INTO boot VALUES (1, 'one')")
        for stream in range(1, n // 300 + 2):
            db.execute("INSERT INTO stream VALUES (?, 1, 'made', 1000, 1, 2, 0, 0)", (stream,))
        for at, gap in enumerate(gaps):
            db.execute("INSERT INTO gap VALUES (?, ?, ?, ?)", gap)
            db.execute("INSERT INTO clock_anchor VALUES (1, ?, 'ntp', 0)", (at,))
        db.commit()
    return set(gaps)


@pytest.mark.parametrize("n_pages", [1, 4, 16])
def test_broken_pages_cost_what_is_in_them(tmp_path: Path, n_pages: int) -> None:
    gaps = make_ledger(tmp_path / "ledger", 1500)
    random.seed(n_pages)
    n_all = (tmp_path / "ledger").stat().st_size // PAGE
    with (tmp_path / "ledger").open("r+b") as file:
        for page in random.sample(range(20, n_all), n_pages):
            file.seek(page * PAGE)
            file.write(random.randbytes(PAGE))
    rescue(tmp_path / "ledger", tmp_path / "sound", TABLES, VERSION)
    found = rows(tmp_path / "sound", "SELECT stream, first_frame, n_frames, cause FROM gap")
    assert len(set(found)) == len(found)
    assert set(found) <= gaps
    assert len(found) >= len(gaps) - 70 * n_pages
    assert rows(tmp_path / "sound", "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_of_a_file_that_was_cut_what_is_there(tmp_path: Path, part: float) -> None:
    gaps = make_ledger(tmp_path / "ledger", 1500)
    os.truncate(tmp_path / "ledger", int((tmp_path / "ledger").stat().st_size * part))
    rescue(tmp_path / "ledger", tmp_path / "sound", TABLES, VERSION)
    found = rows(tmp_path / "sound", "SELECT stream, first_frame, n_frames, cause FROM gap")
    assert set(found) <= gaps
    assert len(found) > len(gaps) * (part - 0.25)


def test_nonsense_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_bytes(random.randbytes(10_000))
    assert rescue(tmp_path / "ledger", tmp_path / "sound", TABLES, VERSION) == {}


def test_what_was_heard_before_and_after_a_damage(
    recorder: FieldRecorder, tmp_path: Path, analyser: ChunkAnalyser
) -> None:
    """The recorder began ``detections.sqlite`` anew, and heard a part of the audio again."""
    gather(tmp_path, recorder.pull(tmp_path / "early"))
    numbers = rows(tmp_path / "archive" / "wood" / "detections.sqlite", NUMBERED)
    recorder.worker._store.close()
    checkpoint(recorder.state / "detections.sqlite")
    path = recorder.state / "detections.sqlite"
    path.rename(path.with_name("detections.sqlite.damaged-1"))
    recorder.worker = worker_on(recorder.state, analyser)
    recorder.record(400)
    card = recorder.pull(tmp_path / "card")
    assert rows(card / "detections.sqlite", AGAIN) != [(0,)]
    for _ in range(2):
        outcome = gather(tmp_path, card)
        assert outcome.is_good, outcome
        folder = tmp_path / "archive" / "wood"
        check_account(folder)
        assert detections(folder) == expected(recorder.state, analyser)
        assert rows(folder / "detections.sqlite", NUMBERED)[: len(numbers)] == numbers
        assert (folder / "detections.sqlite.damaged-1").exists()


NUMBERED = "SELECT detection, label, stream, first_frame FROM detection ORDER BY 1"
AGAIN = "SELECT count(*) FROM chunk WHERE stream = 1"


@pytest.mark.parametrize("known_before", [True, False])
def test_a_ledger_that_was_begun_anew(
    recorder: FieldRecorder, tmp_path: Path, known_before: bool
) -> None:
    """What the old one knew comes from the archive, or from what was put aside."""
    card = recorder.pull(tmp_path / "card")
    with closing(sqlite3.connect(card / "capture.sqlite")) as db:
        db.execute("UPDATE gap SET n_frames = 123, cause = 'device'")
        db.commit()
    before = committed(card, tmp_path / "scratch")
    if known_before:
        gather(tmp_path, card)
    checkpoint(card / "capture.sqlite")
    old = (card / "capture.sqlite").rename(card / "capture.sqlite.damaged-1")
    if known_before:
        old.write_bytes(b"nothing is left of it" * 100)
    begin_anew(card)
    outcome = gather(tmp_path, card)
    assert outcome.is_good, outcome
    folder = tmp_path / "archive" / "wood"
    found = committed(folder, tmp_path / "scratch")
    for table in ("stream", "segment", "clock_anchor"):
        assert set(before[table]) <= set(found[table]), table
        assert len(found[table]) == len(set(found[table]))
    assert 123 in {gap[2] for gap in before["gap"]}
    assert set(before["gap"]) <= set(found["gap"])
    assert rows(folder / "capture.sqlite", "SELECT 1 FROM segment WHERE began_ns = 0") == []


def begin_anew(card: Path) -> None:
    """As the recorder does that finds no ledger it can read."""
    clock = VirtualClock(now_ns=10**12, kernel_id="later")
    Store(card, clock).close()
    assert rows(card / "capture.sqlite", "SELECT device FROM stream") == [("unknown",)]


@pytest.mark.parametrize("name", ["capture.sqlite", "detections.sqlite"])
def test_a_damaged_database_loses_nothing_that_the_archive_has(
    recorder: FieldRecorder, tmp_path: Path, name: str
) -> None:
    gather(tmp_path, recorder.pull(tmp_path / "early"))
    early = committed(tmp_path / "early", tmp_path / "scratch")
    recorder.record(500)
    card = recorder.pull(tmp_path / "card")
    whole = committed(card, tmp_path / "scratch")
    checkpoint(card / name)
    os.truncate(card / name, (card / name).stat().st_size // 2)
    outcome = gather(tmp_path, card)
    assert outcome.collection is not None, outcome.error
    assert "damaged" in outcome.collection.bad[0].why
    folder = tmp_path / "archive" / "wood"
    assert (folder / f"{name}.as-found").read_bytes() == (card / name).read_bytes()
    found = committed(folder, tmp_path / "scratch")
    for table in ("segment", "chunk", "detection", "score_cache", "boot"):
        assert set(early[table]) <= set(found[table]) <= set(whole[table]), table
        assert len(found[table]) == len(set(found[table]))
    with Deployment(folder) as deployment:
        n_segments = len(list(deployment.segments()))
        assert n_segments == len(list((folder / "audio").glob("*.wav"))) > 0
        assert len(list(deployment.detections())) == len(found["detection"])


def test_without_a_ledger_audio_tells(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    whole = committed(card, tmp_path / "scratch")
    for suffix in ("", "-wal"):
        (card / f"capture.sqlite{suffix}").unlink()
    outcome = gather(tmp_path, card)
    assert outcome.collection is not None, outcome.error
    (found,) = outcome.collection.bad
    assert found.what == "capture.sqlite"
    folder = tmp_path / "archive" / "wood"
    with Deployment(folder) as deployment:
        names = {row[3] for row in whole["segment"]}
        assert [one.name for one in deployment.segments()] == sorted(names)
        assert len(list(deployment.detections())) == len(whole["detection"])


def test_times_put_right_in_the_archive_stay(recorder: FieldRecorder, tmp_path: Path) -> None:
    gather(tmp_path, recorder.pull(tmp_path / "early"))
    folder = tmp_path / "archive" / "wood"
    assert main(["retime", str(folder), "--offset", "3600", "--boot", "1"]) == 0
    with Deployment(folder) as deployment:
        before = [one.start_utc for one in deployment.detections()]
        assert next(deployment.segments()).clock_trust == "manual"
    recorder.record(400)
    assert gather(tmp_path, recorder.pull(tmp_path / "late")).is_good
    with Deployment(folder) as deployment:
        after = [one.start_utc for one in deployment.detections()]
    assert len(after) > len(before) > 0
    assert after[: len(before)] == before
