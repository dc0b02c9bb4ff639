"""A card that fills up: what is stored stays exact, what is not is a gap, and it goes on later."""

from pathlib import Path

from support.numbered_source import NumberedSource, VirtualClock, account, stretches

from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.disk.findings import Findings
from edge_probe.disk.room import Limits, Room
from edge_probe.source.ring import Ring

RATE = 1000
BLOCK = 100
MONO = Format(RATE, 1, 4)
FLOOR = 10**9
PLENTY = 10**12


class Recording:
    """The real writer, store and room; only the free space of the disk is told."""

    def __init__(self, state: Path, keep: str) -> None:
        self.state = state
        self.free = PLENTY
        self.clock = VirtualClock()
        ring = Ring(30 * RATE, MONO.frame_bytes)
        self.source = NumberedSource(ring, self.clock, RATE, BLOCK)
        self.room = Room(
            state, Limits(keep, PLENTY, FLOOR), self.clock, Findings(state / "detections.sqlite"),
            free=lambda _: self.free,
        )  # fmt: skip
        self.writer = Writer(
            ring, MONO, "numbered", segment_s=5.0, clock=self.clock,
            open_store=lambda safe: Store(state, self.clock, safe, make_room=self.room.make),
        )  # fmt: skip

    def record(self, seconds: int) -> None:
        for _ in range(seconds * RATE // BLOCK):
            self.source.deliver()
            assert self.writer.step()


def test_full_for_less_than_the_ring_holds_costs_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "all")
    recording.record(12)
    recording.free = 0
    recording.record(10)
    recording.free = PLENTY
    recording.record(30)
    assert recording.writer.end("schedule")
    assert account(tmp_path) == [(52_000, -1, "schedule")]


def test_full_for_long_is_one_gap_and_then_it_goes_on(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "all")
    recording.record(12)
    recording.free = FLOOR
    recording.record(300)
    assert recording.room.is_full
    recording.free = PLENTY
    recording.record(60)
    assert not recording.room.is_full
    assert recording.writer.end("schedule")
    full, after = account(tmp_path)
    assert full[0] == 15_000
    assert full[2] == "disk"
    assert 280_000 <= full[1] <= 300_000
    assert after == (372_000, -1, "schedule")


def test_full_at_the_end_is_said_at_the_end(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "all")
    recording.record(12)
    recording.free = 0
    recording.record(30)
    assert recording.writer.end("schedule")
    assert account(tmp_path) == [(15_000, 27_000, "disk"), (42_000, -1, "schedule")]


def test_a_loss_within_a_full_card_keeps_its_cause(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "all")
    recording.record(12)
    recording.free = 0
    recording.record(60)
    recording.source.lose(7_000)
    recording.record(60)
    assert recording.writer.end("schedule")
    causes = [(first, n, cause) for first, n, cause in account(tmp_path)]
    assert causes == [
        (15_000, 57_000, "disk"), (72_000, 7_000, "stall"), (79_000, 60_000, "disk"),
        (139_000, -1, "schedule"),
    ]  # fmt: skip


def test_below_the_floor_the_oldest_makes_room_for_the_newest(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "detections")
    recording.record(32)
    recording.free = FLOOR
    recording.record(20)
    assert recording.writer.end("schedule")
    rows = list(stretches(tmp_path, 1))
    assert [cause for *_, cause, _ in rows if cause] == ["schedule"]
    there = [(tmp_path / "audio" / str(name)).exists() for *_, cause, name in rows if not cause]
    assert there == [False] * 4 + [True] * 7
