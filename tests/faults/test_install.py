"""Installing, confirming, reverting: killed at every call, failing calls, power cut at every write.

Whenever it ends, the device runs the bundle from before or the new one, and the next look brings
order.
"""

import os
import random
import shutil
import time
from bisect import bisect
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults.conftest import count, needs
from faults.test_syscall_errors import LOOKS, OTHERS
from support import block_log, ext4, strace
from support.block_log import Event, LoggedDisk, Replay
from support.journal import Said
from support.slot_deed import (
    DEEDS,
    Deed,
    begin,
    check,
    copy,
    do,
    pack_all,
    releases_of,
)
from support.slotted_device import Device

CHANGES = {
    "openat", "mkdir", "write", "pwrite64", "fsync", "ftruncate", "rename", "unlink", "rmdir",
    "symlink", "unlinkat", "flock",
}  # fmt: skip
"""Calls that a full, read-only or broken disk refuses."""

LOOKS_TOO = LOOKS | {"readlink", "statfs", "access", "dup", "ioctl", "getcwd", "readlinkat"}
"""Calls that only a broken disk refuses."""

LONG = 1000
"""Calls that fail one after another."""


class Strike(NamedTuple):
    """What befalls a deed."""

    what: str
    call: str
    at: int
    how: str

    @property
    def inject(self) -> str:
        return f"{self.call}:{self.how}:when={self.at}{f'..{self.at + LONG}' * self.is_lasting}"

    @property
    def is_lasting(self) -> bool:
        return self.how.endswith("+")


@pytest.fixture
def epbs(memory_folder: Path) -> Path:
    needs(*strace.TOOLS)
    folder = memory_folder / "epbs"
    folder.mkdir()
    pack_all(folder)
    return folder


def strike(device: Device, epbs: Path, folder: Path, what: str, inject: str | None) -> int | None:
    """Do it with a tampering; what it ended with, None: it was killed. The device is at DEVICE."""
    copied = copy(device, folder / "device")
    deed = Deed(what, copied.layout.root, epbs, folder / "journal")
    rows = strace.watch(deed, folder / "log", inject)
    assert rows[0, 1] == Said.BEGUN
    return int(rows[-1, 2]) if rows[-1, 1] == Said.ENDED else None


@pytest.mark.parametrize("kind", ["killed", "failing"])
def test_at_every_call(
    kind: str, epbs: Path, memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    devices = {what: begin(what, memory_folder / what, epbs) for what in DEEDS}
    strikes: list[Strike] = []
    for what, device in devices.items():
        folder = memory_folder / f"{what} sound"
        folder.mkdir()
        assert strike(device, epbs, folder, what, None) == 0
        check(what, Device(folder / "device", device.service), epbs)
        calls = strace.how_often(folder / "log")
        unknown = set(calls) - CHANGES - LOOKS_TOO - OTHERS - {"umask"}
        assert not unknown, f"this campaign does not know {unknown}"
        strikes += strikes_of(kind, what, calls)
    chosen = chance.sample(strikes, min(count("install_faults"), len(strikes)))

    def one(number: int, fault: Strike) -> int | None:
        folder = memory_folder / str(number)
        folder.mkdir()
        device = devices[fault.what]
        try:
            ended = strike(device, epbs, folder, fault.what, fault.inject.replace("+", ""))
            struck = Device(folder / "device", device.service)
            # Whoever is killed last of all has said already that he is done.
            assert ended in ((None, 0) if kind == "killed" else (0, 1)), "it broke down"
            check(fault.what, struck, epbs, may_forget=fault.is_lasting)
        except (AssertionError, Exception) as error:
            raise AssertionError(f"{fault}: {error!r}") from error
        shutil.rmtree(folder)
        return ended

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ends = list(pool.map(one, range(len(chosen)), chosen))
    assert sum(ended != 0 for ended in ends) > len(ends) / 2
    results[f"installation {kind} at a call"] = {
        "strikes": len(chosen),
        "of": len(strikes),
        "by_deed": Counter(fault.what for fault in chosen),
        "killed_or_ended_with_an_error": sum(ended != 0 for ended in ends),
        "ran_old_or_new": len(ends),
        "ran_neither": 0,
    }


def strikes_of(kind: str, what: str, calls: Counter[str]) -> list[Strike]:
    """All that can befall a deed with these calls."""
    found = []
    for call, n_calls in calls.items():
        if call not in CHANGES | LOOKS_TOO:
            continue
        if kind == "killed":
            hows = ["signal=SIGKILL"]
        else:
            errors = ("EIO", "ENOSPC", "EROFS") if call in CHANGES else ("EIO",)
            hows = [f"error={error}{lasting}" for error in errors for lasting in ("", "+")]
        found += [Strike(what, call, at, how) for how in hows for at in range(1, n_calls + 1)]
    return found


SERIES = ("first", "confirm 7", "update", "confirm", "another", "refuse 9")


class Act(NamedTuple):
    """A deed of a series, on a disk that logs."""

    what: str
    began_ns: int
    ended_ns: int
    before: int | None
    """Release that ran."""
    after: int | None


def test_power_cut_at_every_write(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    needs(*ext4.TOOLS, *block_log.TOOLS)
    epbs = memory_folder / "epbs"
    epbs.mkdir()
    pack_all(epbs)
    image, log = memory_folder / "image", memory_folder / "log"
    ext4.make(image, 32)
    before = image.read_bytes()
    with (
        LoggedDisk(image, log, memory_folder / "fuse") as disk,
        ext4.Mount(disk, memory_folder / "disk") as at,
    ):
        acts = perform(at / "device", epbs)
    events = block_log.read_log(log)
    first = next(n for n, event in enumerate(events) if event.at_ns >= acts[0].began_ns)
    last = max(n for n, event in enumerate(events) if event.at_ns <= acts[-1].ended_ns)
    cuts = list(range(first, last + 2))
    ends = [bisect(events, act.ended_ns, key=lambda event: event.at_ns) for act in acts]
    n_cuts = count("install_cuts")
    every, some = divmod(n_cuts, len(cuts))
    chosen = sorted(ends + cuts * every + chance.sample(cuts, some))
    n_workers = os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool:
        work = [
            pool.submit(
                replay, before, events, chosen[worker::n_workers], acts, epbs,
                memory_folder / f"replay{worker}", chance.getrandbits(32),
            )
            for worker in range(n_workers)
        ]  # fmt: skip
        n_acknowledged = sum(done.result() for done in work)
    results["installation cut at a write"] = {
        "cuts": len(chosen),
        "block_writes_and_flushes": len(cuts),
        "between_two_deeds": n_acknowledged,
        "ran_old_or_new": len(chosen),
        "ran_neither": 0,
        "acknowledged_lost": 0,
    }


def perform(root: Path, epbs: Path) -> list[Act]:
    """One deed after another, each known to be done before the next begins."""
    device = begin("first", root, epbs)
    os.sync()
    acts = []
    for name in SERIES:
        what = name.split()[0]
        runs, began_ns = device.runs, time.monotonic_ns()
        do(what, device, epbs)
        acts.append(Act(what, began_ns, time.monotonic_ns(), runs, device.runs))
    assert releases_of(device) == (8, None, None)
    return acts


def replay(
    before: bytes, events: list[Event], cuts: list[int], acts: list[Act], epbs: Path,
    folder: Path, seed: int,
) -> int:  # fmt: skip
    """Cut and look, for each number of events; how many fell between two deeds."""
    chance, n_between = random.Random(seed), 0
    folder.mkdir()
    image, at = folder / "image", folder / "disk"
    replayed = Replay(before, events, image)
    for n_events in cuts:
        cut_ns = events[n_events].at_ns if n_events < len(events) else acts[-1].ended_ns + 1
        done = [act for act in acts if act.ended_ns < cut_ns]
        under_way = [act for act in acts if act.began_ns <= cut_ns <= act.ended_ns]
        n_between += not under_way
        allowed = {act.after for act in done[-1:]} or {None}
        for act in under_way:
            allowed |= {act.before, act.after}
        replayed.cut(n_events, chance)
        with ext4.Mount(image, at):
            assert (at / "device").is_dir(), f"cut at {n_events}: no device on the disk"
            device = Device(at / "device")
            try:
                look(device, allowed)
            except (AssertionError, Exception) as error:
                raise AssertionError(
                    f"cut at {n_events}, {under_way or done[-1:]}: {error!r}"
                ) from error
    return n_between


def look(device: Device, allowed: set[int | None]) -> None:
    """Old or new runs, before and after order is brought."""
    runs, slots = device.runs, device.layout.slots
    found = sorted(path.name for path in slots.iterdir()) if slots.exists() else None
    assert runs in allowed, f"it runs {runs}, not one of {allowed}; slots: {found}"
    if device.layout.slots.exists():
        device.settle(service=None)
        assert device.runs in allowed, f"it runs {device.runs} once it is settled"
