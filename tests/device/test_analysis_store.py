"""detections.sqlite: together or not at all, once, and small."""

import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from support.analysed_state import SoundCard, rows, small_bundle, work_off, worker_on
from support.made_results import OPEN, batch, result

from edge_probe.analysis.rows import Key, Piece, Stint, Try
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.stint import BEST
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import MAX_AT_ONCE
from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.errors import StateError
from edge_probe.spec import WindowSpec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "one", WindowSpec(3, 2, 0.1))


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_the_same_commit_twice_is_one(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    store = Store(path, bundle)
    key = Key(1, 0, 4, 0)
    tries = [Try(Piece(key, 64, 16), 1)]
    for _ in range(2):
        store.commit([result(n) for n in range(4)], tries)
        store.reopen()
    assert [count(path, table) for table in ("chunk", "detection", "score_cache")] == [5, 4, 4]
    assert store.n_attempts(key) == 1
    assert store.next_n(key) == 4
    store.commit([result(4)], [Try(Piece(key, 64, 16), 2)])  # a late try changes no result
    assert (store.n_attempts(key), store.next_n(key)) == (0, 5)


def test_a_commit_that_fails_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    store = Store(path, bundle)
    bad = replace(result(1), state="unknown")  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.commit([result(0), bad], [])
    assert count(path, "chunk") == count(path, "detection") == 0


def test_what_is_open_comes_back_to_the_bit(bundle: Bundle, tmp_path: Path) -> None:
    store = Store(tmp_path / "d.sqlite", bundle)
    stint = Stint(2, 5, OPEN)
    store.commit([result(4, stint)], [])
    assert store.stint(Key(1, 0, 5, 0)) == stint
    store.commit([result(5)], [])
    assert store.stint(Key(1, 0, 5, 0)) is None


def test_a_newer_file_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match="found 99"):
        Store(path, bundle)


def test_a_commit_of_a_full_batch_writes_little(bundle: Bundle, tmp_path: Path) -> None:
    """As many chunks as are done at once, a detection in every fourth, the tries of the next."""
    store = Store(tmp_path / "d.sqlite", bundle)
    for first_n in range(0, 8 * MAX_AT_ONCE, MAX_AT_ONCE):
        before = log_bytes(tmp_path / "d.sqlite-wal")
        store.commit(*batch(first_n, MAX_AT_ONCE))
        assert 2048 < log_bytes(tmp_path / "d.sqlite-wal") - before <= 12 * 1024


def log_bytes(wal: Path) -> int:
    """As far as SQLite has written it; behind that are zeros."""
    return len(wal.read_bytes().rstrip(b"\0"))


def test_marks_of_species_list_and_privacy(bundle: Bundle, tmp_path: Path) -> None:
    seen: list[tuple[str, date | None, float]] = []

    def suppresses(label: str, day: date | None, score: float) -> bool:
        seen.append((label, day, score))
        return label == "background"

    day = datetime(2026, 5, 1, tzinfo=UTC).date()
    rules = Rules(suppresses, lambda stream, _: day if stream == 1 else None, frozenset())
    rules = replace(rules, private=frozenset({"Parus major_Great Tit"}))
    rules.check(bundle.labels)
    card = SoundCard(tmp_path)
    card.noise(5000, 0)
    card.end()
    work_off(worker_on(tmp_path, ChunkAnalyser(bundle), rules=rules))
    marks = rows(tmp_path, "SELECT label, suppressed, private FROM detection GROUP BY 1, 2, 3")
    assert marks == [("Parus major_Great Tit", 0, 1), ("background", 1, 0)]
    kept = rows(tmp_path, "SELECT label, score FROM detection ORDER BY detection")
    assert kept == [(label, score) for label, _, score in seen]
    assert {one for _, one, _ in seen} == {day}
    with pytest.raises(StateError, match="Passer"):
        replace(rules, private=frozenset({"Passer"})).check(bundle.labels)


def test_the_cache_holds_the_largest_logits(bundle: Bundle, tmp_path: Path) -> None:
    card = SoundCard(tmp_path)
    card.noise(2000, 0)
    card.end()
    work_off(worker_on(tmp_path, ChunkAnalyser(bundle)))
    windows = rows(tmp_path, "SELECT score, best, first_n FROM score_cache ORDER BY first_n")
    assert [first_n for *_, first_n in windows] == list(range(0, 2000 // 16 - 2, 2))
    for score, blob, _ in windows:
        best = np.frombuffer(blob, BEST)
        assert sorted(best["class_index"]) == [0, 1]
        assert best["logit"][0] >= best["logit"][1]
        assert score == pytest.approx(bundle.score(*best[0].tolist())[0], abs=1e-6)
