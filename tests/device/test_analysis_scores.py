"""Prototype scores that are kept of chunks: of the right ones, to the bit, and not too many."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.analysed_state import (
    SoundCard,
    recorded,
    rows,
    small_bundle,
    work_off,
    worker_on,
)
from support.made_results import result
from support.tiny_bundle import tiny_head

from edge_probe.analysis import selection, store, tables
from edge_probe.analysis.rows import ScoresRow
from edge_probe.analysis.selection import BLOCK_CHUNKS, Selection
from edge_probe.analysis.stint import BEST
from edge_probe.analysis.store import Store
from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk.sample import Design, Stratum, chance
from edge_probe.head import ProtobinHead, PrototypeHead
from edge_probe.head.vectors import MAX_STEPS, from_int16, steps_of, to_int16
from edge_probe.spec import WindowSpec

K, H = 3, 2
RATE_HZ = 1000
CHUNK = 16
DESIGN = Design(5, 0.1, 0.15, (Stratum(0.3, 0.1), Stratum(0.55, 0.4)))
KEPT = "SELECT run_frame, n, steps, scores FROM chunk_scores ORDER BY stream, run_frame, n"

Kept = list[tuple[int, int, int, bytes]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Hears something now and then."""
    folder = tmp_path_factory.mktemp("bundles") / "one"
    made = small_bundle(folder, WindowSpec(K, H, 0.1))
    return replace(made, threshold_off=np.array([0.6, 0.7]))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two runs, the first one longer than a block."""
    card = SoundCard(tmp_path)
    card.noise(BLOCK_CHUNKS * CHUNK + 1800, 0)
    card.lose(500)
    card.noise(700, 1)
    card.end()
    return tmp_path


def classified(state: Path, bundle: Bundle, design: Design | None = DESIGN) -> Kept:
    worker = worker_on(state, ChunkAnalyser(bundle), design=design)
    work_off(worker)
    worker.rest()
    return rows(state, KEPT)


def expected(state: Path, bundle: Bundle, design: Design) -> Kept:
    """What the rules of `selection` say, in another way: all windows first, then chunk by chunk."""
    analyser, found = ChunkAnalyser(bundle), []
    head = bundle.head
    assert isinstance(head, PrototypeHead)
    for run in recorded(state):
        samples, grid = run.samples(0), analyser.grid(RATE_HZ)
        n_model = grid.n_model_samples(len(samples))
        summaries = []
        for n in range(grid.n_chunks(len(samples))):
            begin, end = grid.native_slice(n)
            chunk = grid.chunk(n, samples[begin:end], n_model if end > len(samples) else None)
            if analyser.holds_tokens(chunk):
                summaries.append(head.summarise(
                    analyser.encoder.tokens(chunk.samples),
                    bundle.encoder.grid.valid_tokens(chunk.n_valid)))  # fmt: skip
        order: list[tuple[int, bool]] = []
        starts = [*range(0, max(1, len(summaries) - K + 1), H)]
        if starts[-1] + K < len(summaries):
            starts.append(starts[-1] + H)
        for first in starts:
            window = summaries[first : first + K]
            logits = head.logits(head.merge(window))
            best = int(np.argmax(logits))
            at = run.first_frame + first * CHUNK
            chances = [s.probability for s in design.strata
                       if bundle.score(best, float(logits[best]))[0] >= s.score_from]  # fmt: skip
            drawn = chance(design.seed, "stratified", run.stream, at) < ([0, *chances][-1])
            wanted = drawn or bool((logits >= bundle.threshold_off).any())
            order += [(n, wanted) for n in range(first, first + len(window))]
        kept: dict[int, bool] = {}
        for n, wanted in order:
            frames = range(run.first_frame + n * CHUNK,
                           run.first_frame + min((n + 1) * CHUNK, len(samples)))  # fmt: skip
            length = round(design.window_s * RATE_HZ)
            is_sampled = any(
                chance(design.seed, "random", run.stream, f - f % length) < design.probability
                for f in frames
            )
            in_block = sum(1 for one in kept if one // BLOCK_CHUNKS == n // BLOCK_CHUNKS)
            if n not in kept and (is_sampled or (wanted and in_block < selection.LEAST)):
                kept[n] = is_sampled
        steps = steps_of(head)
        found += [(run.first_frame, n, steps, to_int16(summaries[n].scores, steps).tobytes())
                  for n in sorted(kept)]  # fmt: skip
    return found


@pytest.mark.parametrize("design", [DESIGN, Design(0, 1.0, 0.0)], ids=["sampled", "heard"])
def test_what_may_be_corrected_is_kept(state: Path, bundle: Bundle, design: Design) -> None:
    found = classified(state, bundle, design)
    assert found == expected(state, bundle, design)
    assert 20 < len(found) < 200
    if design is not DESIGN:  # of the first block, the most that detections may take
        assert sum(frame == 0 and n < BLOCK_CHUNKS for frame, n, *_ in found) == selection.LEAST


def test_a_classifier_that_dies_keeps_the_same(state: Path, bundle: Bundle, tmp_path: Path) -> None:
    want = classified(state, bundle)
    (state / "detections.sqlite").unlink()
    for suffix in ("-wal", "-shm"):
        (state / f"detections.sqlite{suffix}").unlink(missing_ok=True)
    random = np.random.default_rng(3)
    analyser = ChunkAnalyser(bundle)
    worker = worker_on(state, analyser, design=DESIGN)
    n_deaths = 0
    while not worker.is_idle:
        for _ in range(int(random.integers(5, 60))):
            worker.step()
        n_deaths += 1
        worker = worker_on(state, analyser, design=DESIGN) if not worker.is_idle else worker
    assert n_deaths > 10
    assert rows(state, KEPT) == want


def test_no_more_chunks_are_held_than_a_window_has(state: Path, bundle: Bundle) -> None:
    worker = worker_on(state, ChunkAnalyser(bundle), design=Design(0, 1.0, 0.0))
    held = []
    while not worker.is_idle:
        worker.step()
        held += [len(one._finder._held) for one in worker._listeners if one._finder]
    assert 0 < max(held) < K


def test_window_scores_are_the_maxima_of_what_is_kept(state: Path, bundle: Bundle) -> None:
    steps = {(frame, n): (s, np.frombuffer(data, "<i2"))
             for frame, n, s, data in classified(state, bundle)}  # fmt: skip
    head = bundle.head
    assert isinstance(head, PrototypeHead)
    query = "SELECT run_frame, first_n, best FROM score_cache WHERE n_frames = ?"
    n_checked = 0
    for frame, first_n, best in rows(state, query, K * CHUNK):
        chunks = [steps.get((frame, n)) for n in range(first_n, first_n + K)]
        if None in chunks:
            continue
        scores = np.max([from_int16(values, s) for s, values in chunks if s], axis=0)  # type: ignore[misc]
        told = np.frombuffer(best, BEST)
        logits = head.linear.logits(scores)[told["class_index"]]
        assert np.array_equal(logits.astype(np.float32), told["logit"])
        n_checked += 1
    assert n_checked > 5


@pytest.mark.parametrize("bits", [1, 4, 8, "float"])
def test_scores_come_back(bits: int | str) -> None:
    head = tiny_head(bits)  # type: ignore[arg-type]
    assert isinstance(head, PrototypeHead)
    tokens = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    scores = np.array([head.summarise(one[None], np.ones(1, bool)).scores for one in tokens])
    steps = steps_of(head)
    back = from_int16(to_int16(scores, steps), steps)
    if bits == 1:
        assert steps == 4
        assert np.array_equal(back, scores)
    else:
        assert steps == MAX_STEPS
        assert 1e-7 < np.max(np.abs(back - scores)) <= 1.6e-5


def test_large_and_mean_heads_keep_nothing(bundle: Bundle, tmp_path: Path) -> None:
    mean = small_bundle(tmp_path / "mean", WindowSpec(K, H, 0.1))
    mean = replace(mean, head=tiny_head("float", "mean"))
    assert Selection(mean, DESIGN, 1, RATE_HZ).steps == 0
    real = bundle.head
    assert isinstance(real, ProtobinHead)
    many = replace(real, prototypes=np.zeros((selection.MAX_PROTOTYPES + 1, 1), np.uint8))
    assert Selection(replace(bundle, head=many), DESIGN, 1, RATE_HZ).steps == 0


def scored(ns: Sequence[int], most: int | None = None, n_bytes: int = 100) -> tuple[ScoresRow, ...]:
    return tuple(ScoresRow(n, 4, bytes([n % 256]) * n_bytes, most) for n in ns)


def test_beyond_the_quota_the_oldest_go(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "QUOTA_BYTES", 1000)
    kept = Store(tmp_path / "detections.sqlite", bundle)
    for n in range(30):
        kept.commit([replace(result(n), scores=scored([n]))], [])
        if n % 7 == 0:
            kept.reopen()
    assert [n for _, n, *_ in rows(tmp_path, KEPT)] == [*range(20, 30)]


def test_a_commit_that_fails_is_not_counted(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "QUOTA_BYTES", 1000)
    kept = Store(tmp_path / "detections.sqlite", bundle)
    kept.commit([replace(result(0), scores=scored([0]))], [])
    bad = replace(result(2), state="unknown")  # type: ignore[arg-type]
    for _ in range(5):
        with pytest.raises(sqlite3.IntegrityError):
            kept.commit([replace(result(1), scores=scored([1, 2, 3, 4])), bad], [])
    kept.commit([replace(result(1), scores=scored(range(1, 10)))], [])
    kept.commit([replace(result(1), scores=scored(range(10, 20)))], [])  # a chunk is kept once
    assert [n for _, n, *_ in rows(tmp_path, KEPT)] == [*range(10)]


def test_an_older_database_gets_the_table(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "detections.sqlite"
    old = Store(path, bundle)
    old.commit([result(0)], [])
    old.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE chunk_scores")
        db.execute("PRAGMA user_version = 1")
        (before,) = db.execute("PRAGMA application_id").fetchone()
    new = Store(path, bundle)
    new.commit([replace(result(1), scores=scored([1]))], [])
    new.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (tables.VERSION,)
        assert db.execute("PRAGMA application_id").fetchone() == (before,)
        assert db.execute("SELECT count(*) FROM chunk").fetchone() == (2,)
        assert db.execute("SELECT n FROM chunk_scores").fetchall() == [(1,)]
