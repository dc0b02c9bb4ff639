"""The classifier of a recorder: the events of an unbroken pass, however often it dies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysed_state import (
    SoundCard,
    detections,
    expected,
    recorded,
    rows,
    small_bundle,
    work_off,
    worker_on,
)

from edge_probe.analysis.rows import Result, Try
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import MAX_ATTEMPTS
from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.head import ChunkSummary
from edge_probe.spec import WindowSpec

WINDOWS = [WindowSpec(1, 1, 0.0), WindowSpec(3, 1, 0.03), WindowSpec(3, 2, 0.1)]


class Death(BaseException):
    """Stands for SIGKILL: nothing is told to anybody."""


@dataclass
class Fate:
    """When the process dies next: encoder calls, commits."""

    encodings: int = 1 << 60
    commits: int = 1 << 60
    after_commit: bool = False


class MortalAnalyser(ChunkAnalyser):
    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.fate = Fate()

    def summary(self, chunk: Chunk) -> ChunkSummary:
        self.fate.encodings -= 1
        if self.fate.encodings < 0:
            raise Death
        return super().summary(chunk)


def mortal_store(fate: Fate) -> type[Store]:
    class MortalStore(Store):
        def commit(self, results: Sequence[Result], tries: Sequence[Try]) -> None:
            fate.commits -= 1
            if fate.commits < 0 and not fate.after_commit:
                raise Death
            super().commit(results, tries)
            if fate.commits < 0:
                raise Death

    return MortalStore


@pytest.fixture(scope="module")
def analysers(tmp_path_factory: pytest.TempPathFactory) -> list[MortalAnalyser]:
    folder = tmp_path_factory.mktemp("bundles")
    return [
        MortalAnalyser(small_bundle(folder / str(i), spec)) for i, spec in enumerate(WINDOWS)
    ]  # fmt: skip


def recorded_as_classified(state: Path) -> None:
    """Every frame of every run and channel in one chunk; none is still tried."""
    for run in recorded(state):
        for channel in range(run.pcm.shape[1]):
            tiles = rows(
                state, "SELECT first_frame, n_frames, n FROM chunk WHERE (stream, run_frame,"
                " channel) = (?, ?, ?) AND state != 'tried' ORDER BY n",
                run.stream, run.first_frame, channel,
            )  # fmt: skip
            ends = [run.first_frame, *(begin + n for begin, n, _ in tiles)]
            assert [begin for begin, _, _ in tiles] == ends[:-1]
            assert ends[-1] == run.first_frame + len(run.pcm)
            assert [n for _, _, n in tiles] == list(range(len(tiles)))
    assert not rows(state, "SELECT * FROM chunk WHERE state = 'tried'")
    assert not rows(state, "SELECT * FROM stint")


def test_a_pass_gives_what_classifying_each_run_gives(
    analysers: list[MortalAnalyser], tmp_path: Path
) -> None:
    card = SoundCard(tmp_path)
    card.noise(3_210, 0)
    card.lose(700)
    card.noise(5_000, 1)
    card.end()
    card.noise(1_003, 2)
    card.end()
    analyser = analysers[2]
    work_off(worker_on(tmp_path, analyser))
    found = detections(tmp_path)
    by_hand = []
    for run in recorded(tmp_path):
        classifier = RunClassifier(analyser, Run("", 0, run.rate_hz))
        samples = (run.pcm[:, 0] / np.float32(2**15)).astype(np.float32)
        by_hand += [(run.stream, e.logit) for e in classifier.push(samples) + classifier.finish()]
    assert len(found) > 20
    assert sorted((stream, logit) for stream, *_, logit in found) == sorted(by_hand)
    assert found == expected(tmp_path, analyser)
    recorded_as_classified(tmp_path)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_deaths_at_any_moment_change_nothing(
    analysers: list[MortalAnalyser],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    state = tmp_path_factory.mktemp("state")
    analyser = data.draw(st.sampled_from(analysers))
    card = SoundCard(state, data.draw(st.sampled_from([1000, 1500])), data.draw(st.integers(1, 2)))
    worker = None
    for seed in range(data.draw(st.integers(1, 6))):
        match data.draw(st.sampled_from(("play", "lose", "end"))):
            case "lose":
                card.lose(data.draw(st.integers(100, 5000)))
            case "end":
                card.end()
        card.noise(data.draw(st.integers(1, 4000)), seed)
        if data.draw(st.booleans()):  # dies somewhere; each life gets on by a chunk or more
            analyser.fate = Fate(
                data.draw(st.integers(5, 300)), data.draw(st.integers(2, 12)),
                data.draw(st.booleans()),
            )  # fmt: skip
        try:
            worker = worker or worker_on(state, analyser, detections=mortal_store(analyser.fate))
            work_off(worker)
            if data.draw(st.booleans()):
                worker.rest()
                worker = None
        except Death:
            worker = None
        analyser.fate = Fate()
    card.end()
    work_off(worker_on(state, analyser))
    assert detections(state) == expected(state, analyser)
    recorded_as_classified(state)
    assert {row[0] for row in rows(state, "SELECT DISTINCT state FROM chunk")} <= {"done"}


@pytest.mark.parametrize("is_forgiven", [True, False])
def test_deaths_that_were_not_its_fault_do_not_condemn_a_chunk(
    analysers: list[MortalAnalyser], tmp_path: Path, is_forgiven: bool
) -> None:
    """Reboots, one after the other, while one and the same chunk is in work."""
    analyser = analysers[0]
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    card.end()
    analyser.fate = Fate(encodings=40)
    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(Death):
            work_off(worker_on(tmp_path, analyser))
        if is_forgiven:
            forgive(tmp_path, analyser)
        analyser.fate = Fate(encodings=0)
    analyser.fate = Fate()
    work_off(worker_on(tmp_path, analyser))
    states = dict(rows(tmp_path, "SELECT state, count(*) FROM chunk GROUP BY state"))
    assert ("quarantined" in states) != is_forgiven
    assert sum(states.values()) == 3000 // 16 + 1


def forgive(state: Path, analyser: ChunkAnalyser) -> None:
    store = Store(state / "detections.sqlite", analyser.bundle)
    store.forgive()
    store.close()


def test_deaths_that_were_seen_count_on_after_one_that_was_not(
    analysers: list[MortalAnalyser], tmp_path: Path
) -> None:
    analyser = analysers[0]
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    card.end()
    analyser.fate = Fate(encodings=40)
    for n_deaths in range(1, MAX_ATTEMPTS + 1):
        with pytest.raises(Death):
            work_off(worker_on(tmp_path, analyser))
        if n_deaths == 2:
            forgive(tmp_path, analyser)
        analyser.fate = Fate(encodings=0)
    (worst,) = rows(tmp_path, "SELECT max(n_attempts) FROM chunk WHERE state = 'tried'")
    assert worst == (MAX_ATTEMPTS - 1,)
