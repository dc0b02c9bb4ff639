"""A recorder to be killed: the real ring, writer and store on a numbered source, as fast as it can.

It runs in a process of its own, forked from an interpreter that has everything loaded.
"""

import atexit
import logging
import os
import pickle
import random
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support.child import environment
from support.journal import Journal, Said
from support.numbered_source import NumberedSource, VirtualClock

from edge_probe.capture.ledger import CAUSES
from edge_probe.capture.recovery import Remains
from edge_probe.capture.ring import Ring
from edge_probe.capture.segment import Format, SegmentFile
from edge_probe.capture.store import Store, Timing
from edge_probe.capture.timeline import SETTLE_S, TOLERANCE_S
from edge_probe.capture.writer import Writer
from edge_probe.clock import Clock

RATE = 1000
BLOCK = 100
FORMAT = Format(RATE, 1, 4)
SHORTEST_LOSS = round(1.1 * TOLERANCE_S * RATE)
"""Frames; the clock does not see less."""

SETTLED_BLOCKS = round((SETTLE_S + 0.5) * RATE / BLOCK)
"""Before that nothing is taken for a loss."""

RUN_FRAMES = 1 << 24
"""The frames of run r are numbered from r times this."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a victim does."""

    state: Path
    journal: Path
    run: int = 0
    start_ns: int = 10**9
    """Monotonic time at its start."""
    kernel_id: str = "first"
    n_blocks: int = RUN_FRAMES // BLOCK // 4
    segment_s: float = 5.0
    ring_s: float = 33.0
    losses: float = 0.01
    """Chance per block that the sound card loses frames before it."""
    dies: bool = False
    """At its end, without a word."""
    wait: bool = False
    """Until `Journal.allow`."""

    @property
    def first_number(self) -> int:
        return self.run * RUN_FRAMES


class TellingStore(Store):
    """Says what was acknowledged, after it was."""

    def __init__(self, folder: Path, clock: Clock, remains: Remains, journal: Journal) -> None:
        super().__init__(folder, clock, remains)
        self._journal = journal

    def begin_segment(self, first_frame: int, n_planned: int, timing: Timing) -> SegmentFile | None:
        with self._closing():
            return super().begin_segment(first_frame, n_planned, timing)

    def gap(self, first_frame: int, n_frames: int, cause: str) -> None:
        with self._closing():
            super().gap(first_frame, n_frames, cause)
        self._journal.say(Said.GAP, self._stream, first_frame, n_frames, CAUSES.index(cause))

    def end_stream(self, end_frame: int, cause: str, timing: Timing) -> None:
        with self._closing():
            super().end_stream(end_frame, cause, timing)
        self._journal.say(Said.GAP, self._stream, end_frame, -1, CAUSES.index(cause))

    def say_synced(self) -> None:
        if self.segment is not None and self._place is not None:
            first_frame = self._place.first_frame
            self._journal.say(Said.SYNCED, self._stream, first_frame, self.segment.n_synced)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        place, segment = self._place, self.segment
        yield
        if place is not None and segment is not None:
            self._journal.say(Said.CLOSED, place.stream, place.first_frame, segment.n_frames)


def record(plan: Plan) -> None:
    """Record until the plan is done or death comes."""
    logging.disable()  # standard error is no part of the state folder
    journal = Journal(plan.journal)
    clock = VirtualClock(now_ns=plan.start_ns, kernel_id=plan.kernel_id)
    ring = Ring(round(plan.ring_s * RATE), FORMAT.frame_bytes)
    source = NumberedSource(ring, clock, RATE, BLOCK, first_number=plan.first_number)
    stores: list[TellingStore] = []

    def open_store(remains: Remains) -> Store:
        stores[:] = [TellingStore(plan.state, clock, remains, journal)]
        return stores[0]

    writer = Writer(
        ring, FORMAT, f"run {plan.run}", segment_s=plan.segment_s, open_store=open_store,
        clock=clock,
    )  # fmt: skip
    chance = random.Random(plan.run)
    journal.say(Said.BEGUN)
    while plan.wait and not journal.may_go:
        time.sleep(0.001)
    n_delivered = 0
    for block in range(plan.n_blocks):
        if block > SETTLED_BLOCKS and chance.random() < plan.losses:
            source.lose(chance.randrange(SHORTEST_LOSS, 3 * RATE))
        source.deliver()
        n_delivered += BLOCK
        journal.say(Said.DELIVERED, n_delivered, source.next_frame)
        if writer.step() and stores:
            stores[0].say_synced()
    if plan.dies:
        os._exit(0)
    for _ in range(100):
        if writer.end("schedule"):
            journal.say(Said.ENDED, True)
            return
        clock.now_ns += 10**9


class Victim:
    """A process that runs a plan; it begins within milliseconds."""

    def __init__(self, plan: Plan) -> None:
        self.journal = Journal(plan.journal)
        self.pid = _nursery().bear(plan)
        self._fd = os.pidfd_open(self.pid)
        while not self.journal.has_begun:
            assert not self.wait(0.001), "it never began"

    def signal(self, number: int) -> None:
        """Send a signal to this process, whoever may have its number by now."""
        signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        assert not self.wait(0), "it came to its end before it was killed"
        self.signal(signal.SIGKILL)
        self.wait(None)
        os.close(self._fd)

    def end(self, timeout_s: float = 120) -> NDArray[np.int64]:
        """Wait for the end; all that was said."""
        assert self.wait(timeout_s), "it does not come to an end"
        os.close(self._fd)
        return self.journal.rows()

    def wait(self, timeout_s: float | None) -> bool:
        """Whether it comes to its end in this time."""
        return bool(select.select([self._fd], [], [], timeout_s)[0])


class _Nursery:
    """An interpreter that has everything loaded and forks a victim for each plan it is given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from support import victim; victim.breed()"],
            env=environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        atexit.register(self._process.communicate)

    def bear(self, plan: Plan) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(pickle.dumps(plan))
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


_nursery = cache(_Nursery)


def breed() -> None:
    """The nursery's side."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their exit codes
    with suppress(EOFError):
        while True:
            plan = pickle.load(sys.stdin.buffer)
            if pid := os.fork():
                print(pid, flush=True)
                continue
            try:
                record(plan)
            except BaseException:  # noqa: BLE001 - a child must never run on as its parent
                traceback.print_exc()
            finally:
                os._exit(0)
