"""The recorder's patience with microphones, without one."""

import logging
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from support.numbered_source import VirtualClock, stretches

from edge_probe.capture import recorder as module
from edge_probe.capture.recorder import MAX_WAIT_S, Recorder, Wanted
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.errors import DeviceError
from edge_probe.health.identity import Device
from edge_probe.source.ring import Ring

RATE = 1000
FIRST_S = 5.0
BLOCK = bytes(2 * RATE // 10)


class Microphone:
    """An `InputStream` that gives what its bench gives."""

    def __init__(self, ring: Ring, clock: VirtualClock) -> None:
        self.ring, self._clock, self._opened_ns = ring, clock, clock.now_ns

    def lost(self, _silent_s: float) -> str | None:
        silent_ns = self._clock.now_ns - (self.ring.last_stamp_ns or self._opened_ns)
        return "no audio" if silent_ns > FIRST_S * 1e9 else None

    def close(self) -> None: ...


class Bench:
    """A recorder whose microphone, PortAudio and watch do as they are told, in virtual time."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = VirtualClock()
        self.opened_s: list[float] = []
        self.n_rescans = 0
        self.gives = True
        self.portaudio_fails = False
        self.verdict: str | None = None
        self._microphone: Microphone | None = None
        monkeypatch.setattr(module, "STEP_S", 0.001)
        monkeypatch.setattr(module, "rescan", self._rescan)
        monkeypatch.setattr(module, "choose", lambda _: (Device(0, "mic", 0, None), RATE))
        monkeypatch.setattr(module, "InputStream", self._open)
        self.recorder = Recorder(
            Wanted(None, None, 1, 2, 10.0), self.clock,
            lambda safe: Store(state, self.clock, safe), self,
        )  # fmt: skip
        self.recorder.start()

    def pass_(self, seconds: float) -> None:
        """Time goes by, in blocks."""
        for _ in range(round(seconds * 10)):
            self.clock.now_ns += 10**8
            if self._microphone is not None and self.gives:
                self._microphone.ring.push(BLOCK, self.clock.now_ns)
            self.recorder.tick()
            time.sleep(0.002)  # for the thread of the disk

    def _rescan(self) -> None:
        self.n_rescans += 1
        if self.portaudio_fails:
            raise DeviceError("PortAudio: does not start", hint="wait")

    def _open(self, _device: object, ring: Ring, clock: VirtualClock, **_format: int) -> Microphone:
        self.opened_s.append(clock.now_ns * 1e-9)
        self._microphone = Microphone(ring, clock)
        return self._microphone

    # a Watch
    def opened(self, device: Device, format_: Format) -> None: ...

    def closed(self) -> None:
        self._microphone = self.verdict = None

    def lost(self) -> str | None:
        return self.verdict

    def feed(self, frames: memoryview) -> None: ...


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, monkeypatch)
    yield made
    made.recorder.stop()


def told(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


def test_a_microphone_that_gives_nothing_is_tried_for_ever_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.gives = False
    bench.pass_(60)
    waits_s = [b - a for a, b in pairwise(bench.opened_s)]
    wanted_s = [FIRST_S + wait_s for wait_s in (0.5, 1, 2, *[MAX_WAIT_S] * 10)]
    assert waits_s == pytest.approx(wanted_s[: len(waits_s)], abs=0.21)
    assert len(waits_s) >= 6
    assert bench.n_rescans == len(bench.opened_s)
    assert told(caplog, "no microphone: no audio; trying for ever") == 1
    assert told(caplog, "recording") == 0
    bench.gives = True
    bench.pass_(10)
    assert told(caplog, "recording mic") == 1
    assert bench.recorder.state == "recording"


def test_portaudio_that_does_not_start_again_is_tried_for_ever(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.pass_(3)
    bench.verdict, bench.portaudio_fails = "another card", True
    bench.pass_(30)
    assert bench.recorder.state == "no microphone"
    assert 8 <= bench.n_rescans <= 12
    assert told(caplog, "PortAudio: does not start") == 1
    bench.portaudio_fails = False
    bench.pass_(MAX_WAIT_S + 1)
    assert bench.recorder.state == "recording"


def test_a_microphone_that_the_watch_gives_up_is_opened_again_at_once(
    bench: Bench, tmp_path: Path
) -> None:
    bench.pass_(3)
    bench.verdict = "every sample has had the same value for 15 s"
    bench.pass_(3)
    assert len(bench.opened_s) == bench.n_rescans == 2
    bench.recorder.stop()
    *_, (_, lost, cause, _) = stretches(tmp_path, 1)
    assert cause == "device"
    assert lost == pytest.approx(RATE * 0.2, abs=RATE * 0.11)


def test_after_an_orderly_end_without_a_microphone_nothing_was_to_be_recorded(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pass_(3)
    bench.verdict, bench.portaudio_fails = "another card", True
    bench.pass_(5)
    bench.recorder.stop()
    later = Bench(tmp_path, monkeypatch)
    later.clock.now_ns = bench.clock.now_ns + 20 * 10**9
    later.pass_(3)
    later.recorder.stop()
    *_, device, schedule = stretches(tmp_path, 1)
    assert (device[2], schedule[2]) == ("device", "schedule")
    assert device[1] is not None
    assert device[1] == pytest.approx(5 * RATE, abs=RATE * 0.21)
    assert schedule[0] == device[0] + device[1]
    assert schedule[1] == pytest.approx(20 * RATE, abs=RATE * 0.21)
