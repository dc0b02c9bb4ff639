"""What the recorder writes about itself, and what others read."""

import json
import math
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import disk_usage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.numbered_source import VirtualClock
from support.recorded_state import RECORDING

from edge_probe.alive.prometheus import exposition
from edge_probe.alive.status import (
    EVERY_S,
    JSON_NAME,
    PROMETHEUS_NAME,
    STATES,
    Classifier,
    Disk,
    LastDetection,
    Status,
    StatusFiles,
    Written,
    as_json,
    read_status,
)
from edge_probe.errors import StateError

texts = st.text(max_size=40)
numbers = st.floats(0, 1e9).map(lambda value: round(value, 3))
statuses = st.builds(
    Status,
    version=texts, deployment_id=st.none() | texts, state=st.sampled_from(STATES),
    boot=st.integers(1, 10**6), stream=st.none() | st.integers(1, 10**6),
    device=st.none() | texts, running_s=numbers, recorded_s=numbers,
    gap_s=st.dictionaries(st.sampled_from(["stall", "device", "power"]), numbers),
    last_frame_age_s=st.none() | numbers, ring_fill=numbers,
    disk=st.builds(Disk, st.integers(0, 2**50), st.integers(0, 2**50),
                   st.none() | st.integers(0, 2**50), st.none() | numbers),
    classifier=st.none() | st.builds(Classifier, texts, numbers, st.integers(0, 10**6)),
    last_detection=st.none() | st.builds(LastDetection, texts, numbers, st.none() | texts),
    clock_trust=st.sampled_from(["unset", "ntp"]),
    alarms=st.lists(texts, max_size=4).map(tuple), rss_mib=st.none() | numbers,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(status=statuses)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, status: Status
) -> None:
    state = tmp_path_factory.mktemp("state")
    StatusFiles(state, VirtualClock()).update(lambda: status)
    written = read_status(state)
    assert written is not None
    assert written.status == status
    assert written.kernel_id == "first"


@settings(max_examples=30, deadline=None)
@given(status=statuses)
def test_prometheus_reads_every_label_and_number(status: Status) -> None:
    written = VirtualClock()
    text = exposition(status, _written(written, status).utc)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for alarm in status.alarms:
        assert samples["edge_probe_alarm", alarm] == 1
    for cause, gap_s in status.gap_s.items():
        assert samples["edge_probe_gap_seconds_total", cause] == gap_s
    assert samples["edge_probe_disk_free_bytes",] == status.disk.free_bytes
    assert samples["edge_probe_state", status.state] == 1
    assert samples["edge_probe_written_timestamp_seconds",] == written.utc_ns() / 1e9
    assert ("edge_probe_disk_days_left",) in samples or status.disk.days_left is None
    info = next(key for key in samples if key[0] == "edge_probe_info")
    assert status.version in info
    assert (status.deployment_id or "") in info


def test_every_metric_is_announced_with_help_and_type() -> None:
    full = replace(RECORDING, alarms=("gain",), disk=Disk(1, 1, 1, 1.0))
    text = exposition(full, _written(VirtualClock()).utc)
    names = {line.split("{")[0].split()[0] for line in text.splitlines() if line[0] != "#"}
    for name in names:
        assert f"# HELP {name} " in text
        assert f"# TYPE {name} " in text
    assert len(names) == 18


def test_a_number_that_is_none_is_null() -> None:
    odd = replace(RECORDING, ring_fill=math.inf, disk=Disk(1, 1, None, math.nan))
    content = json.loads(as_json(_written(VirtualClock(), odd)))
    assert content["ring_fill"] is None
    assert content["disk"]["days_left"] is None


def test_it_is_written_now_and_then_or_at_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    files = StatusFiles(tmp_path, clock)
    n_filled = 0

    def fill() -> Status:
        nonlocal n_filled
        n_filled += 1
        return RECORDING

    for _ in range(600):  # a minute
        files.update(fill)
        clock.now_ns += 10**8
    assert n_filled == 60 / EVERY_S
    files.update(fill)
    files.update(fill, at_once=True)
    assert n_filled == 60 / EVERY_S + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [PROMETHEUS_NAME, JSON_NAME]


def test_news_is_written_soon_and_not_all_the_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    files = StatusFiles(tmp_path, clock)
    told_s = []

    def tell(news: str, seconds: float) -> None:
        def fill() -> Status:
            told_s.append(clock.now_ns * 1e-9 - 1)
            return RECORDING

        for _ in range(round(10 * seconds)):
            files.update(fill, news)
            clock.now_ns += 10**8

    tell("recording", 10)
    tell("no microphone", 20)
    for _ in range(30):  # it comes and goes
        tell("recording", 0.1)
        tell("no microphone", 0.1)
    tell("no microphone", EVERY_S)
    assert told_s == pytest.approx([0, 10, 30.1, 32.1, 34.1, 36.1], abs=0.21)


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    files = StatusFiles(tmp_path, clock)
    files.update(lambda: RECORDING)
    done = threading.Event()

    def write() -> None:
        for n in range(50):
            files.update(lambda n=n: replace(RECORDING, alarms=("x" * n,)), at_once=True)  # type: ignore[misc]
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    n_read = 0
    while not done.is_set():
        assert read_status(tmp_path) is not None
        n_read += 1
    writer.join()
    assert n_read > 1


def test_a_disk_that_fails_stops_nobody_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, clock = tmp_path / "state", VirtualClock()
    files = StatusFiles(state, clock)
    for _ in range(3):
        files.update(lambda: RECORDING, at_once=True)
    files.update(lambda: _look_at(state), at_once=True)
    assert len(caplog.records) == 1
    state.mkdir()
    files.update(lambda: RECORDING, at_once=True)
    assert read_status(state) is not None
    for path in state.iterdir():
        path.unlink()
    (state / PROMETHEUS_NAME).mkdir()  # cannot be replaced by a file
    files.update(lambda: RECORDING, at_once=True)
    assert len(caplog.records) == 2
    assert not list(state.glob("*.tmp"))


def _look_at(folder: Path) -> Status:
    disk_usage(folder)
    return RECORDING


def test_its_age_survives_a_stepped_clock_and_a_boot() -> None:
    clock = VirtualClock()
    written = _written(clock)
    clock.now_ns += 30 * 10**9
    clock.offset_ns -= 10**18  # the wall clock is set back thirty years
    assert written.age_s(clock) == pytest.approx(30)
    later = VirtualClock(now_ns=5, offset_ns=clock.offset_ns + 10**18 + 10**12, kernel_id="second")
    assert written.age_s(later) == pytest.approx(999, abs=1)
    later.offset_ns = 0  # 1970
    assert written.age_s(later) is None
    unset = _written(VirtualClock(), replace(RECORDING, clock_trust="unset"))
    assert unset.age_s(VirtualClock(kernel_id="second")) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"written_utc": 3}', "\ufeff{"])
def test_what_is_no_status_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / JSON_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match=r"status\.json"):
        read_status(tmp_path)


def _written(clock: VirtualClock, status: Status = RECORDING) -> Written:
    utc = datetime.fromtimestamp(clock.utc_ns() / 1e9, UTC)
    return Written(status, utc, clock.now_ns, clock.kernel_id)
