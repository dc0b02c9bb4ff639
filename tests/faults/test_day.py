"""A virtual day: every frame of the sound card is in a segment or in a gap, and drift is fitted."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.numbered_source import Auditor, NumberedSource, VirtualClock, stamps

from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.source.ring import Ring
from edge_probe.source.timeline import SETTLE_S, TOLERANCE_S, Timeline

HOURS = 24
RATE = 1000
RING_S = 33
SHORTEST_LOSS = round(1.1 * TOLERANCE_S * RATE)
"""Frames; the clock does not see less."""


class Day:
    """A recorder whose sound card loses frames, whose writer stands still, whose disk fails."""

    def __init__(self, state: Path, chance: random.Random) -> None:
        format_ = Format(RATE, 1, 4)
        self.state, self.chance = state, chance
        self.clock = VirtualClock()
        self.ring = Ring(RING_S * RATE, format_.frame_bytes)
        self.source = NumberedSource(self.ring, self.clock, RATE, block=0)
        self.writer = Writer(
            self.ring, format_, "numbered", segment_s=60, open_store=self.open, clock=self.clock
        )  # fmt: skip
        self.n_lost = self.n_stalls = self.n_failures = 0
        self.fails_until_ns = 0
        while self.source.next_frame < 2 * SETTLE_S * RATE:  # before, nothing is taken for a loss
            self.deliver()
            self.writer.step()

    def open(self, remains: Remains) -> Store:
        if self.clock.now_ns < self.fails_until_ns:
            raise sqlite3.OperationalError("disk I/O error")
        return Store(self.state, self.clock, remains)

    def hour(self) -> None:
        end = self.source.next_frame + 3600 * RATE
        while self.source.next_frame < end:
            match self.chance.random():
                case event if event < 0.001:
                    n_frames = self.chance.randrange(SHORTEST_LOSS, 20 * RATE)
                    self.source.lose(n_frames)
                    self.n_lost += n_frames
                case event if event < 0.002:
                    self.n_stalls += 1
                    for _ in range(self.chance.randrange(100)):
                        self.deliver()
                case event if event < 0.003:
                    self.n_failures += 1
                    self.fails_until_ns = self.clock.now_ns + self.chance.randrange(60 * 10**9)
                    self.writer._give_up()
            self.deliver()
            self.writer.step()

    def deliver(self) -> None:
        self.source.block = self.chance.randrange(RATE // 4, RATE)
        self.source.deliver()


def test_a_day_has_no_frame_that_is_unaccounted_for(
    memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    day, auditor = Day(memory_folder / "state", chance), Auditor(memory_folder / "state")
    for _ in range(HOURS):
        day.hour()
        if (day.state / "capture.sqlite").exists():
            auditor.audit()
    day.clock.now_ns = max(day.clock.now_ns, day.fails_until_ns) + 2 * 10**9
    assert day.writer.end("schedule")
    auditor.audit()
    booked = {
        cause: sum(n for _, n, of in auditor.gaps if of == cause) for cause in ("stall", "disk")
    }
    results["virtual day"] = {
        "frames": day.source.next_frame,
        "segments": auditor.n_segments,
        "gaps": len(auditor.gaps),
        "stalls_of_the_writer": day.n_stalls,
        "failures_of_the_disk": day.n_failures,
        "frames_lost_by_the_sound_card": day.n_lost,
        "frames_the_disk_cost": booked["disk"],
        "frames_unaccounted_for": day.source.next_frame - auditor.end,
    }
    assert auditor.end == day.source.next_frame
    assert booked["stall"] == day.n_lost
    assert {cause for _, _, cause in auditor.gaps} == {"stall", "disk"}


@pytest.mark.parametrize("drift", [-100e-6, 100e-6])
def test_a_day_of_drift_and_jitter_has_no_gap(
    drift: float, chance: random.Random, results: dict[str, Any]
) -> None:
    timeline = Timeline(48_000)
    jittered = stamps(48_000, 24_000, HOURS * 3600 * 2, drift, lambda: chance.gauss(0, 0.002))
    losses = [loss for stamp in jittered for loss in timeline.observe(stamp)] + timeline.close()
    error_ppm = (timeline.drift - drift) * 1e6
    results[f"drift of {drift * 1e6:+.0f} ppm"] = {
        "false_gaps": len(losses), "error_ppm": round(error_ppm, 3)
    }  # fmt: skip
    assert losses == []
    assert abs(error_ppm) <= 5
