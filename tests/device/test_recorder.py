"""The recorder over real PortAudio: what the microphone heard is on the disk, to the sample."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from support.live_recorder import LiveRecorder, children
from support.numbered_source import stretches
from support.virtual_microphone import VirtualMicrophone, first_sample

RATE = 48_000
STARTS = 9600
"""Samples a player that starts may swallow: 0.2 s."""

Record = Callable[..., LiveRecorder]


@pytest.fixture
def microphone(plugged: Callable[[int], VirtualMicrophone]) -> VirtualMicrophone:
    return plugged(RATE)


@pytest.fixture
def record(microphone: VirtualMicrophone, tmp_path: Path) -> Iterator[Record]:
    """Starts a recorder, by a program that runs it or directly."""
    with ExitStack() as stack:

        def start(before: Sequence[str] = ()) -> LiveRecorder:
            made = LiveRecorder(microphone, tmp_path / "state", RATE, before=before)
            return stack.enter_context(made)

        yield start


def tiles(state: Path, stream: int) -> list[tuple[int, int | None, str | None, str | None]]:
    """The stretches of a stream, checked to follow each other."""
    found, end = list(stretches(state, stream)), 0
    for first_frame, n_frames, _, _ in found:
        assert first_frame == end
        end += n_frames or 0
    return found


def test_what_was_played_is_kept_to_the_sample(
    microphone: VirtualMicrophone, record: Record, tmp_path: Path
) -> None:
    noise = (np.random.default_rng(0).normal(size=RATE * 8) * 3000).astype(np.int16)
    sf.write(tmp_path / "noise.wav", noise, RATE)
    recorder = record()
    recorder.wait_for("recording")
    time.sleep(3)  # a sound server settles
    player = microphone.play(tmp_path / "noise.wav", latency_ms=1000)
    assert player.wait(timeout=30) == 0
    assert recorder.rss_anon_kib < 36 * 1024
    assert recorder.stop() < 2.5
    found = tiles(recorder.state, 1)
    assert [cause for _, _, cause, _ in found if cause] == ["schedule"]
    files = [recorder.state / "audio" / str(name) for _, _, cause, name in found if not cause]
    kept = np.concatenate([sf.read(path, dtype="int16")[0] for path in files])
    begin = first_sample(noise[: RATE * 2].astype(float), kept.astype(float))
    n = min(len(noise) - RATE, len(kept) - begin)  # the player may cut the end
    np.testing.assert_array_equal(kept[begin + STARTS : begin + n], noise[STARTS:n])


def test_a_lost_microphone_is_noticed_and_opened_again(
    microphone: VirtualMicrophone, record: Record
) -> None:
    recorder = record()
    recorder.wait_for("recording")
    time.sleep(3)
    microphone.unplug()
    assert recorder.wait_for("microphone lost") < 3
    time.sleep(2)
    microphone.plug()
    recorder.wait_for("recording fieldmic", 2)
    time.sleep(4)
    recorder.stop()
    *_, (_, lost, cause, _) = tiles(recorder.state, 1)
    assert cause == "device"
    assert lost is not None
    assert lost > 2 * RATE
    assert [cause for _, _, cause, _ in tiles(recorder.state, 2)][-1] == "schedule"


def test_no_microphone_at_all_is_said_and_waited_for(
    microphone: VirtualMicrophone, record: Record
) -> None:
    microphone.unplug()
    recorder = record()
    recorder.wait_for("no microphone")
    microphone.plug()
    recorder.wait_for("recording fieldmic")
    recorder.stop()
    assert "Traceback" not in recorder.log.read_text()


def test_nothing_listens_and_nothing_is_written_elsewhere(record: Record, tmp_path: Path) -> None:
    if lacking := [tool for tool in ("strace", "ss") if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(lacking)} (Debian: strace, iproute2)")
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,open,creat"]
    recorder = record(watch)
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
