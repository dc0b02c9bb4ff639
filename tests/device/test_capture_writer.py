"""From the ring to the disk: every frame in a segment or in a gap, whatever happens."""

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_ledger import MadeState
from support.numbered_source import NumberedSource, VirtualClock, account, stretches

from edge_probe.capture.recovery import Remains, recover
from edge_probe.capture.segment import PART, Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import SYNC_S, Writer
from edge_probe.source.ring import Ring
from edge_probe.source.wav import HEADER_BYTES

RATE = 1000
BLOCK = 100
MONO = Format(RATE, 1, 4)


class Recording:
    """A source, a ring and a writer in a state folder."""

    def __init__(self, state: Path, *, ring_s: float = 33.0, segment_s: float = 5.0) -> None:
        self.state = state
        self.clock = VirtualClock()
        self.ring = Ring(round(ring_s * RATE), MONO.frame_bytes)
        self.source = NumberedSource(self.ring, self.clock, RATE, BLOCK)
        self.open: Callable[..., Store] = lambda safe: Store(state, self.clock, safe)
        self.writer = self.new_writer(segment_s)

    def new_writer(self, segment_s: float = 5.0) -> Writer:
        return Writer(
            self.ring, MONO, "numbered", segment_s=segment_s,
            open_store=lambda safe: self.open(safe), clock=self.clock,
        )  # fmt: skip

    def record(self, n_blocks: int) -> None:
        for _ in range(n_blocks):
            self.source.deliver()
            self.writer.step()

    def end(self, cause: str = "schedule") -> None:
        assert self.writer.end(cause)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_segments_follow_each_other_without_a_seam(recording: Recording) -> None:
    recording.record(123)
    recording.end()
    assert account(recording.state) == [(12300, -1, "schedule")]
    sizes = [n for _, n, cause, _ in stretches(recording.state, 1) if not cause]
    assert sizes == [5000, 5000, 2300]


def test_an_hour_that_no_wav_file_holds_is_more_files(tmp_path: Path) -> None:
    """384 kHz, 8 channels of 32 bits: 12 MB a second."""
    format_, clock = Format(384_000, 8, 4), VirtualClock()
    ring = Ring(38_400, format_.frame_bytes)
    writer = Writer(
        ring, format_, "wide", segment_s=3600, clock=clock,
        open_store=lambda safe: Store(tmp_path, clock, safe),
    )  # fmt: skip
    ring.push(bytes(38_400 * format_.frame_bytes), clock.now_ns)
    assert writer.step()
    (part,) = (tmp_path / "audio").iterdir()
    n_riff, n_data = struct.unpack("<4xI32xI", part.read_bytes()[:HEADER_BYTES])
    assert n_data == 2**32 - 64  # whole frames
    assert n_riff == n_data + 36
    assert writer.end("schedule")


def test_a_file_has_its_name_only_when_it_is_safe(recording: Recording) -> None:
    recording.record(70)
    audio = recording.state / "audio"
    assert len(list(audio.glob("*.wav"))) == 1
    assert len(list(audio.glob(f"*{PART}"))) == 1
    recording.end()
    assert not list(audio.glob(f"*{PART}"))


@pytest.mark.parametrize("name", ["00001-{0}-000000000000_x.wav.part", "00001-000001-{0}_x.wav"])
def test_a_name_with_absurd_numbers_is_not_ours(recording: Recording, name: str) -> None:
    recording.record(3)
    recording.end()
    (recording.state / "audio" / name.format(10**20)).write_bytes(bytes(100))
    Store(recording.state, recording.clock).close()
    assert account(recording.state) == [(300, -1, "schedule")]


def test_frames_the_card_lost_are_booked_where_they_were(recording: Recording) -> None:
    recording.record(300)
    recording.source.lose(777)
    recording.record(300)
    recording.end()
    assert account(recording.state) == [(30000, 777, "stall"), (60777, -1, "schedule")]


def test_a_disk_that_stands_still_for_less_than_the_ring_costs_nothing(
    recording: Recording,
) -> None:
    recording.record(50)
    recording.source.deliver(290)
    recording.record(50)
    recording.end()
    assert account(recording.state) == [(39000, -1, "schedule")]


def test_a_disk_that_stands_still_for_longer_costs_the_excess(tmp_path: Path) -> None:
    recording = Recording(tmp_path, ring_s=10)
    recording.record(30)
    recording.source.deliver(150)
    recording.record(50)
    recording.end()
    (lost, after) = account(recording.state)
    assert lost[2] == "disk"
    held_s = 10 + SYNC_S  # the ring, and what was not safe yet when it stopped
    assert 15 * RATE - held_s * RATE <= lost[1] <= 15 * RATE - (10 - SYNC_S) * RATE
    assert after == (23000, -1, "schedule")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_frame_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    recording = Recording(tmp_path_factory.mktemp("state"), ring_s=8)
    recording.record(25)
    for _ in range(data.draw(st.integers(1, 8))):
        match data.draw(st.sampled_from(("lose", "stand still", "record", "fail"))):
            case "lose":
                recording.source.lose(data.draw(st.integers(260, 20_000)))
                recording.record(15)
            case "stand still":
                recording.source.deliver(data.draw(st.integers(1, 120)))
            case "record":
                recording.record(data.draw(st.integers(1, 80)))
            case _:
                _fail_once(recording, data.draw(st.integers(1, 40)))
    recording.record(30)
    recording.end()
    *gaps, last = account(recording.state)
    assert last == (recording.source.next_frame, -1, "schedule")
    assert all(cause in ("stall", "disk") for _, _, cause in gaps)


def _fail_once(recording: Recording, n_blocks: int) -> None:
    """The disk refuses everything for some blocks, then is well again."""
    store, opened = recording.writer._store, recording.open
    if store is None:
        return

    def refuse(*_: object) -> Store:
        raise sqlite3.OperationalError("disk I/O error")

    recording.open = refuse
    recording.writer._give_up()
    recording.record(n_blocks)
    recording.open = opened


def test_a_drift_fitted_last_counts_for_the_gap_and_not_for_the_months_before(
    tmp_path: Path,
) -> None:
    first = Recording(tmp_path)
    first.record(7000)
    first.end("device")
    with sqlite3.connect(tmp_path / "capture.sqlite") as db:
        db.execute("UPDATE stream SET drift = 2e-4")  # 700 s of it would be 140 frames
    second = Recording(tmp_path)
    second.clock.now_ns = first.clock.now_ns + 10 * 10**9
    second.source = NumberedSource(second.ring, second.clock, RATE, BLOCK)
    second.record(30)
    second.end()
    *_, (_, lost, cause) = account(tmp_path, 1)
    assert cause == "device"
    assert abs(lost - 10 * RATE) <= 4


def test_blocks_that_a_power_cut_kept_from_the_card_are_no_audio(recording: Recording) -> None:
    """ext4 may show the size that a file was to have, and zeros in place of its last blocks."""
    recording.record(40)
    (part,) = (recording.state / "audio").glob(f"*{PART}")
    kept = part.read_bytes()[:4096]
    part.write_bytes(kept)
    os.truncate(part, 3 * 4096)
    Store(recording.state, recording.clock).close()
    n_frames = (4096 - HEADER_BYTES) // MONO.frame_bytes
    assert next(stretches(recording.state, 1))[:2] == (0, n_frames)
    (path,) = (recording.state / "audio").iterdir()
    assert path.read_bytes()[HEADER_BYTES:] == kept[HEADER_BYTES:]


def test_opening_costs_the_same_after_months(tmp_path: Path) -> None:
    """Counted in steps of SQLite's virtual machine."""
    made = MadeState(tmp_path)
    made.reboot()
    (tmp_path / "audio").mkdir()
    stream = made.stream(opened_ns=0)
    steps = []
    for n in range(3000):
        made.segment(stream, n * RATE, RATE)
        if n in (30, 2999):
            steps.append(0)

            def count() -> None:
                steps[-1] += 1

            made.ledger.connection.set_progress_handler(count, 10)
            recover(tmp_path / "audio", made.ledger, Remains())
            made.ledger.last_stretch(stream)
            made.ledger.connection.set_progress_handler(None, 0)
    assert steps[1] <= steps[0] < 50
