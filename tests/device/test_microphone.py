"""A real PortAudio stream over a virtual microphone: what is delivered is what is classified."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from support.virtual_microphone import VirtualMicrophone, first_sample

from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.source.wav import HEADER_BYTES

RATE = 44_100
SCENE = DEMO_BUNDLE.parent / "demo_scene.ogg"
BEGIN_S, LENGTH_S = 7.0, 9.0
"""The part of the scene that is played."""

SEA_WAVES_S = 10.4, 15.4
"""Planted in it, and found wherever the chunks happen to fall."""

WINDOW_S = 2.56


@pytest.fixture
def microphone(plugged: Callable[[int], VirtualMicrophone]) -> VirtualMicrophone:
    return plugged(RATE)


def start(microphone: VirtualMicrophone, *arguments: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "edge_probe", *map(str, arguments)],
        env=microphone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def until_heard(kept: Path) -> None:
    """Until a listener that keeps what it hears has heard something."""
    end = time.monotonic() + 60
    while not (kept.exists() and kept.stat().st_size > HEADER_BYTES):
        assert time.monotonic() < end
        time.sleep(0.1)


def events(output: bytes) -> list[dict[str, Any]]:
    """Detections without what a file cannot know."""
    unknown = {"source": None, "time_utc": None, "clock_trust": None}
    return [json.loads(line) | unknown for line in output.decode().splitlines()]


def test_what_was_delivered_classifies_the_same_as_a_file(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    samples, _ = sf.read(SCENE, dtype="int16")
    part = samples[int(BEGIN_S * RATE) : int((BEGIN_S + LENGTH_S) * RATE)]
    sf.write(tmp_path / "part.wav", part, RATE)
    kept = tmp_path / "kept.wav"
    options = ("--device", "fieldmic", "--rate", RATE, "--json", "--save", kept)
    listener = start(microphone, "listen", *options, "--duration", LENGTH_S + 5)
    until_heard(kept)
    time.sleep(1)  # a sound server settles
    player = microphone.play(tmp_path / "part.wav", latency_ms=1000)
    output, log = listener.communicate(timeout=60)
    player.wait(timeout=60)
    assert listener.returncode == 0, log.decode()
    assert b" 0 frames missing" in log, log.decode()
    delivered, rate = sf.read(kept, dtype="int16")
    assert (rate, len(delivered)) == (RATE, round((LENGTH_S + 5) * RATE))
    again = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", str(kept), "--json"],
        capture_output=True, check=True,
    )  # fmt: skip
    for line in output.decode().splitlines():
        event = json.loads(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time_utc"])
        assert event["clock_trust"] in ("unset", "ntp")
    live = events(output)
    assert live
    assert live == events(again.stdout)
    begin_s = first_sample(part, delivered) / RATE - BEGIN_S
    start_s, end_s = (begin_s + time_s for time_s in SEA_WAVES_S)
    assert any(
        event["label"] == "Sea waves"
        and event["start_s"] < end_s + WINDOW_S
        and event["end_s"] > start_s - WINDOW_S
        for event in live
    )


def test_a_lost_microphone_is_reported_with_exit_code_3(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.wav"
    listener = start(microphone, "listen", "--device", "fieldmic", "--rate", RATE, "--save", kept)
    until_heard(kept)
    microphone.unplug()
    _, log = listener.communicate(timeout=60)
    assert listener.returncode == 3, log.decode()
    assert b"stopped delivering" in log
    assert b"Traceback" not in log


def test_ctrl_c_ends_cleanly(microphone: VirtualMicrophone, tmp_path: Path) -> None:
    kept = tmp_path / "kept.wav"
    listener = start(microphone, "listen", "--device", "fieldmic", "--rate", RATE, "--save", kept)
    until_heard(kept)
    listener.send_signal(signal.SIGINT)
    _, log = listener.communicate(timeout=60)
    assert listener.returncode == 0, log.decode()
    assert b"frames missing" in log
    assert sf.info(kept).frames > 0


def test_devices_are_listed_and_a_wrong_name_lists_them(microphone: VirtualMicrophone) -> None:
    listing = start(microphone, "devices")
    output, _ = listing.communicate(timeout=60)
    assert b"fieldmic" in output
    listener = start(microphone, "listen", "--device", "no such thing")
    _, log = listener.communicate(timeout=60)
    assert listener.returncode == 1
    assert b"no such microphone" in log
    assert b"fieldmic" in log


def test_a_saved_recording_is_never_overwritten(
    microphone: VirtualMicrophone, tmp_path: Path
) -> None:
    (tmp_path / "kept.wav").write_bytes(b"precious")
    listener = start(microphone, "listen", "--device", "fieldmic", "--save", tmp_path / "kept.wav")
    _, log = listener.communicate(timeout=60)
    assert listener.returncode == 1
    assert b"exists already" in log
    assert (tmp_path / "kept.wav").read_bytes() == b"precious"
