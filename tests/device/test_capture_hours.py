"""The recorder and its schedule: what is off is off, and what is missing has its cause."""

import csv
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.numbered_source import NumberedSource, VirtualClock, account, stretches

from edge_probe.alive.notify import Notifier
from edge_probe.alive.status import read_status
from edge_probe.capture import recorder as module
from edge_probe.capture.recorder import DiskThread, Opened, Recorder, Wanted
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import ring_for
from edge_probe.clock import Clock
from edge_probe.deployment.effort import write_effort
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.room import Limits
from edge_probe.disk.sample import Design
from edge_probe.errors import DeviceError
from edge_probe.health.identity import Device
from edge_probe.schedule.calendar import Schedule
from edge_probe.schedule.hours import Hours
from edge_probe.schedule.table import parse_table
from edge_probe.station import Orders, Station

RATE = 1000
TICK_S = 0.2
DAWN_AND_DUSK = {"on": ["05:00 to 05:10", "18:00 to 18:10"]}
A_MINUTE_OF_TEN = {"record_s": 60, "every_s": 600}
UTC_OFFSET = timedelta(hours=1)


class Disk(DiskThread):
    """Steps when it is told to."""

    def start(self) -> None: ...

    def is_alive(self) -> bool:
        return not self._stopping

    def stop(self) -> None:
        super().stop()
        self.run()


class Microphone:
    """Numbered frames at the pace of the clock."""

    def __init__(self, clock: VirtualClock, wanted: Wanted) -> None:
        self.format = Format(RATE, 1, wanted.sample_bytes)
        self.ring = ring_for(self.format)
        self.source = NumberedSource(self.ring, clock, RATE, round(TICK_S * RATE))
        self.is_lost = False

    def lost(self, _silent_s: float) -> str | None:
        return "pulled out" if self.is_lost else None

    def close(self) -> None: ...


class Deaf:
    """A watch that looks at nothing."""

    def opened(self, device: Device, format_: Format) -> None: ...
    def closed(self) -> None: ...
    def lost(self) -> str | None: ...
    def feed(self, frames: memoryview) -> None: ...


class Bench:
    """A recorder in one boot, in virtual time, without threads."""

    def __init__(
        self, state: Path, at: str, table: dict[str, object] | None, *,
        boot: str = "first", trust: str = "rtc", up_s: int = 1,
    ) -> None:  # fmt: skip
        utc_ns, up_ns = round(datetime.fromisoformat(at).timestamp() * 1e9), up_s * 10**9
        self.clock = VirtualClock(up_ns, utc_ns - up_ns, trusted=trust, kernel_id=boot)
        self.is_plugged = True
        self.opened: list[Microphone] = []
        schedule = Schedule(parse_table("x", table), UTC_OFFSET) if table else None
        hours = Hours(schedule, self.clock) if schedule else None
        self.recorder = Recorder(
            Wanted(None, RATE, 1, 4, 600.0), self.clock,
            lambda remains: Store(state, self.clock, remains, hours=hours), Deaf(), self._open,
            hours,
        )  # fmt: skip
        self.recorder.start()

    def _open(self, wanted: Wanted, _clock: Clock) -> Opened:
        if not self.is_plugged:
            raise DeviceError("there is none", hint="plug one in")
        self.opened.append(microphone := Microphone(self.clock, wanted))
        return Opened(microphone, Device(0, "mic", 0, None), microphone.format)

    @property
    def microphone(self) -> Microphone | None:
        """The open one."""
        found = self.recorder._input
        assert found is None or isinstance(found, Microphone)
        return found

    def step(self) -> None:
        self.recorder.tick()
        self.recorder._disk.step()
        if self.microphone is not None:
            self.microphone.source.deliver()
        else:
            self.clock.now_ns += round(TICK_S * 1e9)

    def until(self, at: str) -> None:
        """Live to a moment, by the true time."""
        end_ns = round(datetime.fromisoformat(at).timestamp() * 1e9)
        while self.clock.utc_ns() < end_ns:
            self.step()

    def leap(self, at: str) -> None:
        """Off hours without a tick."""
        end_ns = round(datetime.fromisoformat(at).timestamp() * 1e9)
        self.clock.now_ns += end_ns - self.clock.utc_ns()

    def pull_out(self) -> None:
        self.is_plugged = False
        assert self.microphone is not None
        self.microphone.is_lost = True

    def stop(self) -> None:
        self.recorder.stop()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setattr(module, "DiskThread", Disk)
    return lambda *args, **more: Bench(tmp_path, *args, **more)


def gaps(state: Path) -> list[tuple[int, str, float | None]]:
    """Stream, cause and seconds of all gaps, in order."""
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        return [
            (stream, cause, n_frames and round(n_frames / RATE, 1))
            for stream, cause, n_frames in db.execute(
                "SELECT stream, cause, n_frames FROM gap ORDER BY stream, first_frame"
            )
        ]


def recorded_s(state: Path, stream: int) -> float:
    return sum(n or 0 for _, n, cause, _ in stretches(state, stream) if cause is None) / RATE


def effort(state: Path, column: str) -> float:
    """Sum of a column."""
    write_effort(StateFolder(state), "x", None)
    with (state / "effort.csv").open(encoding="utf-8") as file:
        return sum(float(row[column] or "nan") for row in csv.DictReader(file))


Made = Callable[..., Bench]


def test_a_duty_cycle_closes_the_microphone_and_every_second_is_accounted_for(
    bench: Made, tmp_path: Path
) -> None:
    made = bench("2026-05-01T00:00:00Z", A_MINUTE_OF_TEN)
    made.until("2026-05-01T00:05:00Z")
    assert made.recorder.state == "off hours"
    assert made.microphone is None
    made.until("2026-05-01T00:25:00Z")
    made.stop()
    assert len(made.opened) == 3
    for stream in (1, 2, 3):
        *_, last = account(tmp_path, stream)
        assert last[2] == "schedule"
        assert recorded_s(tmp_path, stream) == pytest.approx(60, abs=3 * TICK_S)
    whole_s = [recorded_s(tmp_path, n) + (gaps(tmp_path)[n - 1][2] or 0) for n in (1, 2)]
    assert whole_s == pytest.approx([600, 600], abs=3 * TICK_S)
    assert effort(tmp_path, "gap_s") == pytest.approx(0, abs=3 * TICK_S)
    assert effort(tmp_path, "scheduled_s") == pytest.approx(180, abs=6 * TICK_S)


def test_a_late_boot_in_on_hours_is_a_lack_of_power(bench: Made, tmp_path: Path) -> None:
    """A power board ended the morning in order, and came at 18:04 instead of 18:00."""
    morning = bench("2026-05-01T04:00:00Z", DAWN_AND_DUSK)
    morning.until("2026-05-01T04:10:30Z")
    morning.stop()
    evening = bench("2026-05-01T17:04:00Z", DAWN_AND_DUSK, boot="second")
    evening.until("2026-05-01T17:10:30Z")
    evening.stop()
    to_18h = 12 * 3600 + 50 * 60
    (_, off, off_s), (_, late, unknown), *_ = gaps(tmp_path)
    assert (off, late, unknown) == ("schedule", "power", None)
    assert off_s == pytest.approx(to_18h, abs=3 * TICK_S)
    assert effort(tmp_path, "gap_s") == pytest.approx(240, abs=3 * TICK_S)
    assert effort(tmp_path, "scheduled_s") == pytest.approx(1200, abs=6 * TICK_S)


def test_a_power_cut_costs_what_was_to_be_recorded_and_no_more(bench: Made, tmp_path: Path) -> None:
    morning = bench("2026-05-01T04:00:00Z", DAWN_AND_DUSK)
    morning.until("2026-05-01T04:06:00Z")
    evening = bench("2026-05-02T04:00:00Z", DAWN_AND_DUSK, boot="second")
    evening.until("2026-05-02T04:01:00Z")
    evening.stop()
    *found, _ = gaps(tmp_path)
    assert [cause for _, cause, _ in found] == ["power", "schedule", "power", "schedule"]
    assert [lost_s for *_, lost_s in found[1:]] == [12 * 3600 + 50 * 60, 600, None]
    assert effort(tmp_path, "gap_s") == pytest.approx(240 + 600, abs=6)


def test_without_a_clock_all_is_recorded_and_said(
    bench: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It boots in off hours; network time comes after two minutes, and shows what was missed."""
    morning = bench("2026-05-01T04:00:00Z", DAWN_AND_DUSK)
    morning.until("2026-05-01T04:06:00Z")
    noon = bench("2026-05-01T11:00:00Z", DAWN_AND_DUSK, boot="second", trust="unset")
    noon.until("2026-05-01T11:02:00Z")
    assert noon.recorder.state == "recording"
    assert sum("the clock is not set" in r.getMessage() for r in caplog.records) == 1
    assert gaps(tmp_path) == [(1, "power", None)]
    noon.clock.trusted = "ntp"
    noon.until("2026-05-01T11:02:02Z")
    assert noon.recorder.state == "off hours"
    (_, first, lost_s), (_, second, unknown), *_ = gaps(tmp_path)
    assert (first, second, unknown) == ("power", "schedule", None)
    assert lost_s == pytest.approx(240, abs=6)
    noon.clock.trusted = "unset"  # 9 hours later the kernel calls it unsynchronised
    noon.leap("2026-05-01T16:59:59Z")
    noon.until("2026-05-01T17:10:02Z")
    assert len(noon.opened) == 2
    assert noon.recorder.state == "off hours"
    noon.stop()
    assert recorded_s(tmp_path, 3) == pytest.approx(600, abs=3 * TICK_S)


def test_a_microphone_that_is_missing_when_hours_begin_is_missing_not_off(
    bench: Made, tmp_path: Path
) -> None:
    made = bench("2026-05-01T04:09:00Z", DAWN_AND_DUSK)
    made.until("2026-05-01T04:11:00Z")
    made.is_plugged = False
    made.leap("2026-05-01T16:59:59Z")
    made.until("2026-05-01T17:00:01Z")
    assert made.recorder.state == "no microphone"
    assert [cause for _, cause, _ in gaps(tmp_path)] == ["schedule", "device"]
    made.until("2026-05-01T17:11:00Z")
    assert made.recorder.state == "off hours"
    made.leap("2026-05-02T03:59:59Z")
    made.is_plugged = True
    made.until("2026-05-02T04:00:30Z")
    made.stop()
    (_, lost, lost_s), *rest = [gap for gap in gaps(tmp_path) if gap[0] == 1][1:]
    assert lost == "device"
    assert lost_s == pytest.approx(600, abs=1)
    assert [cause for _, cause, _ in rest] == ["schedule"]


def test_a_microphone_lost_in_on_hours_is_not_missed_in_off_hours(
    bench: Made, tmp_path: Path
) -> None:
    made = bench("2026-05-01T04:00:00Z", DAWN_AND_DUSK)
    made.until("2026-05-01T04:08:00Z")
    made.pull_out()
    made.until("2026-05-01T04:11:00Z")
    made.leap("2026-05-01T16:00:00Z")
    made.stop()
    (_, cause, lost_s), (_, off, _), *rest = gaps(tmp_path)
    assert (cause, off) == ("device", "schedule")
    assert lost_s == pytest.approx(120, abs=1)
    assert all(cause == "schedule" for _, cause, _ in rest)


def test_a_stop_in_on_hours_was_not_planned(bench: Made, tmp_path: Path) -> None:
    first = bench("2026-05-01T04:00:00Z", DAWN_AND_DUSK)
    first.until("2026-05-01T04:02:00Z")
    first.stop()
    second = bench("2026-05-01T04:05:00Z", DAWN_AND_DUSK, up_s=301)
    second.until("2026-05-01T04:06:00Z")
    second.stop()
    assert [cause for _, cause, _ in gaps(tmp_path)] == ["power", "schedule"]
    assert gaps(tmp_path)[0][2] == pytest.approx(180, abs=2)


def test_a_deployment_that_lay_about_all_winter_is_not_cut_into_turns(
    bench: Made, tmp_path: Path
) -> None:
    autumn = bench("2026-05-01T00:00:00Z", A_MINUTE_OF_TEN)
    autumn.until("2026-05-01T00:01:30Z")
    autumn.stop()
    spring = bench("2026-06-02T00:00:00Z", A_MINUTE_OF_TEN, boot="second")
    spring.until("2026-06-02T00:00:30Z")
    spring.stop()
    assert gaps(tmp_path)[0] == (1, "schedule", None)
    assert len(gaps(tmp_path)) == 2


def test_a_month_without_power_is_cut_in_one_go(bench: Made, tmp_path: Path) -> None:
    before = bench("2026-05-01T00:00:00Z", A_MINUTE_OF_TEN)
    before.until("2026-05-01T00:00:30Z")
    after = bench("2026-05-31T00:00:00Z", A_MINUTE_OF_TEN, boot="second")
    after.until("2026-05-31T00:00:30Z")
    after.stop()
    found = gaps(tmp_path)
    assert len(found) == 2 * 30 * 144 + 1
    lost_s = sum(s or 0 for _, cause, s in found if cause == "power")
    assert lost_s == pytest.approx(30 * 144 * 60 - 30, abs=6)


def test_without_a_schedule_nothing_is_cut(bench: Made, tmp_path: Path) -> None:
    first = bench("2026-05-01T04:00:00Z", None)
    first.until("2026-05-01T04:02:00Z")
    first.stop()
    second = bench("2026-05-01T17:00:00Z", None, boot="second")
    second.until("2026-05-01T17:00:30Z")
    second.stop()
    assert gaps(tmp_path) == [(1, "schedule", None), (2, "schedule", None)]


def test_a_station_in_off_hours_is_alive_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd hears that it is ready, and no watchdog bites for want of frames."""
    monkeypatch.setattr(module, "DiskThread", Disk)
    clock = VirtualClock()  # 22:13 UTC
    orders = Orders(
        Wanted(None, RATE, 1, 4, 5.0), Limits("all", 10**15, 0), Design(1, 5.0, 0.1), flac=False,
        gain_db=None, private_margin_s=None, classifier=None, deployment_id="forest",
        schedule=Schedule(parse_table("x", DAWN_AND_DUSK), UTC_OFFSET),
    )  # fmt: skip
    station = Station(StateFolder(tmp_path), orders, clock)
    station._recorder.start()
    heard: list[str] = []
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        with Notifier(environ, clock) as notifier:
            for _ in range(120):
                clock.now_ns += 10**9
                station._tick(notifier)
                with suppress(BlockingIOError):
                    while True:
                        heard.append(systemd.recv(4096).decode())
    assert heard.count("READY=1") == 1
    assert heard.count("WATCHDOG=1") == 12
    assert "STATUS=off hours, 0.0 h recorded" in heard
    written = read_status(tmp_path)
    assert written is not None
    assert (written.status.state, written.status.alarms) == ("off hours", ())
    unset = VirtualClock(trusted="unset")
    assert Station(StateFolder(tmp_path), orders, unset)._alarms == ("clock_not_set",)
