"""The recorder over real PortAudio: what the microphone heard is on the disk, to the sample."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from support.numbered_source import stretches
from support.virtual_microphone import VirtualMicrophone, first_sample

RATE = 48_000
STARTS = 9600
"""Samples a player that starts may swallow: 0.2 s."""


@pytest.fixture
def microphone(plugged: Callable[[int], VirtualMicrophone]) -> VirtualMicrophone:
    return plugged(RATE)


class Recorder:
    """``edge-probe run`` in a process of its own."""

    def __init__(
        self, microphone: VirtualMicrophone, state: Path, before: Sequence[str] = ()
    ) -> None:
        self.state, self.watched = state, bool(before)
        self.log = state.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "edge_probe", "run", str(state), "--device",
                 microphone.name, "--rate", str(RATE), "--segment", "4"],
                env=microphone.environment, stderr=log,
            )  # fmt: skip

    def wait_for(self, text: str, limit_s: float = 20) -> None:
        """Until the log says so."""
        end = time.monotonic() + limit_s
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, f"no {text!r} in: {self.log.read_text()}"
            time.sleep(0.05)

    def stop(self) -> float:
        """SIGTERM; returns the seconds it takes."""
        begin = time.monotonic()
        pids = [self.process.pid] if not self.watched else children(self.process.pid)
        os.kill(int(pids[0]), signal.SIGTERM)
        assert self.process.wait(timeout=10) == 0, self.log.read_text()
        return time.monotonic() - begin

    def rss_anon_kib(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", text)[1])  # type: ignore[index]


def tiles(state: Path, stream: int) -> list[tuple[int, int | None, str | None, str | None]]:
    """The stretches of a stream, checked to follow each other."""
    found, end = list(stretches(state, stream)), 0
    for first_frame, n_frames, _, _ in found:
        assert first_frame == end
        end += n_frames or 0
    return found


def test_what_was_played_is_kept_to_the_sample(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    noise = (np.random.default_rng(0).normal(size=RATE * 8) * 3000).astype(np.int16)
    sf.write(tmp_path / "noise.wav", noise, RATE)
    recorder = Recorder(microphone, tmp_path / "state")
    recorder.wait_for("recording")
    time.sleep(3)  # a sound server settles
    player = microphone.play(tmp_path / "noise.wav", latency_ms=1000)
    assert player.wait(timeout=30) == 0
    assert recorder.rss_anon_kib() < 36 * 1024
    assert recorder.stop() < 2.5
    found = tiles(recorder.state, 1)
    assert [cause for _, _, cause, _ in found if cause] == ["schedule"]
    files = [recorder.state / "audio" / str(name) for _, _, cause, name in found if not cause]
    kept = np.concatenate([sf.read(path, dtype="int16")[0] for path in files])
    begin = first_sample(noise[: RATE * 2].astype(float), kept.astype(float))
    n = min(len(noise) - RATE, len(kept) - begin)  # the player may cut the end
    np.testing.assert_array_equal(kept[begin + STARTS : begin + n], noise[STARTS:n])


def test_a_lost_microphone_is_noticed_and_opened_again(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    recorder = Recorder(microphone, tmp_path / "state")
    recorder.wait_for("recording")
    time.sleep(3)
    microphone.unplug()
    begin = time.monotonic()
    recorder.wait_for("microphone lost")
    assert time.monotonic() - begin < 3
    time.sleep(2)
    microphone.plug()
    begin = time.monotonic()
    while recorder.log.read_text().count("recording fieldmic") < 2:
        assert time.monotonic() - begin < 15, recorder.log.read_text()
        time.sleep(0.1)
    time.sleep(4)
    recorder.stop()
    *_, (_, lost, cause, _) = tiles(recorder.state, 1)
    assert cause == "device"
    assert lost is not None
    assert lost > 2 * RATE
    assert [cause for _, _, cause, _ in tiles(recorder.state, 2)][-1] == "schedule"


def test_no_microphone_at_all_is_said_and_waited_for(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    microphone.unplug()
    recorder = Recorder(microphone, tmp_path / "state")
    recorder.wait_for("no microphone")
    microphone.plug()
    recorder.wait_for("recording fieldmic")
    recorder.stop()
    assert "Traceback" not in recorder.log.read_text()


def test_nothing_listens_and_nothing_is_written_elsewhere(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    if lacking := [tool for tool in ("strace", "ss") if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(lacking)} (Debian: strace, iproute2)")
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,open,creat"]
    recorder = Recorder(microphone, tmp_path / "state", before=watch)
    recorder.wait_for("recording")
    time.sleep(4)
    sockets = subprocess.run(["ss", "-ltnup"], capture_output=True, text=True, check=True).stdout
    family = {str(recorder.process.pid), *children(recorder.process.pid)}
    recorder.stop()
    assert not [pid for pid in family if f"pid={pid}," in sockets]
    calls = re.findall(r'open\w*\((?:AT_FDCWD, )?"([^"]*)", ([^)]*)', trace.read_text())
    written = {path for path, flags in calls if re.search("O_WRONLY|O_RDWR|O_CREAT", flags)}
    assert any(path.startswith(str(recorder.state)) for path in written)
    # the client of the sound server keeps its cookie and shared memory where that server lives
    allowed = (str(recorder.state), str(tmp_path / "pulse"), "/dev/", "/proc/self/")
    assert not [path for path in written if not path.startswith(allowed)]


def children(pid: int) -> list[str]:
    """Processes a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
