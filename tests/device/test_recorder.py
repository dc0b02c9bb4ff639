"""The recorder over real PortAudio: what the microphone heard is on the disk, to the sample."""

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from support.changed_files import TOOLS, changed, listened, traced
from support.live_recorder import LiveRecorder, children
from support.numbered_microphone import NumberedMicrophone
from support.numbered_source import stretches
from support.virtual_microphone import VirtualMicrophone, first_sample

from edge_probe.capture.segment import Format
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.source.wav import HEADER_BYTES

RATE = 48_000
STARTS = 9600
"""Samples a player that starts may swallow: 0.2 s."""

SETTLES_S = 2
"""No loss is seen before: sound servers shift by some blocks when a stream begins."""

Record = Callable[..., LiveRecorder]


@pytest.fixture
def microphone(plugged: Callable[[int], VirtualMicrophone]) -> VirtualMicrophone:
    return plugged(RATE)


@pytest.fixture
def record(microphone: VirtualMicrophone, tmp_path: Path) -> Iterator[Record]:
    """Starts a recorder."""
    with ExitStack() as stack:

        def start() -> LiveRecorder:
            return stack.enter_context(LiveRecorder(microphone, tmp_path / "state", RATE))

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


@pytest.mark.parametrize(
    "format_",
    [Format(8_000, 1, 2), Format(96_000, 2, 3), Format(384_000, 1, 2), Format(48_000, 8, 4)],
    ids=lambda one: f"{one.rate_hz} Hz, {one.n_channels} x {8 * one.sample_bytes} bits",
)
def test_every_format_is_kept_to_the_bit(tmp_path: Path, format_: Format) -> None:
    """The card counts; the sound server is at its rate, so that it changes nothing."""
    if lacking := NumberedMicrophone.missing():
        pytest.skip(lacking)
    options = ["--channels", str(format_.n_channels), "--bits", str(8 * format_.sample_bytes)]
    state = tmp_path / "state"
    (tmp_path / "pulse").mkdir()
    with (
        closing(NumberedMicrophone(tmp_path / "pulse", format_)) as card,
        LiveRecorder(card, state, format_.rate_hz, [*options, "--segment", "1"]) as recorder,
    ):
        recorder.wait_for("recording")
        time.sleep(SETTLES_S + 1.5)
        recorder.stop()
    settled = SETTLES_S * format_.rate_hz
    n_kept = 0
    expected = None  # of the next sample; None: behind a gap anything
    for first_frame, _, cause, name in tiles(state, 1):
        if name is None:
            assert cause in ("stall", "overflow", "schedule")
            expected = None
        elif first_frame >= settled:
            samples = samples_of(state / "audio" / name, format_)
            first = samples[0] if expected is None else expected
            expected = first + len(samples)
            wanted = np.arange(first, expected) % (1 << 8 * format_.sample_bytes)
            np.testing.assert_array_equal(samples, wanted)
            assert first % format_.n_channels == 0
            n_kept += len(samples) // format_.n_channels
    assert n_kept >= format_.rate_hz


def samples_of(path: Path, format_: Format) -> NDArray[np.int64]:
    """Of a segment, channel by channel, as numbers without a sign."""
    found = sf.info(path)
    assert (found.samplerate, found.channels) == (format_.rate_hz, format_.n_channels)
    assert found.subtype == f"PCM_{8 * format_.sample_bytes}"
    frames = np.frombuffer(path.read_bytes()[HEADER_BYTES:], np.uint8)
    frames = frames.reshape(-1, format_.sample_bytes).astype(np.int64)
    whole: NDArray[np.int64] = (frames << 8 * np.arange(format_.sample_bytes)).sum(axis=1)
    return whole


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


RESTED = "import os; os.getloadavg = lambda: (0, 0, 0); from edge_probe.cli import main; main()"
"""FLAC waits for a machine that has time, which this one may never have."""

QUOTA_GB = "0.0067"
"""A reserve of 4.2 MB, databases with 1.1 MB of logs, and some seconds of audio."""


def count(state: Path, database: str, table: str) -> int:
    """Rows; 0 as long as there is no such table."""
    try:
        with closing(sqlite3.connect(f"file:{state / database}?mode=ro", uri=True)) as db:
            (n,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
            return int(n)
    except sqlite3.OperationalError:
        return 0


def test_a_whole_station_listens_to_nobody_and_writes_into_its_folder_only(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    """Recording, classifier, privacy, FLAC, deletion, status, effort."""
    if lacking := [tool for tool in (*TOOLS, "ss") if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(lacking)} (Debian: strace, iproute2)")
    state, trace = tmp_path / "state", tmp_path / "trace"
    options = ["--segment", "1", "--bundle", str(DEMO_BUNDLE), "--private", "Rain",
               "--private-margin", "0", "--keep", "detections", "--accept-deletion",
               "--quota", QUOTA_GB, "--floor", "0"]  # fmt: skip
    with LiveRecorder(
        microphone, state, RATE, options, traced(trace), program=("-c", RESTED)
    ) as recorder:
        recorder.wait_for("recording")
        player = microphone.play(DEMO_BUNDLE.parent / "demo_scene.ogg", latency_ms=1000)
        wanted = {"detections.sqlite": ["chunk"], "capture.sqlite": ["transcode", "deletion"]}
        begin = time.monotonic()
        while lacking := [
            table for file, tables in wanted.items() for table in tables
            if not count(state, file, table)
        ]:  # fmt: skip
            assert time.monotonic() < begin + 60, (lacking, recorder.log.read_text())
            time.sleep(0.2)
        for command in ("effort", "status"):
            subprocess.run(
                [*traced(tmp_path / command), sys.executable, "-m", "edge_probe", command,
                 str(state)], check=command == "effort", stdout=subprocess.DEVNULL,
            )  # fmt: skip
        sockets = subprocess.run(["ss", "-ltnup"], capture_output=True, text=True, check=True)
        family = descendants(recorder.process.pid)
        recorder.stop()
        player.kill()
        player.wait()
    logs = [trace, tmp_path / "effort", tmp_path / "status"]
    assert len(family) >= 3, "recorder, classifier, FLAC"
    assert not [pid for pid in family if f"pid={pid}," in sockets.stdout]
    assert [call for log in logs for call in listened(log)] == []
    found = {change for log in logs for change in changed(log)}
    inside = {name for name, path in found if path.is_relative_to(state)}
    assert inside >= {"openat", "mkdir", "rename", "unlink"}
    assert (state / "effort.csv").exists()
    outside = {(name, path) for name, path in found if not path.is_relative_to(state)}
    assert {one for one in outside if not is_allowed(one[1], tmp_path)} == set()


def is_allowed(path: Path, tmp_path: Path) -> bool:
    """What others than us open to write elsewhere, or what is no file."""
    home = tmp_path / "pulse"
    return (
        path == Path("/dev/null")
        or path.is_relative_to("/dev/snd")  # ALSA: the sound card
        or re.fullmatch(r"/dev/dsp\d*", str(path)) is not None  # PortAudio asks for OSS, too
        or path.is_relative_to("/dev/shm/jack_db-0")  # and for JACK
        or path.match("/dev/shm/pulse-shm-*")  # audio that PulseAudio's client and server share
        or path.is_relative_to(home / "run" / "pulse")  # its folder in $XDG_RUNTIME_DIR
        or path.is_relative_to(home / ".config" / "pulse")  # its cookie in $HOME
        or (path.parts[1] == "proc" and path.name == "oom_score_adj")  # of the classifier
        or path.parent.name == "__pycache__"  # Python compiles a checkout when it first runs
    )


def descendants(pid: int) -> list[str]:
    """A process and all that it started, as far as they live."""
    return [str(pid), *(one for child in children(pid) for one in descendants(int(child)))]
