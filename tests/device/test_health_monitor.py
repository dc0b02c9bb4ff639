"""Health as the recorder sees it: rows that reach the ledger with its own transactions."""

import sqlite3
from collections import deque
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device.test_capture_writer import Recording
from support.fake_alsa import FakeAlsa
from support.numbered_source import VirtualClock
from support.pages import of_page

from edge_probe.capture import recorder as capture_recorder
from edge_probe.capture.recorder import Wanted
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.errors import DeviceError
from edge_probe.health.identity import Device, devices, match
from edge_probe.health.mixer import Mixer
from edge_probe.health.monitor import MINUTE_NS, MOST_REOPEN_S, REOPEN_S, Monitor
from edge_probe.health.row import Alarm, Row

RATE = 1000
MONO = Format(RATE, 1, 2)


class Recorder:
    """A monitor of a fake machine, fed in virtual time."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.clock = VirtualClock()
        self.alsa = FakeAlsa(folder)
        self.alsa.plug(1, "Device", "USB PnP Sound Device", "0d8c:0014")
        self.alsa.run(1, RATE, "S16_LE")
        self.alsa.mixer(agc="off")
        mixer = Mixer(12.0, amixer=str(self.alsa.amixer))
        self.monitor = Monitor(self.state, self.clock, mixer, root=self.alsa.root)
        self._noise = np.random.default_rng(0)

    def device(self, name: str = "USB Audio: - (hw:1,0)") -> Device:
        (found,) = devices([(0, name)], self.alsa.root)
        return found

    def hear(self, seconds: int, rms: float = 100) -> None:
        for _ in range(seconds):
            self.clock.now_ns += 10**9
            self.monitor.feed((self._noise.normal(size=RATE) * rms).astype("<i2").tobytes())
            self.monitor.step()

    def names(self) -> list[str]:
        found = [row.name for row in self.monitor.waiting]
        self.monitor.waiting.clear()
        return found


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def test_a_minute_gives_rows_of_everything(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    assert recorder.names() == [
        "gain.Mic,0", "gain_percent.Mic,0", "agc.Auto Gain Control,0", "alsa_rate", "alsa_bits"
    ]  # fmt: skip
    (recorder.state / "health.d").mkdir()
    (recorder.state / "health.d/battery").write_text("battery 12.6 V\n")
    recorder.hear(59)
    assert recorder.names() == []
    recorder.hear(1)
    found = recorder.names()
    assert {"rms.0", "floor_250_hz.0", "disk_free", "user.battery"} <= set(found)
    assert not [name for name in found if name.startswith("alarm.")]
    recorder.hear(60)
    assert "rms.0" in recorder.names()


def test_an_alarm_of_the_opening_is_repeated_every_minute_until_it_is_opened_well(
    recorder: Recorder,
) -> None:
    recorder.alsa.mixer(stubborn="yes", raw=0)
    recorder.monitor.opened(recorder.device(), Format(RATE, 1, 3))
    assert [n for n in recorder.names() if n[:5] == "alarm"] == ["alarm.gain", "alarm.format"]
    recorder.hear(60)
    assert {"alarm.gain", "alarm.format"} <= set(recorder.names())
    recorder.alsa.mixer(stubborn="no")
    recorder.monitor.opened(recorder.device(), MONO)
    assert not recorder.monitor.alarms
    recorder.hear(60)
    assert not [name for name in recorder.names() if name.startswith("alarm.")]


def test_a_dead_microphone_is_told_within_seconds(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(10)
    recorder.names()
    died_ns = recorder.clock.now_ns
    recorder.hear(6, rms=0)
    assert recorder.monitor.dead_since_ns == died_ns
    assert recorder.names() == ["alarm.dead_microphone"]
    assert [alarm.name for alarm in recorder.monitor.alarms] == ["dead_microphone"]
    recorder.hear(1)
    assert recorder.monitor.dead_since_ns is None
    assert not recorder.monitor.alarms


def reopen(recorder: Recorder, device: Device) -> None:
    recorder.monitor.closed()
    recorder.monitor.opened(device, MONO)


def test_a_dead_microphone_is_to_be_opened_anew_and_stays_an_alarm_until_it_lives(
    recorder: Recorder,
) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(10)
    died_ns = recorder.clock.now_ns
    recorder.hear(int(REOPEN_S) - 1, rms=0)
    assert recorder.monitor.lost() is None
    recorder.hear(1, rms=0)
    assert recorder.monitor.lost() == "every sample has had the same value for 15 s"
    recorder.names()
    reopen(recorder, recorder.device())
    assert recorder.monitor.lost() is None
    recorder.monitor.step()
    assert recorder.monitor.dead_since_ns == died_ns
    assert [alarm.name for alarm in recorder.monitor.alarms] == ["dead_microphone"]
    recorder.hear(3, rms=0)
    assert not [name for name in recorder.names() if name.startswith("alarm.")]  # told already
    recorder.monitor.closed()
    recorder.clock.now_ns += MINUTE_NS
    recorder.monitor.step()
    assert "alarm.dead_microphone" in recorder.names()
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(1)
    assert recorder.monitor.dead_since_ns is None
    assert not recorder.monitor.alarms


def test_an_input_that_is_silent_by_right_is_hardly_disturbed(recorder: Recorder) -> None:
    device = recorder.device("pulse")
    recorder.monitor.opened(device, MONO)
    opened_ns, reopened_s = recorder.clock.now_ns, []

    def hear(seconds: int, rms: float = 0) -> None:
        nonlocal opened_ns
        for _ in range(seconds):
            recorder.hear(1, rms)
            if recorder.monitor.lost():
                reopened_s.append((recorder.clock.now_ns - opened_ns) / 1e9)
                opened_ns = recorder.clock.now_ns
                reopen(recorder, device)

    hear(3600)
    assert reopened_s == [15, 30, 60, 120, 240, 480, 600, 600, 600, 600]

    reopened_s.clear()
    for _ in range(5):  # a gate that opens for a minute now and then
        hear(60, rms=100)
        hear(120)
    assert reopened_s == []
    hear(int(MOST_REOPEN_S) + 1, rms=100)
    opened_ns = recorder.clock.now_ns
    hear(100)
    assert reopened_s == [15, 30]


def test_a_disk_that_hangs_does_not_make_a_microphone_dead(recorder: Recorder) -> None:
    """Its thread is the one that looks at the sound."""
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(2, rms=0)
    recorder.clock.now_ns += 60 * 10**9
    recorder.monitor.step()
    assert recorder.monitor.lost() is None


def test_another_card_behind_an_open_device_is_seen_within_seconds(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(5)
    assert recorder.monitor.lost() is None
    recorder.alsa.unplug(1)
    recorder.alsa.plug(1, "r4", "AudioMoth", "16d0:06f3", port="1-1.4")
    recorder.hear(1)
    assert recorder.monitor.lost() is None
    recorder.hear(1)
    assert "is now usb:16d0:06f3@1-1.4" in (recorder.monitor.lost() or "")
    recorder.monitor.closed()
    assert recorder.monitor.lost() is None


def test_a_driver_that_closed_an_open_device_is_seen_within_seconds(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(5)
    recorder.alsa.stop(1)
    recorder.hear(2)
    assert "does not have it open any more" in (recorder.monitor.lost() or "")
    reopen(recorder, recorder.device())  # a kernel that never told is believed
    recorder.hear(5)
    assert recorder.monitor.lost() is None


def test_another_card_than_was_chosen_is_refused(recorder: Recorder) -> None:
    chosen = recorder.device()
    recorder.alsa.unplug(1)
    recorder.alsa.plug(1, "r4", "AudioMoth", "16d0:06f3", port="1-1.4")
    with pytest.raises(DeviceError, match=r"is now usb:16d0:06f3@1-1\.4"):
        recorder.monitor.opened(chosen, MONO)


def test_a_device_without_a_card_is_watched_by_its_samples(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device("pulse"), MONO)
    assert recorder.names() == []
    recorder.hear(60)
    assert "rms.0" in recorder.names()


def test_while_nothing_is_open_the_board_is_watched(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    recorder.hear(10)
    recorder.monitor.closed()
    recorder.names()
    recorder.hear(60, rms=0)
    assert recorder.monitor.dead_since_ns is None
    assert recorder.names() == ["disk_free"]


def test_what_waits_is_bounded(recorder: Recorder) -> None:
    recorder.monitor.opened(recorder.device(), MONO)
    for _ in range(800):
        recorder.clock.now_ns += MINUTE_NS
        recorder.hear(1)
    assert len(recorder.monitor.waiting) == recorder.monitor.waiting.maxlen
    assert recorder.monitor.waiting[-1].monotonic_ns == recorder.clock.now_ns


def stored(state: Path) -> list[tuple]:
    with sqlite3.connect(f"file:{state}/capture.sqlite?mode=ro", uri=True) as db:
        return db.execute("SELECT * FROM health").fetchall()


def test_rows_go_with_the_next_transaction_and_wait_for_one_that_failed(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = recorder.monitor.waiting
    store = Store(recorder.state, recorder.clock, health=waiting)
    waiting.append(Row(1, "rms.0", -20.5, "dBFS"))
    assert stored(recorder.state) == []
    store.begin_stream("numbered", MONO, 10**9)
    assert stored(recorder.state) == [(1, 1, "rms.0", -20.5, "dBFS", "")]
    assert not waiting
    waiting.append(Alarm("hot", "too hot", "shade").row(2))

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as failing:
        failing.setattr(store._ledger, "put_gap", fail)
        with pytest.raises(sqlite3.OperationalError):
            store.gap(0, 10, "stall")
    assert len(waiting) == 1
    store.abandon()
    store = Store(recorder.state, recorder.clock, health=waiting)
    store.continue_stream(1, "numbered", MONO, 10**9, 0)
    store.gap(0, 10, "stall")
    store.close()
    assert stored(recorder.state)[1:] == [(1, 2, "alarm.hot", 1, "1", "too hot; shade")]
    assert not waiting


def test_rows_that_come_during_a_transaction_go_with_the_next_one(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread finds them, the thread of the disk keeps them."""
    waiting = recorder.monitor.waiting
    store = Store(recorder.state, recorder.clock, health=waiting)
    keep = store._ledger.add_health

    def keep_while_more_comes(boot: int, rows: Iterable[Row]) -> None:
        keep(boot, rows)
        waiting.append(Row(2, "rms.0", -21, "dBFS"))

    waiting.append(Row(1, "rms.0", -20, "dBFS"))
    with monkeypatch.context() as busy:
        busy.setattr(store._ledger, "add_health", keep_while_more_comes)
        store.begin_stream("numbered", MONO, 10**9)
    assert [row.monotonic_ns for row in waiting] == [2]
    store.gap(0, 10, "stall")
    assert [row[1] for row in stored(recorder.state)] == [1, 2]
    store.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_that_no_database_holds_cannot_be_made(value: float) -> None:
    with pytest.raises(ValueError, match="is not finite"):
        Row(0, "x", value, "V")


def test_rows_that_come_during_a_transaction_wait_for_the_next(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread adds them, the thread of the disk takes them."""
    waiting = recorder.monitor.waiting
    store = Store(recorder.state, recorder.clock, health=waiting)
    store.begin_stream("numbered", MONO, 10**9)
    waiting.append(Row(1, "rms.0", -20.5, "dBFS"))
    put_gap = store._ledger.put_gap

    def put_gap_slowly(*row: Any) -> None:
        waiting.append(Row(2, "rms.0", -20.5, "dBFS"))
        put_gap(*row)

    with monkeypatch.context() as slow:
        slow.setattr(store._ledger, "put_gap", put_gap_slowly)
        store.gap(0, 10, "stall")
    assert [row[1] for row in stored(recorder.state)] == [1]
    assert [row.monotonic_ns for row in waiting] == [2]
    store.keep_health()
    assert [row[1] for row in stored(recorder.state)] == [1, 2]
    store.close()


def test_without_a_stream_health_reaches_the_disk_all_the_same(recorder: Recorder) -> None:
    waiting, clock = recorder.monitor.waiting, recorder.clock
    fails = False

    def open_store(remains: Remains) -> Store:
        if fails:
            raise sqlite3.OperationalError("disk I/O error")
        return Store(recorder.state, clock, remains, health=waiting)

    wanted = Wanted(None, RATE, 1, 2, 60.0)
    capture = capture_recorder.Recorder(wanted, clock, open_store, recorder.monitor)
    for minute in range(1, 41):
        clock.now_ns += MINUTE_NS
        waiting.append(Row(clock.now_ns, "soc_temperature", 50, "degC"))
        fails = 15 <= minute < 25
        capture._disk.step()
        assert (capture.state == "disk fails") == (20 <= minute < 30)
    assert len(stored(recorder.state)) == 40
    waiting.append(Row(clock.now_ns + 1, "soc_temperature", 50, "degC"))
    capture._disk.start()
    capture.stop()
    assert len(stored(recorder.state)) == 41


def test_a_long_segment_does_not_hold_health_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_probe.capture.writer.HEALTH_S", 20.0)
    recording = Recording(tmp_path, segment_s=3600)
    health = deque([Row(1, "rms.0", -20.5, "dBFS")])
    recording.open = lambda remains: Store(tmp_path, recording.clock, remains, health=health)
    recording.record(50)
    health.append(Row(2, "rms.0", -20.5, "dBFS"))
    recording.record(140)
    assert health
    recording.record(70)
    assert len(stored(tmp_path)) == 2
    assert len(list((tmp_path / "audio").iterdir())) == 1  # that segment goes on
    recording.end()


def test_the_readme_says_how_it_is_used(recorder: Recorder) -> None:
    alsa, frames = recorder.alsa, np.zeros(RATE, "<i2").tobytes()
    names: dict[str, Any] = {
        "Monitor": partial(Monitor, root=alsa.root), "gain_db": 12.0, "safe": None, "match": match,
        "Mixer": partial(Mixer, amixer=str(alsa.amixer)), "frames": frames, "format_": MONO,
        "devices": partial(devices, root=alsa.root), "listed": [(0, "USB Audio: - (hw:1,0)")],
        "wanted": "usb:0d8c:0014", "state": recorder.state, "clock": recorder.clock, "Store": Store,
    }  # fmt: skip
    exec(of_page("edge_probe/health/README.md"), names)
    assert names["device"] == recorder.device()
    assert names["store"]
    assert "gain.Mic,0" in [row.name for row in names["monitor"].waiting]
