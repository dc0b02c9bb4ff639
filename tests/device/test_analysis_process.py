"""The classifier as a process: signals, a recorder that goes, a disk that fails."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import classifier
from support.analysed_state import (
    SoundCard,
    detections,
    expected,
    rows,
    small_bundle,
    work_off,
    worker_on,
)

from edge_probe.alive.notify import Notifier
from edge_probe.analysis.process import Pulse
from edge_probe.analysis.rows import Result, Try
from edge_probe.analysis.store import Store
from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.clock import SystemClock
from edge_probe.spec import WindowSpec

WINDOWS = WindowSpec(3, 2, 0.1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "one", WINDOWS)


@contextmanager
def process(state: Path, bundle: Bundle, *more: str, fd: int = -1) -> Iterator[subprocess.Popen]:
    command = [sys.executable, str(classifier.__file__), str(state), str(bundle.path), *more]
    fds = () if fd < 0 else (fd,)
    with subprocess.Popen(command, pass_fds=fds, stderr=subprocess.PIPE, text=True) as child:
        yield child
        child.kill()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count(state: Path, where: str) -> int:
    if not (state / "detections.sqlite").exists():
        return 0
    try:
        return int(rows(state, f"SELECT count(*) FROM chunk WHERE {where}")[0][0])
    except sqlite3.OperationalError:  # no tables yet
        return 0


def test_sigterm_ends_it_without_a_trace(bundle: Bundle, tmp_path: Path) -> None:
    card = SoundCard(tmp_path)
    card.noise(20_000, 0)
    card.end()
    with process(tmp_path, bundle) as child:
        until(lambda: count(tmp_path, "state = 'done'") > 30)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0
    assert count(tmp_path, "state = 'tried' AND n_attempts > 0") == 0
    analyser = ChunkAnalyser(bundle)
    work_off(worker_on(tmp_path, analyser))
    assert detections(tmp_path) == expected(tmp_path, analyser)


def test_it_waits_for_a_recorder_and_ends_with_it(bundle: Bundle, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with process(tmp_path, bundle, "--beat-fd", str(writer), fd=writer) as child:
        os.close(writer)
        assert os.read(reader, 1)
        card = SoundCard(tmp_path)
        card.noise(5000, 0)
        card.end()
        until(lambda: count(tmp_path, "state = 'done'") == 5000 // 16 + 1)
        assert os.read(reader, 1)
        os.close(reader)
        assert child.wait(60) == 0
    assert count(tmp_path, "state = 'tried'") == 0


def test_two_never_work_on_one_state(bundle: Bundle, tmp_path: Path) -> None:
    with process(tmp_path, bundle) as first:
        until(lambda: (tmp_path / "detections.sqlite").exists())
        with process(tmp_path, bundle) as second:
            _, said = second.communicate(timeout=300)
            assert second.returncode == 1
            assert f"process {first.pid} is writing there" in said
        assert first.poll() is None


def test_a_pulse_that_nobody_takes_does_not_wait() -> None:
    reader, writer = os.pipe()
    silent = Notifier({}, SystemClock())
    pulse = Pulse(writer, silent)
    assert all(pulse() for _ in range(100_000))
    os.close(reader)
    assert not pulse()
    os.close(writer)
    assert Pulse(None, silent)()


def test_a_disk_that_fails_is_waited_for(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the commit that failed reached the disk or not."""
    n_failures = 0

    class Failing(Store):
        def commit(self, results: Sequence[Result], tries: Sequence[Try]) -> None:
            nonlocal n_failures
            n_failures += 1
            if n_failures % 5 in (1, 2):
                raise sqlite3.OperationalError("disk I/O error")
            super().commit(results, tries)
            if n_failures % 5 == 3:
                raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("edge_probe.analysis.worker.RETRY_S", 0.0)
    card = SoundCard(tmp_path)
    card.noise(5000, 0)
    card.end()
    analyser = ChunkAnalyser(bundle)
    worker = worker_on(tmp_path, analyser, detections=Failing, is_wanted=lambda: True)
    work_off(worker)
    assert n_failures > 20
    assert detections(tmp_path) == expected(tmp_path, analyser)
    assert count(tmp_path, "state = 'done'") == 5000 // 16 + 1


def test_nobody_waits_for_a_disk_when_the_recorder_is_gone(bundle: Bundle, tmp_path: Path) -> None:
    class Broken(Store):
        def commit(self, results: Sequence[Result], tries: Sequence[Try]) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    card = SoundCard(tmp_path)
    card.noise(5000, 0)
    worker = worker_on(tmp_path, ChunkAnalyser(bundle), detections=Broken, is_wanted=lambda: False)
    with pytest.raises(sqlite3.OperationalError):
        work_off(worker)
