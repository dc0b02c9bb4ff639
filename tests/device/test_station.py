"""The recorder as a whole, without a sound card: what it says of itself, and what it survives."""

import errno
import re
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest
from support.numbered_source import NumberedSource, VirtualClock

from edge_probe import station as station_module
from edge_probe.alive.page import page
from edge_probe.alive.report import look
from edge_probe.alive.status import PROMETHEUS_NAME, Classifier, read_status
from edge_probe.capture.recorder import Wanted
from edge_probe.capture.segment import Format
from edge_probe.capture.writer import Writer
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.room import Limits
from edge_probe.disk.sample import Design
from edge_probe.lock import CLASSIFIER_LOCK, hold
from edge_probe.source.ring import Ring
from edge_probe.station import Orders, Station

RATE = 1000
BLOCK = 100
MONO = Format(RATE, 1, 4)


class Outpost(Station):
    """A station whose microphone is a numbered source; there is no thread but the caller's."""

    def __init__(self, state: Path, *, floor_bytes: int = 0, has_neighbour: bool = False) -> None:
        self.clock = VirtualClock()
        orders = Orders(
            Wanted(None, RATE, 1, 4, 5.0), Limits("all", 10**15, floor_bytes),
            Design(1, 5.0, 0.1), flac=False, gain_db=None, private_margin_s=None,
            classifier=None if has_neighbour else ["true"], deployment_id="forest",
            has_neighbour=has_neighbour,
        )  # fmt: skip
        super().__init__(StateFolder(state), orders, self.clock)
        ring = Ring(35 * RATE, MONO.frame_bytes)
        self.source = NumberedSource(ring, self.clock, RATE, BLOCK)
        self.writer = self._recorder.writer = Writer(
            ring, MONO, "numbered", segment_s=5.0, open_store=self._open_store, clock=self.clock
        )

    def record(self, seconds: int) -> None:
        for _ in range(seconds * RATE // BLOCK):
            self.source.deliver()
            assert self.writer.step()

    @property
    def said(self) -> str:
        return self._tell(self._state_word).state

    @property
    def n_settled(self) -> int:
        return self._recorder.counts.n_settled


def test_a_full_card_is_not_called_recording_and_is_no_reason_to_restart(tmp_path: Path) -> None:
    full = Outpost(tmp_path, floor_bytes=10**15)
    full.record(10)
    assert full.said == "disk full"
    assert full._recorder.counts.stored_s == 0
    for _ in range(4):  # as often as a watchdog of 30 s has to hear something
        before = full.n_settled
        full.record(20)
        assert full.n_settled > before
    assert full._recorder.counts.stored_s == 0
    assert full.said == "disk full"


def test_a_card_with_room_is_recording(tmp_path: Path) -> None:
    station = Outpost(tmp_path)
    station.record(10)
    assert station.said == "recording"
    assert station.n_settled == 10 * RATE
    assert station._recorder.counts.stored_s == pytest.approx(10)


def test_a_classifier_that_is_a_service_is_seen_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_module, "is_loaded", lambda: False)
    monkeypatch.setattr(station_module, "BUSY_BEHIND_S", 5.0)
    station = Outpost(tmp_path, has_neighbour=True)
    station.record(12)
    for lives in (False, True, False):
        lock = hold(tmp_path, CLASSIFIER_LOCK) if lives else nullcontext()
        with hold(tmp_path), lock:
            status = station._tell("recording")
            state = "running" if lives else "not running"
            assert status.classifier == Classifier(state, 10.0, None)
            assert station._is_busy() == lives, "for one that does not work nobody waits"
            station._status.update(lambda: station._tell("recording"), at_once=True)
            assert f"{state}, 10s behind\n" in page(look(tmp_path, station.clock))
            told = (tmp_path / PROMETHEUS_NAME).read_text()
            assert f'edge_probe_classifier_state{{state="{state}"}} 1' in told
            assert not re.search("^edge_probe_classifier_restarts_total ", told, re.MULTILINE)


def fail(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EIO, "Input/output error")


def test_a_disk_or_a_machine_that_fails_does_not_end_the_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = Outpost(tmp_path)
    station.record(5)
    with monkeypatch.context() as failing:
        failing.setattr(station_module, "disk_usage", fail)
        station._status.update(lambda: station._tell("recording"), at_once=True)
    assert read_status(tmp_path) is None
    with monkeypatch.context() as failing:
        failing.setattr(station_module, "last_detection", fail)
        station._status.update(lambda: station._tell("recording"), at_once=True)
    assert read_status(tmp_path) is not None, "the newest detection alone is not known"
    station.clock.now_ns += 3601 * 10**9
    with monkeypatch.context() as failing:
        failing.setattr(subprocess, "Popen", fail)
        station._count_effort()
    assert station._effort is None
    station.record(5)
    station._status.update(lambda: station._tell("recording"), at_once=True)
    written = read_status(tmp_path)
    assert written
    assert written.status.recorded_s == pytest.approx(10)
