"""Classified + skipped + quarantined = recorded, to the frame, whatever happens."""

import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.analysed_state import (
    Recorded,
    SoundCard,
    check_account,
    detections,
    expected,
    left_out,
    recorded,
    rows,
    small_bundle,
    work_off,
    worker_on,
)

from edge_probe.analysis.backlog import behind_s
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.worker import MAX_ATTEMPTS
from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.classify import ChunkAnalyser
from edge_probe.deployment.effort import Row, read_both
from edge_probe.deployment.effort import rows as effort_rows
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.chores import Chores
from edge_probe.head import ChunkSummary
from edge_probe.source.wav import HEADER_BYTES
from edge_probe.spec import WindowSpec

LOUD = 0.99
MARGIN_FRAMES = 100
"""Around what is private."""


class Death(BaseException):
    """Stands for SIGKILL: nothing is told to anybody."""


class Poisonable(ChunkAnalyser):
    """Dies of loud chunks; counts the others."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.n_encoded = 0

    def summary(self, chunk: Chunk) -> ChunkSummary:
        if chunk.samples.max() > LOUD:
            raise Death
        self.n_encoded += 1
        return super().summary(chunk)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def analyser(folder: Path) -> Poisonable:
    return Poisonable(small_bundle(folder / "bundle", WindowSpec(3, 2, 0.1)))


def work_off_dying(
    state: Path, analyser: ChunkAnalyser, backlog_s: float, rules: Rules | None = None
) -> int:
    """Start workers until one finds nothing to do; returns how many died."""
    for n_deaths in range(1000):
        worker = worker_on(state, analyser, backlog_s=backlog_s, rules=rules)
        try:
            work_off(worker)
        except Death:
            continue
        worker.rest()
        return n_deaths
    raise AssertionError("the worker dies for ever")


def suffer(card: SoundCard, data: st.DataObject, seed: int) -> None:
    """Something goes wrong, or nothing, then there is noise."""
    match data.draw(st.sampled_from(("nothing", "lose", "end", "poison"))):
        case "lose":
            card.lose(data.draw(st.integers(100, 5000)))
        case "end":
            card.end()
        case "poison":
            spikes = np.zeros((data.draw(st.integers(1, 200)), card.format.n_channels))
            spikes[:, -1] = 32767
            card.play(spikes.astype(np.int16))
    card.noise(data.draw(st.integers(1, 6000)), seed)


def effort(state: Path) -> list[Row]:
    return read_both(
        StateFolder(state), lambda capture, detections: [*effort_rows(capture, detections, None)]
    )


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_recorded_frame_is_in_one_chunk(
    analyser: Poisonable, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    state = tmp_path_factory.mktemp("state")
    backlog_s = data.draw(st.sampled_from([0.3, 2.0, 1e9]))
    card = SoundCard(state, n_channels=data.draw(st.integers(1, 2)))
    for seed in range(data.draw(st.integers(1, 5))):
        suffer(card, data, seed)
        work_off_dying(state, analyser, backlog_s)
    card.end()
    work_off_dying(state, analyser, backlog_s)
    check_account(state)
    assert detections(state) == expected(state, analyser, left_out(state))
    reasons = {row[0] for row in rows(state, "SELECT DISTINCT state || reason FROM chunk")}
    assert reasons <= {None, "skippedbehind", "quarantinedcrashed"}


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_what_was_recorded_is_classified_skipped_or_private(
    analyser: Poisonable, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """effort.csv against frames that are counted one by one."""
    state = tmp_path_factory.mktemp("state")
    backlog_s = data.draw(st.sampled_from([0.3, 1e9]))
    card = SoundCard(state, n_channels=data.draw(st.integers(1, 2)))
    rules = Rules(private=frozenset({"Parus major_Great Tit"}))
    chores = Chores(state, margin_s=MARGIN_FRAMES / 1000, flac=False)
    for seed in range(data.draw(st.integers(1, 4))):
        suffer(card, data, seed)
        work_off_dying(state, analyser, backlog_s, rules)
        if data.draw(st.booleans()):
            chores.step()
    card.end()
    card.noise(6000, 0)  # what ends a recording is overwritten when the next one is heard
    work_off_dying(state, analyser, backlog_s, rules)
    chores.step()
    chores.close()
    runs = list(recorded(state))
    newest = max(run.stream for run in runs)
    wanted: Counter[tuple[int, int, str]] = Counter()
    for run in runs:
        if run.stream == newest:
            continue
        for channel in range(run.pcm.shape[1]):
            wanted.update(kinds(state, run, channel))
    counted: Counter[tuple[int, int, str]] = Counter()
    for row in effort(state):
        frames = row.frames
        assert frames.recorded == frames.private + frames.skipped + frames.classified
        if row.stream != newest:
            for kind in ("recorded", "private", "skipped", "classified"):
                counted[row.stream, row.channel, kind] += getattr(frames, kind)
    assert counted == wanted


def kinds(state: Path, run: Recorded, channel: int) -> Counter[tuple[int, int, str]]:
    """Frames of a run by what became of them."""

    def marked(query: str, *values: int, margin: int = 0) -> NDArray[np.bool_]:
        frames = np.zeros(len(run.pcm), bool)
        for first_frame, n_frames in rows(state, query, *values):
            begin = first_frame - run.first_frame
            frames[max(0, begin - margin) : max(0, begin + n_frames + margin)] = True
        return frames

    private = marked(
        "SELECT span_frame, span_n_frames FROM detection WHERE private AND stream = ?",
        run.stream, margin=MARGIN_FRAMES,
    )  # fmt: skip
    done = marked(
        "SELECT first_frame, n_frames FROM chunk WHERE (stream, channel) = (?, ?)"
        " AND state = 'done'", run.stream, channel,
    )  # fmt: skip
    found = {
        "recorded": len(run.pcm),
        "private": int(private.sum()),
        "skipped": int((~private & ~done).sum()),
        "classified": int((~private & done).sum()),
    }
    return Counter({(run.stream, channel, kind): n for kind, n in found.items()})


def test_a_chunk_that_kills_three_times_is_left_out(analyser: Poisonable, tmp_path: Path) -> None:
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    card.play(np.full((1, 1), 32767, np.int16))
    card.noise(3000, 1)
    card.end()
    assert work_off_dying(tmp_path, analyser, 1e9) == MAX_ATTEMPTS
    check_account(tmp_path)
    found = rows(tmp_path, "SELECT n, state, reason FROM chunk WHERE state != 'done'")
    assert found == [(3000 // 16, "quarantined", "crashed")]


def test_a_context_that_has_begun_to_kill_is_not_heard_again(folder: Path, tmp_path: Path) -> None:
    """Chunks before a restart are encoded again for its windows; that must not kill for ever."""
    bundle = small_bundle(folder / "calm", WindowSpec(3, 2, 0.1))
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    work_off(worker_on(tmp_path, ChunkAnalyser(bundle)))
    card.noise(3000, 1)
    card.end()

    class Grown(ChunkAnalyser):
        def summary(self, chunk: Chunk) -> ChunkSummary:
            if chunk.index < 2000 // 16:
                raise Death
            return super().summary(chunk)

    n_done = rows(tmp_path, "SELECT count(*) FROM chunk WHERE state = 'done'")[0][0]
    assert n_done >= 2000 // 16 - 1
    killer = Grown(bundle)
    assert work_off_dying(tmp_path, killer, 1e9) <= MAX_ATTEMPTS + 1
    check_account(tmp_path)


def test_audio_that_is_gone_is_skipped(analyser: Poisonable, tmp_path: Path) -> None:
    card = SoundCard(tmp_path)
    card.noise(5000, 0)
    card.end()
    pcm = [run.pcm for run in recorded(tmp_path)]
    names = [row[0] for row in _segments(tmp_path)]
    audio = tmp_path / "audio"
    (audio / names[1]).unlink()
    n_left = 228
    (audio / names[3]).write_bytes((audio / names[3]).read_bytes()[: HEADER_BYTES + 2 * n_left])
    work_off(worker_on(tmp_path, analyser))
    states = rows(
        tmp_path, "SELECT state, reason, min(first_frame), max(first_frame + n_frames) FROM chunk"
        " WHERE state != 'done' GROUP BY 1, 2 ORDER BY 2",
    )  # fmt: skip
    cut = (3000 + n_left) // 16 * 16
    assert states == [("skipped", "deleted", 992, 2000), ("skipped", "unreadable", cut, 4000)]
    assert detections(tmp_path)
    assert sum(row[0] for row in rows(tmp_path, "SELECT n_frames FROM chunk")) == len(pcm[0])


def test_a_ledger_that_was_begun_anew_is_followed(analyser: Poisonable, tmp_path: Path) -> None:
    """Capture puts one aside that is damaged; whoever had it open would wait for ever."""
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    card.end()
    worker = worker_on(tmp_path, analyser)
    work_off(worker)
    for path in tmp_path.glob("capture.sqlite*"):
        path.rename(path.with_name(path.name.replace("sqlite", "sqlite.damaged-1")))
    work_off(worker)
    card.noise(3000, 1)
    card.end()
    work_off(worker)
    check_account(tmp_path)
    assert detections(tmp_path) == expected(tmp_path, analyser)


def _segments(state: Path) -> list[tuple[str]]:
    with sqlite3.connect(state / "capture.sqlite") as db:
        return db.execute("SELECT name FROM segment ORDER BY stream, first_frame").fetchall()


def test_flac_in_place_of_a_segment_is_the_same_audio(analyser: Poisonable, tmp_path: Path) -> None:
    card = SoundCard(tmp_path)
    card.noise(5000, 0)
    card.end()
    work_off(worker_on(tmp_path, analyser))
    before = detections(tmp_path)
    assert before == expected(tmp_path, analyser)
    for name in [row[0] for row in _segments(tmp_path)][1:4]:
        wav = tmp_path / "audio" / name
        samples, rate = sf.read(wav, dtype="int16")
        sf.write(wav.with_suffix(".flac"), samples, rate)
        wav.unlink()
    for file in tmp_path.glob("detections.sqlite*"):
        file.unlink()
    work_off(worker_on(tmp_path, analyser))
    assert detections(tmp_path) == before


def test_an_hour_of_standstill_costs_that_hour(folder: Path, tmp_path: Path) -> None:
    analyser = Poisonable(small_bundle(folder / "slow", WindowSpec(1, 1, 0.0), 16))  # 1 s chunks
    card = SoundCard(tmp_path, segment_s=60)
    backlog_s, minute = 300, 60_000
    silence = np.zeros((minute, 1), np.int16)

    def work_a_minute() -> None:
        card.play(silence)
        n_before = analyser.n_encoded
        while analyser.n_encoded < n_before + 60:
            worker.step()

    def seconds(state: str) -> float:
        found = rows(tmp_path, "SELECT total(n_frames) / 1000 FROM chunk WHERE state = ?", state)
        return float(found[0][0])

    def effort_s() -> tuple[float, float]:
        frames = [row.frames for row in effort(tmp_path)]
        recorded, classified = (
            sum(getattr(one, kind) for one in frames) for kind in ("recorded", "classified")
        )
        return recorded / 1000, classified / 1000

    worker = worker_on(tmp_path, analyser, backlog_s=backlog_s)
    for _ in range(backlog_s // 60 + 1):  # the newest segment is not closed
        card.play(silence)
    work_a_minute()  # in step with the microphone, the backlog just full
    work_a_minute()
    worker.rest()
    assert (seconds("done"), seconds("skipped")) == (120, 0)
    recorded_s, classified_s = effort_s()
    for _ in range(60):
        card.play(silence)
    worker = worker_on(tmp_path, analyser, backlog_s=backlog_s)
    work_a_minute()
    work_a_minute()
    worker.rest()
    assert (seconds("done"), seconds("skipped")) == (240, 3600)
    assert behind_s(tmp_path) == backlog_s
    assert effort_s() == (recorded_s + 3600 + 120, classified_s + 120)


def test_another_bundle_begins_where_the_one_before_ended(folder: Path, tmp_path: Path) -> None:
    first = ChunkAnalyser(small_bundle(folder / "first", WindowSpec(3, 2, 0.1)))
    second = ChunkAnalyser(small_bundle(folder / "second", WindowSpec(1, 1, 0.0)))
    card = SoundCard(tmp_path, rate_hz=1500)
    for seed, analyser in enumerate([first, second, first, second]):
        card.noise(6000, seed)
        work_off(worker_on(tmp_path, analyser))
    card.end()
    work_off(worker_on(tmp_path, second))
    (run,) = recorded(tmp_path)
    covered = np.zeros(len(run.pcm), int)
    for begin, n in rows(tmp_path, "SELECT first_frame, n_frames FROM chunk"):
        covered[begin : begin + n] += 1
    assert covered.min() == 1
    assert (covered == 2).sum() <= 3 * 2 * 24  # the chunk at each change, of 24 frames
    assert [row[0] for row in rows(tmp_path, "SELECT bundle FROM duty ORDER BY duty")] == [
        1, 2, 1, 2,
    ]  # fmt: skip
