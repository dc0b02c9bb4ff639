"""Processes of a survey die, one or all: nothing is lost, nothing is there twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from support.child import environment
from support.made_recordings import content, recording

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.pool import DEATHS, Pool, _Worker
from edge_probe.desk.survey.survey import Request, Workers, classify_folder
from edge_probe.desk.survey.work import DEADLY, BatchResult, Work
from edge_probe.errors import EdgeProbeError

N_FILES, LONG = 12, 5
"""The long one takes longer than a signal to it."""

CHILD = Path(__file__).parents[1] / "support" / "survey_child.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("season") / "r"
    for seed in range(N_FILES):
        recording(folder / f"{seed:02d}.wav", 20_000 if seed == LONG else 4000, seed)
    return folder


@pytest.fixture(scope="module")
def bundle(analyser: ChunkAnalyser) -> Bundle:
    return analyser.bundle


@pytest.fixture(scope="module")
def expected(
    folder: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Of a survey that nobody disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    request = Request(folder, out, bundle, batch_bytes=1)
    assert classify_folder(request, lambda work, pace: Pool(work, 1, pace), StringIO())
    return content(out)


class Murder(Pool):
    """Kills a process while it has the long file open, so many times."""

    times = 1

    def _hear(self, worker: _Worker) -> BatchResult | None:
        result = super()._hear(worker)
        is_over_it = worker.place is not None and worker.batch and worker.batch.number == LONG
        if self.times and is_over_it and worker in self._workers:
            self.times -= 1
            worker._process.kill()
        return result


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_killed_worker_costs_its_batch_and_it_is_done_again(
    n_processes: int, folder: Path, bundle: Bundle, expected: dict[str, bytes], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    request = Request(folder, tmp_path / "out", bundle, batch_bytes=1)
    summary = classify_folder(
        request, lambda work, pace: Murder(work, n_processes, pace), StringIO()
    )
    assert summary is not None
    assert summary.n_bad == 0
    assert "(signal 9) over 05.wav: its batch is done again" in caplog.text
    assert content(tmp_path / "out") == expected


def test_a_file_that_kills_is_left_out_and_the_rest_goes_on(
    folder: Path, bundle: Bundle, expected: dict[str, bytes], tmp_path: Path
) -> None:
    class Deadly(Murder):
        times = DEATHS

    request = Request(folder, tmp_path / "out", bundle, batch_bytes=1)
    summary = classify_folder(request, lambda work, pace: Deadly(work, 1, pace), StringIO())
    assert summary is not None
    assert (summary.n_bad, summary.n_files) == (1, N_FILES)
    bad = (tmp_path / "out" / "bad.csv").read_text(encoding="utf-8").splitlines()
    assert bad[1:] == [f'05.wav,"{DEADLY}",0.0']
    found = content(tmp_path / "out")
    differ = {name for name in expected if found[name] != expected[name]}
    assert differ == {"bad.csv", "detections/000005.parquet", "files/000005.parquet"}


def test_processes_that_cannot_begin_end_the_survey(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    class Stillborn(Pool):
        def _hand_out(self, waiting: Iterator[Batch]) -> None:
            super()._hand_out(waiting)
            for worker in self._workers:
                worker._process.kill()

    request = Request(folder, tmp_path / "out", bundle, batch_bytes=1)
    with pytest.raises(EdgeProbeError, match=f"{DEATHS} processes in a row ended before"):
        classify_folder(request, lambda work, pace: Stillborn(work, 1, pace), StringIO())


def test_an_error_of_a_process_is_told_by_its_words(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """The bundle is exchanged after it was opened here."""
    request = Request(folder, tmp_path / "out", bundle, batch_bytes=1)
    demo = Path(__file__).parents[2] / "edge_probe" / "data" / "demo_bundle"

    def hire(work: Work, pace: Pace) -> Workers:
        return Pool(replace(work, bundle=str(demo)), 1, pace)

    with pytest.raises(EdgeProbeError, match=f"expected the bundle {bundle.sha256[:8]}"):
        classify_folder(request, hire, StringIO())


class Child:
    """The program, in a process group of its own."""

    def __init__(self, folder: Path, out: Path, bundle: Bundle) -> None:
        self._out = out
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(folder), str(out), str(bundle.path)],
            env=environment(), start_new_session=True, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait_for(self, n_batches: int) -> None:
        """Until so many are kept, or it has ended."""
        while self.process.poll() is None and self.n_kept() < n_batches:
            time.sleep(0.005)

    def n_kept(self) -> int:
        return len(list((self._out / "files").glob("[0-9]*.parquet")))

    def kill_group(self, number: signal.Signals) -> int:
        os.killpg(self.process.pid, number)
        return self.wait()

    def kill_first(self) -> int:
        self.process.kill()
        return self.wait()

    def wait(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode

    def members(self) -> list[int]:
        """Processes of the group that live."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _parent, group = path.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self.process.pid and state != "Z":
                found.append(int(path.parent.name))
        return found


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_everything_is_killed_again_and_again(
    folder: Path, bundle: Bundle, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """The whole group, the first process alone, Ctrl-C; what was kept stays as it is."""
    out = tmp_path / "out"
    ends: list[Callable[[Child], int]] = [
        lambda child: child.kill_group(signal.SIGKILL),
        Child.kill_first,
        lambda child: child.kill_group(signal.SIGINT),
        Child.wait,
    ]
    codes, kept = [], 0
    for end in ends:
        before = {path: path.stat().st_mtime_ns for path in out.glob("*/[0-9]*.parquet")}
        child = Child(folder, out, bundle)
        child.wait_for(kept + 3)
        codes.append(end(child))
        kept = child.n_kept()
        deadline = time.monotonic() + 20
        while child.members():
            assert time.monotonic() < deadline, "its processes outlive it"
            time.sleep(0.05)
        assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 130, 0]
    assert content(out) == expected


def test_a_worker_does_not_outlive_the_first_process_for_the_sake_of_a_long_file(
    bundle: Bundle, tmp_path: Path
) -> None:
    """It may be at it for hours, and would have nobody to tell."""
    long = recording(tmp_path / "r" / "long.wav", 3_000_000, 1)
    child = Child(tmp_path / "r", tmp_path / "out", bundle)
    while not any(holds(pid, long) for pid in child.members() if pid != child.process.pid):
        assert child.process.poll() is None
        time.sleep(0.02)
    assert child.kill_first() == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while child.members():
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.05)


def holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        return any(one.resolve() == path for one in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return False


def test_two_at_once_are_refused(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = Child(folder, out, bundle)
    child.wait_for(1)
    request = Request(folder, out, bundle, batch_bytes=1)
    with pytest.raises(EdgeProbeError, match=f"process {child.process.pid} is writing there"):
        classify_folder(request, lambda work, pace: Pool(work, 1, pace), StringIO())
    assert child.kill_group(signal.SIGINT) in {0, 130}
