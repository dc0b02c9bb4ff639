"""The classifier as a child of the recorder: killed, hung, hopeless, stopped."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from support import classifier
from support.analysed_state import SoundCard, detections, expected, rows, small_bundle

from edge_probe.analysis.store import Store
from edge_probe.analysis.supervise import MAX_CRASHES, RECORD_ONLY_S, STOP_S, Supervisor
from edge_probe.classify import ChunkAnalyser
from edge_probe.spec import WindowSpec

S = 10**9


def script(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", f"import os, sys, time, signal\n{code}", *arguments]


BEAT = "os.write(int(sys.argv[-1]), b'.')\n"


class Watched:
    """A supervisor in virtual time, ended with the test."""

    def __init__(self, command: list[str], hang_s: float = 100.0) -> None:
        self.supervisor = Supervisor(command, hang_s=hang_s)
        self.now_ns = 0

    def until(self, done: Callable[[], bool], *, pass_s: float = 0.0) -> None:
        """Look again and again, at a virtual time that stands still or passes."""
        deadline = time.monotonic() + 300
        while not done():
            assert time.monotonic() < deadline
            self.supervisor.poll(self.now_ns)
            self.now_ns += round(pass_s * S)
            time.sleep(0.005)

    def until_state(self, state: str) -> None:
        self.until(lambda: self.state == state)

    @property
    def state(self) -> str:
        return self.supervisor.state.state

    def child(self) -> int:
        assert self.supervisor._child is not None
        return self.supervisor._child.pid


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(command: list[str], hang_s: float = 100.0) -> Watched:
        made.append(Watched(command, hang_s))
        return made[-1]

    yield make
    for one in made:
        one.supervisor.stop()


def test_a_child_that_never_works_is_started_later_and_later(
    watch: Callable[..., Watched],
) -> None:
    watched = watch(script("sys.exit(3)"))
    waits = []
    for _ in range(MAX_CRASHES):
        watched.supervisor.poll(watched.now_ns)
        assert watched.state == "running"
        watched.until(lambda: watched.state != "running")
        assert watched.supervisor.state.reason == "ended with status 3"
        wait_s = 0
        while watched.state == "waiting":
            watched.now_ns += S
            wait_s += 1
            watched.supervisor.poll(watched.now_ns)
        waits.append(wait_s)
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert watched.state == "record-only"
    assert watched.supervisor.state.n_restarts == MAX_CRASHES - 1
    watched.supervisor.poll(watched.now_ns + round((RECORD_ONLY_S - 1) * S))
    assert watched.state == "record-only"
    watched.supervisor.poll(watched.now_ns + round(RECORD_ONLY_S * S))
    assert watched.state == "running"


def test_one_that_works_comes_back_at_once_and_rests_if_that_goes_on(
    watch: Callable[..., Watched],
) -> None:
    watched = watch(script(BEAT + "os.kill(os.getpid(), 9)"))
    for n in range(MAX_CRASHES):
        watched.supervisor.poll(watched.now_ns)
        assert watched.state == "running", n
        watched.until(lambda: watched.state != "running")
        assert watched.supervisor.state.reason == "killed by SIGKILL"
        watched.now_ns += S
    assert watched.state == "record-only"


def test_only_the_first_child_is_told_to_forgive(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    watched = watch(script(f"print(sys.argv[1:-1], file=open({str(told)!r}, 'a'))\n{BEAT}"))
    for _ in range(2):
        watched.until_state("running")
        watched.until_state("waiting")
        watched.now_ns += S
    assert told.read_text() == "['--forgive', '--beat-fd']\n['--beat-fd']\n"


def test_rare_crashes_never_stop_the_classifying(watch: Callable[..., Watched]) -> None:
    watched = watch(script(BEAT + "os.kill(os.getpid(), 9)"))
    for _ in range(MAX_CRASHES + 5):
        watched.supervisor.poll(watched.now_ns)
        watched.until(lambda: watched.state != "running")
        assert watched.state == "waiting"
        watched.now_ns += 32 * S  # 20 of them take longer than ten minutes


def test_one_that_gives_no_sign_of_life_is_killed(watch: Callable[..., Watched]) -> None:
    watched = watch(script("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"))
    watched.until_state("running")
    watched.now_ns += 99 * S
    watched.supervisor.poll(watched.now_ns)
    assert watched.state == "running"
    watched.now_ns += 2 * S
    watched.until_state("waiting")
    assert watched.supervisor.state.reason == "hung for 100 s"


def test_one_that_beats_is_left_alone(watch: Callable[..., Watched]) -> None:
    watched = watch(script(f"while True:\n time.sleep(0.005)\n {BEAT}"), hang_s=100)
    watched.until_state("running")
    for _ in range(11):  # each sign of life comes 99 s after the one before
        watched.now_ns += 99 * S
        watched.until(lambda: watched.supervisor._beat_ns == watched.now_ns)
    assert watched.supervisor.state.n_restarts == 0


def test_stopping_takes_two_seconds_at_most(watch: Callable[..., Watched]) -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BEAT + "time.sleep(600)"
    for code, at_least_s in ((BEAT + "time.sleep(600)", 0.0), (stubborn, STOP_S)):
        watched = watch(script(code))
        watched.until(lambda watched=watched: watched.supervisor._has_beaten)  # type: ignore[misc]
        pid, began = watched.child(), time.monotonic()
        watched.supervisor.stop()
        assert at_least_s <= time.monotonic() - began < STOP_S + 5  # of a busy machine
        assert not Path(f"/proc/{pid}").exists()


def test_it_steps_back_for_the_recorder(watch: Callable[..., Watched]) -> None:
    watched = watch(script(BEAT + "time.sleep(600)"))
    watched.until_state("running")
    pid = watched.child()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, mine + 10)


def test_a_program_that_is_not_there_is_no_reason_to_fall(watch: Callable[..., Watched]) -> None:
    gc.collect()  # what earlier tests left open would go in between
    n_before = len(list(Path("/proc/self/fd").iterdir()))
    watched = watch(["/nowhere/python"])
    watched.supervisor.poll(0)
    assert watched.state == "waiting"
    assert "cannot be started" in str(watched.supervisor.state.reason)
    assert len(list(Path("/proc/self/fd").iterdir())) == n_before


def test_supervising_costs_the_recorder_nothing() -> None:
    code = (
        "import sys, edge_probe.analysis.supervise, edge_probe.analysis.backlog;print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unwanted = {"onnxruntime", "soundfile", "soxr", "safetensors", "edge_probe.bundle"}
    assert not unwanted & set(done.stdout.split())


def test_killed_again_and_again_it_finds_what_it_would_have_found(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle", WindowSpec(3, 2, 0.1))
    state = tmp_path / "state"
    state.mkdir()
    card = SoundCard(state, n_channels=2)
    card.noise(12_000, 0)
    card.end()
    command = [sys.executable, str(classifier.__file__), str(state), str(bundle.path)]
    watched = watch(command, hang_s=1e9)
    waits_s = np.random.default_rng(0).uniform(0.0, 0.1, 5)

    Store(state / "detections.sqlite", bundle).close()

    def n_done() -> int:
        query = "SELECT count(*) FROM chunk WHERE state != 'tried'"
        return int(rows(state, query)[0][0])

    for wait_s in waits_s:
        n_before = n_done()  # a life that gets on by less than a chunk looks like a bad chunk
        watched.until(lambda n=n_before: n_done() > n, pass_s=0.1)  # type: ignore[misc]
        time.sleep(wait_s)
        os.kill(watched.child(), signal.SIGKILL)
        watched.until_state("waiting")  # for longer where it died before its first sign of life
        watched.until(lambda: watched.state == "running", pass_s=0.1)
    watched.until(lambda: n_done() == 2 * 12_000 // 16, pass_s=0.1)
    watched.supervisor.stop()
    assert detections(state) == expected(state, ChunkAnalyser(bundle))
    assert rows(state, "SELECT DISTINCT state FROM chunk") == [("done",)]
