"""The classifier killed, out of memory, stopped, slowed: nothing of it reaches the recording.

The faults strike a station in real time (`support.field`); deaths by the hundred strike a recorder
and a classifier that are forked with everything loaded (`support.nursery`).
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import count, needs
from support.analysed_state import (
    check_account,
    detections,
    expected,
    left_out,
    rows,
    small_bundle,
    states,
    work_off,
    worker_on,
)
from support.field import Field
from support.listening import Acknowledged, Listening
from support.memory_eater import Eater
from support.numbered_source import account
from support.nursery import Victim
from support.sound import sound
from support.victim import Plan

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.spec import WindowSpec
from export.encoders.memory_group import MemoryGroup

MOST_GROWTH_KIB = 1024
"""Of the recorder's memory, whatever becomes of the classifier."""

EACH = WindowSpec(1, 1, 0.2)
"""Windows of one chunk: as many are done or left out as there are chunks."""

MODEL_RATE = 250
"""Chunks of 64 ms: the classifier has little to do."""

BUSY_RATE = 8000
"""Chunks of 2 ms: a tenth of a processor is too little for them."""

AFTER_CHUNKS = 50
HANG_S = 30.0
BACKLOG_S = 2.0
ROOM_MIB = 128
"""Memory that is left before it is eaten up: enough for the next classifier to start."""

MOST_END_S = 1.9
"""From SIGTERM to the end of the stream; less than the classifier is given to end."""

RUNS_S, PAUSES_S = 0.05, 0.45
"""Of a classifier that is slowed ten times."""

CHAIN = 10
"""Deaths in one state folder."""

MOST_COMMITS = 16
"""A life ends after so many at most; a look that finds nothing to do counts too."""

LAST_S = 0.02
"""And up to so long after one of them."""

N_BLOCKS, PAUSE_S = 30, 0.01
"""What a recorder records in its life, and how fast: about as fast as it can be classified."""

BETWEEN_NS = 10**13
"""Virtual time from one start of a recorder to the next."""


def strike(
    folder: Path, fault: Callable[[Field], object], model_rate: int = MODEL_RATE, **how: Any
) -> dict[str, Any]:
    """Let a fault happen to the classifier of a station that works, and look at what was kept."""
    bundle = small_bundle(folder / "bundle", EACH, model_rate)
    with Field(folder, bundle.path, **how) as field:
        field.until_all_is_told()
        field.weigh_from_now_on()
        fault(field)
        field.until_it_works(AFTER_CHUNKS)
        growth_kib = field.growth_kib()
        n_frames = field.stop()
    figures = audit(field.state, bundle, n_frames)
    assert growth_kib <= MOST_GROWTH_KIB
    return {"frames": n_frames, "frames_lost": 0, "recorder_grew_kib": growth_kib} | figures


def audit(state: Path, bundle: Bundle, n_frames: int) -> dict[str, Any]:
    """Every frame is recorded, every window done or left out, no detection lost or doubled."""
    assert account(state, frames=sound) == [(n_frames, -1, "schedule")], "audio was lost"
    analyser = ChunkAnalyser(bundle)
    work_off(worker_on(state, analyser))  # what was recorded at the very end
    check_account(state)
    found = detections(state)
    assert found
    assert found == expected(state, analyser, left_out(state))
    chunks, grid = states(state), analyser.grid(1000)
    n_model = grid.n_model_samples(n_frames)
    n_due = -(-n_model // grid.chunk_samples)
    n_due -= not bundle.encoder.grid.valid_tokens((n_model - 1) % grid.chunk_samples + 1).any()
    ((n_done,),) = rows(state, "SELECT count(*) FROM score_cache")
    windows = {"done": n_done, "skipped": chunks["skipped"], "quarantined": chunks["quarantined"]}
    assert sum(windows.values()) == n_due
    return {"windows_due": n_due, "windows": windows, "detections": len(found)}


def test_kills_cost_the_recording_nothing(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(root=False)
    n_kills = min(15, max(3, count("classifier_kills") // 10))  # 20 would mean an hour of rest

    def kill(field: Field) -> None:
        for _ in range(n_kills):
            time.sleep(chance.random())
            field.until(lambda: field.signal_classifier(signal.SIGKILL))
            field.until_it_works(1)
        assert field.log.count("killed by SIGKILL") == n_kills

    results["classifier killed"] = {"kills": n_kills} | strike(memory_folder, kill)


def test_the_kernel_takes_the_classifier_when_memory_runs_out(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    needs()
    group = MemoryGroup.make()
    if group is None:
        pytest.skip("the fault campaign needs a cgroup for memory that root may make")

    def starve(field: Field) -> None:
        group.limit(group.n_bytes + (ROOM_MIB << 20))
        eater = Eater(group)
        try:
            while not group.n_killed:
                eater.take()
        finally:
            eater.end()
        field.until(lambda: "killed by SIGKILL" in field.log)

    try:
        results["classifier out of memory"] = strike(memory_folder, starve, group=group)
    finally:
        group.remove()


def test_one_that_stands_still_is_seen_and_replaced(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    needs(root=False)

    def stop(field: Field) -> None:
        assert field.signal_classifier(signal.SIGSTOP)
        field.until(lambda: "hung for" in field.log)

    results["classifier stopped"] = strike(memory_folder, stop, hang_s=HANG_S)


def test_one_that_is_too_slow_skips_windows(memory_folder: Path, results: dict[str, Any]) -> None:
    needs(root=False)

    def slow_down(field: Field) -> None:
        while not field.n_chunks("state = 'skipped'"):
            assert field.signal_classifier(signal.SIGSTOP)
            time.sleep(PAUSES_S)
            assert field.signal_classifier(signal.SIGCONT)
            time.sleep(RUNS_S)

    results["classifier slowed 10x"] = strike(
        memory_folder, slow_down, model_rate=BUSY_RATE, backlog_s=BACKLOG_S
    )


def test_the_stream_ends_before_the_classifier_is_waited_for(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    """One that stands still does not end when it is asked to: the recorder waits, then kills it."""
    needs(root=False)
    bundle = small_bundle(memory_folder / "bundle", EACH, MODEL_RATE)
    with Field(memory_folder, bundle.path) as field:
        field.until_it_works(AFTER_CHUNKS)
        assert field.signal_classifier(signal.SIGSTOP)
        took_s = field.end_stream_s()
        assert field.is_running, "it waited for nobody"
        n_frames = field.stop()
    results["SIGTERM beside a classifier that stands still"] = {"stream_ended_s": round(took_s, 2)}
    assert took_s < MOST_END_S
    assert account(field.state, frames=sound) == [(n_frames, -1, "schedule")], "audio was lost"


@dataclass(slots=True)
class Toll:
    """What some deaths in one state folder came to."""

    n_together: int = 0
    """Of them, with the recorder."""
    n_acknowledged: int = 0
    """Detections that were safe when a classifier died."""
    n_detections: int = 0
    chunks: Counter[str] = field(default_factory=Counter)


def test_deaths_cost_no_detection(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(root=False)
    n_kills = count("classifier_kills")
    bundle = small_bundle(memory_folder / "bundle", WindowSpec(3, 2, 0.2), 2 * MODEL_RATE)
    lengths = [CHAIN] * (n_kills // CHAIN) + [n_kills % CHAIN] * (n_kills % CHAIN > 0)
    seeds = [chance.getrandbits(32) for _ in lengths]
    folders = [memory_folder / str(number) for number in range(len(lengths))]
    with ThreadPoolExecutor(1 + (os.cpu_count() or 1)) as pool:
        bundles = [bundle] * len(lengths)
        tolls = list(pool.map(kill_again_and_again, folders, bundles, lengths, seeds))
    chunks = sum((toll.chunks for toll in tolls), Counter())
    n_acknowledged = sum(toll.n_acknowledged for toll in tolls)
    results["kill -9 of the classifier"] = {
        "kills": n_kills,
        "with_the_recorder": sum(toll.n_together for toll in tolls),
        "chunks": dict(chunks),
        "detections": sum(toll.n_detections for toll in tolls),
        "acknowledged_before_a_death": n_acknowledged,
        "acknowledged_lost_or_doubled": 0,
    }
    assert n_acknowledged > 0
    assert chunks["quarantined"] <= n_kills / 3  # each has cost three lives


def kill_again_and_again(folder: Path, bundle: Bundle, n_kills: int, seed: int) -> Toll:
    chance, toll = random.Random(seed), Toll()
    state = folder / "state"
    state.mkdir(parents=True)
    acknowledged = Acknowledged(state)
    n_runs, recorder = 0, None
    for life in range(n_kills):
        if recorder is None:
            recorder, n_runs = Victim(recording(folder, n_runs)), n_runs + 1
        classifier = Victim(Listening(state, bundle.path, folder / f"classifier{life}"))
        live_a_while(classifier, chance)
        if life < n_kills - 1 and chance.random() < 0.7:
            classifier.kill()
        else:
            for victim in chance.sample([classifier, recorder], 2):
                victim.kill()
            recorder, toll.n_together = None, toll.n_together + 1
        acknowledged.check(classifier.journal.rows())
    Victim(recording(folder, n_runs, lingers=False)).end()
    toll.n_acknowledged = acknowledged.n_detections
    analyser = ChunkAnalyser(bundle)
    work_off(worker_on(state, analyser))
    check_account(state)
    found = detections(state)
    assert found == expected(state, analyser, left_out(state))
    toll.n_detections, toll.chunks = len(found), states(state)
    shutil.rmtree(folder)
    return toll


def recording(folder: Path, run: int, *, lingers: bool = True) -> Plan:
    return Plan(
        folder / "state", folder / f"recorder{run}", run, 10**9 + run * BETWEEN_NS, segment_s=1.0,
        frames=sound, n_blocks=N_BLOCKS, pause_s=PAUSE_S, lingers=lingers,
    )  # fmt: skip


def live_a_while(classifier: Victim, chance: random.Random) -> None:
    """Until a moment drawn by lot; on a busy machine lives are longer, not emptier."""
    n_rows = 1 + chance.randrange(MOST_COMMITS)
    while len(classifier.journal.rows()) < n_rows:
        assert not classifier.wait(0.005), "it died before it was killed"
    time.sleep(LAST_S * chance.random())
