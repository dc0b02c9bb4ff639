"""Power cuts at random moments: ext4 on a loop device that is shut down without its last writes."""

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from faults.conftest import count, needs
from support import ext4
from support.aftermath import Aftermath
from support.numbered_source import VirtualClock
from support.nursery import Victim
from support.victim import BLOCK, FORMAT, RATE, Plan

from edge_probe.capture.segment import BLOCK_BYTES
from edge_probe.capture.store import Store
from edge_probe.capture.writer import SYNC_S
from edge_probe.source.timeline import LATE_S

CHAIN = 8
"""Cuts of one file system."""

LIFE_S = 0.3

MOST_LOST_S = SYNC_S + LATE_S + (2 * BLOCK + BLOCK_BYTES / FORMAT.frame_bytes) / RATE
"""Not synced yet, held back because something was late, the block just coming, and what does not
fill a block of the disk."""


def test_cuts_cost_no_more_than_what_was_not_synced(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(*ext4.TOOLS)
    n_chains = -(-count("cuts") // CHAIN)
    seeds = [chance.getrandbits(32) for _ in range(n_chains)]
    folders = [memory_folder / str(number) for number in range(n_chains)]
    with ThreadPoolExecutor(2 + (os.cpu_count() or 1)) as pool:
        lost_s = [one for found in pool.map(cut_again_and_again, folders, seeds) for one in found]
    results["power cut"] = {
        "cuts": len(lost_s),
        "most_lost_s": max(lost_s),
        "mean_lost_s": sum(lost_s) / len(lost_s),
        "corrupt_segments": 0,
        "acknowledged_lost": 0,
    }
    assert len(lost_s) >= count("cuts")
    assert max(lost_s) <= MOST_LOST_S


def cut_again_and_again(folder: Path, seed: int) -> list[float]:
    chance = random.Random(seed)
    folder.mkdir()
    image, at = folder / "image", folder / "disk"
    ext4.make(image, 32)
    aftermath, lost_s = Aftermath(at / "state"), []
    for run in range(CHAIN):
        with ext4.Mount(image, at):
            victim = Victim(Plan(at / "state", folder / f"journal{run}", run, kernel_id=str(run)))
            time.sleep(LIFE_S * chance.random() ** 2)
            victim.signal(signal.SIGSTOP)
            time.sleep(0.02)
            ext4.cut_power(at)
            victim.kill()
        aftermath.add(victim.journal.rows(), run)
        if run == CHAIN - 1 or chance.random() < 0.5:  # or else the next victim recovers
            with ext4.Mount(image, at):
                Store(at / "state", VirtualClock(kernel_id=str(run))).close()
                lost_s += aftermath.check()
    image.unlink()
    return lost_s
