"""A month on a small card: 384 kHz in sparse segments, then minutes of real bytes, on real ext4."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

import pytest
from support.numbered_source import VirtualClock

from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store, Timing
from edge_probe.disk.findings import Findings
from edge_probe.disk.reserve import NAME, RESERVE_BYTES, free_bytes
from edge_probe.disk.room import Limits, Room
from edge_probe.source.wav import HEADER_BYTES

BAT = Format(384_000, 1, 2)
MIB = 1 << 20
IMAGE_BYTES = 64 * MIB


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4 to make a small card")
    mount = tmp_path / "card"
    mount.mkdir()
    memory = Path("/dev/shm")
    with NamedTemporaryFile(dir=memory if memory.is_dir() else tmp_path) as image:
        image.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image.name], check=True)
        done = subprocess.run(
            ["mount", "-o", "loop", image.name, mount], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"needs a loop device: {done.stderr.strip()}")
        try:
            yield mount
        finally:
            subprocess.run(["umount", mount], check=True)


class Card:
    """A store with limits, and the most that was there at the end of a segment."""

    def __init__(
        self,
        state: Path,
        limits: Limits,
        segment_s: float,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self.state = state
        self.clock = VirtualClock()
        self.limits = limits
        self.n_frames = round(segment_s * BAT.rate_hz)
        findings = Findings(state / "detections.sqlite")
        self.free = free
        room = Room(state, limits, self.clock, findings, free=free)
        self.store = Store(state, self.clock, make_room=room.make)
        self.store.begin_stream("card", BAT, self.clock.now_ns)
        self.n_segments = 0

    @property
    def segment_bytes(self) -> int:
        return HEADER_BYTES + self.n_frames * BAT.frame_bytes

    def record(self, data: bytes | None) -> None:
        """One segment; None: a sparse one."""
        timing = Timing(0, self.clock.now_ns, 0.0)
        first_frame = self.n_segments * self.n_frames
        segment = self.store.begin_segment(first_frame, self.n_frames, timing)
        assert segment is not None
        if data is None:
            os.ftruncate(segment._fd, self.segment_bytes)
            segment.n_frames = self.n_frames
        else:
            segment.write(data)
        self.n_segments += 1
        self.clock.now_ns += round(self.n_frames / BAT.rate_hz * 1e9)
        assert self.used() <= self.limits.quota_bytes + self.segment_bytes
        assert self.free(self.state) >= self.limits.floor_bytes - self.segment_bytes

    def used(self) -> int:
        found = 0
        for folder, _, names in os.walk(self.state):
            found += sum((Path(folder) / name).stat().st_size for name in names)
        return found

    def end(self) -> None:
        self.store.end_stream(self.n_segments * self.n_frames, "schedule", Timing(0, 0, 0.0))

    def check_books(self) -> None:
        """Each segment is there, or its deletion is noted; never both, never neither."""
        db = self.store._ledger.connection
        names = {name for (name,) in db.execute("SELECT name FROM segment")}
        gone = {name for (name,) in db.execute("SELECT name FROM deletion")}
        there = {path.name for path in (self.state / "audio").iterdir()}
        assert len(names) == self.n_segments
        assert there == names - gone
        assert gone
        assert sorted(names)[: len(gone)] == sorted(gone), "oldest first"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def test_thirty_days_of_sparse_segments(card: Path) -> None:
    """Sparse files fill no card: of these two, only the quota is at work."""
    quota = 60 * 10**9
    limits = Limits("sample+detections", quota, 8 * MIB)
    with Card(card, limits, 5000, lambda _: 10**12) as month:
        while month.clock.now_ns < 30 * 86_400 * 10**9:
            month.record(None)
        month.end()
        month.check_books()
        assert month.used() > quota - 3 * month.segment_bytes, "no more went than had to"


def test_ten_minutes_of_real_bytes(card: Path) -> None:
    quota = 40 * MIB
    with Card(card, Limits("detections", quota, 4 * MIB), 8) as minutes:
        data = os.urandom(minutes.n_frames * BAT.frame_bytes)
        while minutes.n_segments < 75:
            minutes.record(data)
        minutes.end()
        minutes.check_books()
        assert minutes.used() > quota - 3 * minutes.segment_bytes


def test_a_floor_rules_where_the_quota_allows_more_than_there_is(card: Path) -> None:
    with Card(card, Limits("detections", 10**12, 16 * MIB), 4) as minutes:
        data = os.urandom(minutes.n_frames * BAT.frame_bytes)
        while minutes.n_segments < 40:
            minutes.record(data)
        minutes.end()
        minutes.check_books()
        db = minutes.store._ledger.connection
        assert {reason for (reason,) in db.execute("SELECT reason FROM deletion")} == {"floor"}
        assert (card / NAME).stat().st_size == RESERVE_BYTES
