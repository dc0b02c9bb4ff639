"""kill -9 at random moments, again and again in one state folder."""

import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.conftest import count, needs
from support.aftermath import Aftermath, check_visible
from support.numbered_source import VirtualClock
from support.nursery import Victim
from support.victim import Plan

from edge_probe.capture.store import Store

CHAIN = 10
"""Kills in one state folder."""

LIFE_S = 0.25
"""A victim lives for up to this long; its clock runs far ahead of ours."""

BETWEEN_NS = 10**13
"""Virtual time from one start to the next."""


@dataclass(slots=True)
class Found:
    lost_s: list[float] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    n_visible: int = 0


def test_kills_cost_no_more_than_a_second(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(root=False)
    n_kills = count("kills")
    lengths = [CHAIN] * (n_kills // CHAIN) + [n_kills % CHAIN] * (n_kills % CHAIN > 0)
    seeds = [chance.getrandbits(32) for _ in lengths]
    folders = [memory_folder / str(number) for number in range(len(lengths))]
    with ThreadPoolExecutor(2 + (os.cpu_count() or 1)) as pool:
        found = list(pool.map(kill_again_and_again, folders, lengths, seeds))
    lost_s = [one for of in found for one in of.lost_s]
    recovery_s = [one for of in found for one in of.recovery_s]
    results["kill -9"] = {
        "kills": len(lost_s),
        "most_lost_s": max(lost_s),
        "mean_lost_s": sum(lost_s) / len(lost_s),
        "slowest_recovery_s": round(max(recovery_s), 3),
        "visible_segments_checked": sum(of.n_visible for of in found),
        "corrupt_segments": 0,
        "acknowledged_lost": 0,
    }
    assert len(lost_s) == n_kills
    assert max(lost_s) <= 1
    assert max(recovery_s) <= 2


def kill_again_and_again(folder: Path, n_kills: int, seed: int) -> Found:
    chance, found = random.Random(seed), Found()
    folder.mkdir()
    state = folder / "state"
    aftermath = Aftermath(state)
    for run in range(n_kills):
        plan = Plan(state, folder / f"journal{run}", run, start_ns=10**9 + run * BETWEEN_NS)
        victim = Victim(plan)
        time.sleep(LIFE_S * chance.random() ** 2)  # often not longer than a recovery takes
        victim.kill()
        aftermath.add(victim.journal.rows(), run)
        found.n_visible += check_visible(state / "audio")
        if run == n_kills - 1 or chance.random() < 0.5:  # or else the next victim recovers
            began = time.perf_counter()
            Store(state, VirtualClock(plan.start_ns + BETWEEN_NS // 2)).close()
            found.recovery_s.append(time.perf_counter() - began)
            found.lost_s += aftermath.check()
    shutil.rmtree(folder)
    return found
