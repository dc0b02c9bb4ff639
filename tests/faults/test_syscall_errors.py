"""Every file system call of one recover-record-rotate cycle fails, once and for a long time."""

import os
import random
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.conftest import count, needs
from support import strace
from support.aftermath import Aftermath
from support.journal import Journal, Said
from support.nursery import Victim
from support.victim import FORMAT, Plan

from edge_probe.source.wav import HEADER_BYTES

CHANGES = {
    "openat", "mkdir", "write", "pwrite64", "fsync", "fdatasync", "fallocate", "ftruncate",
    "rename", "unlink",
}  # fmt: skip
"""Calls that a full, read-only or broken disk refuses."""

LOOKS = {"newfstatat", "fstat", "lstat", "fcntl", "getdents64", "pread64", "read", "close", "lseek"}
"""Calls that only a broken disk refuses."""

OTHERS = {
    "getpid", "geteuid", "fchown", "mmap", "munmap", "brk", "mremap", "exit_group", "futex",
    "madvise", "getrandom",
}  # fmt: skip
"""Calls that are not about what is on the disk."""

PAGE_BYTES = 4096
"""As the kernel keeps files in memory."""

WAL_HEADER_BYTES = 32
"""https://sqlite.org/fileformat2.html, 4.1"""

LONG = 30
"""Calls that fail one after another: longer than the ring lasts, or until the call is avoided."""


class Fault(NamedTuple):
    call: str
    error: str
    at: int
    times: int

    @property
    def inject(self) -> str:
        return f"{self.call}:error={self.error}:when={self.at}..{self.at + self.times - 1}"


@pytest.fixture
def died(memory_folder: Path) -> Path:
    """A folder whose state a recorder has left without a word."""
    needs(*strace.TOOLS)
    folder = memory_folder / "died"
    folder.mkdir()
    plan = Plan(folder / "state", folder / "journal0", n_blocks=40, losses=0, dies=True)
    Victim(plan).end()
    return folder


def go_on(died: Path, folder: Path, inject: str | None = None) -> list[float]:
    """A recorder recovers that state and records, while its calls fail; seconds of audio lost."""
    shutil.copytree(died / "state", folder / "state")
    plan = Plan(
        folder / "state", folder / "journal1", 1, start_ns=10**11, n_blocks=80, segment_s=3,
        ring_s=6, losses=0.02, wait=True,
    )  # fmt: skip
    rows = strace.watch(plan, folder / "log", inject)
    assert len(rows), inject
    assert rows[-1, 1] == Said.ENDED, f"it did not survive {inject}"
    aftermath = Aftermath(folder / "state")
    aftermath.add(Journal(died / "journal0").rows(), 0)
    aftermath.add(rows, 1)
    return aftermath.check()


def test_every_failing_call_is_survived(
    died: Path, memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    go_on(died, memory_folder / "sound")
    occurring = strace.how_often(memory_folder / "sound" / "log")
    assert set(occurring) <= CHANGES | LOOKS | OTHERS, "a call this campaign does not know"
    faults = [
        Fault(call, error, at, times)
        for call, n_calls in occurring.items() if call in CHANGES | LOOKS
        for error in (("EIO", "ENOSPC", "EROFS", "EDQUOT") if call in CHANGES else ("EIO",))
        for at in range(1, n_calls + 1)
        for times in (1, LONG)
    ]  # fmt: skip
    chosen = chance.sample(faults, min(count("errors"), len(faults)))

    def strike(number: int, fault: Fault) -> float:
        folder = memory_folder / str(number)
        try:
            _, lost_s = go_on(died, folder, fault.inject)
        except AssertionError as error:
            raise AssertionError(f"{fault}: {error}") from error
        log = folder / "log"
        assert any(call.was_injected for call in strace.calls(log)), f"{fault} did not strike"
        check_distrust(log, folder / "state" / "audio")
        check_chain(log)
        assert fault.times > 1 or lost_s == 0, f"{fault} cost {lost_s} s"
        shutil.rmtree(folder)
        return lost_s

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lost_s = list(pool.map(strike, range(len(chosen)), chosen))
    results["failing calls"] = {
        "calls_in_a_cycle": sum(occurring[call] for call in CHANGES | LOOKS),
        "faults": len(chosen),
        "of": len(faults),
        "by_error": Counter(fault.error for fault in chosen),
        "most_lost_s_once": 0,
        "most_lost_s_lasting": max(lost_s),
        "crashes": 0,
    }


@pytest.mark.parametrize("at", [5, 9])
def test_no_commit_follows_one_that_a_failed_sync_lost(
    died: Path, memory_folder: Path, at: int
) -> None:
    """Neither the commit nor SQLite's last try when it is closed reaches the disk."""
    fault = Fault("fdatasync", "EIO", at, LONG)
    go_on(died, memory_folder / "failing", fault.inject)
    assert check_chain(memory_folder / "failing" / "log") > 0


def check_chain(log: Path) -> int:
    """SQLite reads its log up to the first hole: a commit behind one was acknowledged for nothing.

    A page whose sync failed is not on the disk until it is written anew and synced.

    Returns
    -------
    int
        Syncs of the log that failed with something to lose.
    """
    n_failed = 0
    written: set[int] = set()
    lost: set[int] = set()
    for call in strace.calls(log):
        if call.path is None or not call.path.endswith("-wal"):
            continue
        if call.name == "ftruncate" and call.result == 0:
            written, lost = set(), set()
        elif call.name == "pwrite64" and call.result > 0:
            at = int(call.arguments.rsplit(", ", 1)[1])
            if (at, call.result) == (0, WAL_HEADER_BYTES):  # what is behind it counts no more
                lost = set()
            pages = range(at // PAGE_BYTES, (at + call.result - 1) // PAGE_BYTES + 1)
            written |= set(pages)
            lost -= set(pages)
        elif call.name in ("fsync", "fdatasync") and call.was_injected:
            n_failed += bool(written)
            lost |= written
            written = set()
        elif call.name in ("fsync", "fdatasync") and written:
            assert min(lost, default=max(written)) >= max(written), "behind what was lost"
            written = set()
    return n_failed


def check_distrust(log: Path, audio: Path) -> None:
    """Of a file whose sync failed, only what an earlier sync covers was kept."""
    written: dict[str, int] = {}
    synced: dict[str, int] = {}
    suspect: dict[str, int] = {}
    for call in strace.calls(log):
        if call.path is None or not call.path.endswith(".wav.part"):
            continue
        name = Path(call.path).name.removesuffix(".part")
        if call.name == "write" and call.result > 0:
            written[name] = written.get(name, 0) + call.result
        elif call.name in ("fsync", "fdatasync") and not call.was_injected:
            synced[name] = written.get(name, 0)
        elif call.name in ("fsync", "fdatasync") and name in written:
            suspect.setdefault(name, synced.get(name, 0))
    for name, n_bytes in suspect.items():
        if (audio / name).exists():
            n_frames = max(0, n_bytes - HEADER_BYTES) // FORMAT.frame_bytes
            most = HEADER_BYTES + n_frames * FORMAT.frame_bytes
            assert (audio / name).stat().st_size <= most, f"{name} was trusted"
