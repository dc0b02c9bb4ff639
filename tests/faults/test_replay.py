"""Power cuts block by block: a prefix of all writes, without some of those not flushed yet."""

import os
import random
import signal
import time
from bisect import bisect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faults.conftest import count, needs
from faults.test_power_cut import MOST_LOST_S
from numpy.typing import NDArray
from support import block_log, ext4
from support.aftermath import Aftermath
from support.block_log import Event, LoggedDisk, Replay
from support.journal import Journal
from support.numbered_source import VirtualClock
from support.nursery import Victim
from support.victim import Plan

from edge_probe.capture.store import Store

REPLAYS_EACH = 100
"""Of one recording."""

STALL_S = 6.0
"""Longer than ext4 waits (5 s) until it brings to the journal what was not synced."""

STALLED_EVERY = 5
"""Of so many recordings one stalls."""


@dataclass(slots=True)
class Recording:
    """A recorder that was killed and one that went on after it, as their disk saw them."""

    image: bytes
    events: list[Event]
    journals: list[Journal]


def test_no_order_of_block_writes_loses_what_was_acknowledged(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(*ext4.TOOLS, *block_log.TOOLS)
    n_workers, n_replays = os.cpu_count() or 1, count("replays")
    lost_s: list[float] = []
    n_events = 0
    for number in range(-(-n_replays // REPLAYS_EACH)):
        folder = memory_folder / str(number)
        recording = record(folder, chance, n_stalls=0 if number % STALLED_EVERY else 2)
        n_events += len(recording.events)
        begun_ns = recording.journals[0].rows()[0, 0]
        first = bisect(recording.events, begun_ns, key=lambda event: event.at_ns)
        n_here = min(REPLAYS_EACH, n_replays - number * REPLAYS_EACH)
        cuts = sorted(chance.choices(range(first, len(recording.events) + 1), k=n_here))
        with ThreadPoolExecutor(n_workers) as pool:
            work = [
                pool.submit(
                    replay, recording, cuts[worker::n_workers], folder / f"replay{worker}",
                    chance.getrandbits(32),
                )
                for worker in range(n_workers)
            ]  # fmt: skip
            lost_s += [one for done in work for one in done.result()]
    results["block replays"] = {
        "replays": n_replays,
        "block_writes_and_flushes": n_events,
        "most_lost_s": max(lost_s),
        "corrupt_segments": 0,
        "acknowledged_lost": 0,
    }
    assert max(lost_s) <= MOST_LOST_S


def record(folder: Path, chance: random.Random, n_stalls: int) -> Recording:
    folder.mkdir()
    image, log, at = folder / "image", folder / "log", folder / "disk"
    ext4.make(image, 16)
    before = image.read_bytes()
    with LoggedDisk(image, log, folder / "fuse") as disk, ext4.Mount(disk, at):
        killed = Victim(Plan(at / "state", folder / "journal0"))
        time.sleep(chance.uniform(0.1, 0.6))
        for _ in range(n_stalls):
            killed.signal(signal.SIGSTOP)
            time.sleep(STALL_S)
            killed.signal(signal.SIGCONT)
            time.sleep(chance.uniform(0.02, 0.2))
        killed.kill()
        plan = Plan(at / "state", folder / "journal1", 1, start_ns=10**13, n_blocks=1500)
        heir = Victim(plan)
        heir.end()
    return Recording(before, block_log.read_log(log), [killed.journal, heir.journal])


def replay(recording: Recording, cuts: list[int], folder: Path, seed: int) -> list[float]:
    """Cut, recover and look, for each number of events."""
    chance, lost_s = random.Random(seed), []
    folder.mkdir()
    image, at = folder / "image", folder / "disk"
    replayed = Replay(recording.image, recording.events, image)
    for n_events in cuts:
        replayed.cut(n_events, chance)
        with ext4.Mount(image, at):
            Store(at / "state", VirtualClock(kernel_id="after")).close()
            aftermath = Aftermath(at / "state")
            for run, rows in enumerate(said_before(recording, n_events)):
                aftermath.add(rows, run)
            lost_s += aftermath.check()
    return lost_s


def said_before(recording: Recording, n_events: int) -> list[NDArray[np.int64]]:
    """What the recorders had said before the first event that is missing."""
    cut_ns = recording.events[n_events].at_ns if n_events < len(recording.events) else None
    return [journal.rows(cut_ns) for journal in recording.journals]
