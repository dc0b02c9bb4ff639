"""A recorder to be killed: the real ring, writer and store on a numbered source, as fast as it can.

It lives in a process of its own (`nursery`).
"""

import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.journal import Journal, Said
from support.numbered_source import Frames, NumberedSource, VirtualClock, numbers

from edge_probe.capture.ledger import CAUSES
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format, SegmentFile
from edge_probe.capture.store import Store, Timing
from edge_probe.capture.writer import Writer
from edge_probe.clock import Clock
from edge_probe.source.ring import Ring
from edge_probe.source.timeline import SETTLE_S, TOLERANCE_S

RATE = 4000
BLOCK = 400
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
    """Until `Journal.let_go`."""
    frames: Frames = numbers
    pause_s: float = 0.0
    """Real time between two blocks, for the sake of somebody who is slower."""
    lingers: bool = False
    """Until death, when all blocks have come."""

    @property
    def first_number(self) -> int:
        return self.run * RUN_FRAMES

    def prepare(self) -> None:
        """All it needs is loaded with this module."""

    def live(self) -> None:
        record(self)


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
    source = NumberedSource(
        ring, clock, RATE, BLOCK, first_number=plan.first_number, frames=plan.frames
    )  # fmt: skip
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
        time.sleep(plan.pause_s)
        n_delivered += BLOCK
        journal.say(Said.DELIVERED, n_delivered, source.next_frame)
        if writer.step() and stores:
            stores[0].say_synced()
    while plan.lingers:
        time.sleep(1)
    if plan.dies:
        os._exit(0)
    for _ in range(100):
        if writer.end("schedule"):
            journal.say(Said.ENDED, True)
            return
        clock.now_ns += 10**9
