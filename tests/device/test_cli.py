"""The commands as a user meets them: output, exit codes, one line and a hint for bad input."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from support.tiny_bundle import resign, write_tiny_bundle

from edge_probe.commands.classify import DEMO_BUNDLE

SCENE = DEMO_BUNDLE.parent / "demo_scene.ogg"

KEYS = [
    "source", "channel", "start_s", "end_s", "low_hz", "high_hz", "label", "scientific_name",
    "common_name", "score", "calibrated", "logit", "threshold", "window_start_s", "time_utc",
    "clock_trust", "bundle",
]  # fmt: skip


def edge_probe(
    *arguments: object, data: bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "edge_probe", *map(str, arguments)],
        input=data or b"", capture_output=True, check=False, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip


def lines(output: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.decode().splitlines()]


def refused(done: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit code 1, one error line, one hint, no traceback, nothing on stdout."""
    text = done.stderr.decode()
    assert done.returncode == 1, text
    assert "Traceback" not in text
    assert text.count("error: ") == 1
    assert text.count("hint: ") == 1
    assert not done.stdout
    for word in words:
        assert word in text, text


@pytest.fixture(scope="module")
def pcm() -> bytes:
    samples, _ = sf.read(SCENE, dtype="int16")
    return np.asarray(samples, np.int16).tobytes()


def test_json_lines_have_exactly_the_promised_fields() -> None:
    done = edge_probe("classify", SCENE, "--json")
    assert done.returncode == 0
    events = lines(done.stdout)
    assert events
    for event in events:
        assert list(event) == KEYS
        assert event["source"] == str(SCENE)
        assert (event["channel"], event["time_utc"], event["clock_trust"]) == (0, None, "unset")
        assert event["label"] == event["common_name"] == event["scientific_name"]
        logit = event["logit"]
        assert isinstance(logit, float)
        assert event["score"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)


def test_file_and_pipe_give_identical_lines(tmp_path: Path, pcm: bytes) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.frombuffer(pcm, np.int16), 44_100)
    from_file = lines(edge_probe("classify", path, "--json").stdout)
    options = ("--rate", 44_100, "--channels", 1, "--format", "s16", "--json")
    from_pipe = lines(edge_probe("classify", "-", *options, data=pcm).stdout)
    assert from_file
    assert [event | {"source": ""} for event in from_file] == [
        event | {"source": ""} for event in from_pipe
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipe_that_is_interrupted_loses_nothing(pcm: bytes, number: signal.Signals) -> None:
    """Ctrl-C on ``arecord | edge-probe classify -``: what was heard is decided and written."""
    options = ("--rate", "44100", "--json")
    part = pcm[: 18 * 44_100 * 2]
    whole = lines(edge_probe("classify", "-", *options, data=part).stdout)
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_probe", "classify", "-", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(part)
    process.stdin.flush()
    time.sleep(3)  # the last pipe's worth is read and classified; the pipe stays open
    process.send_signal(number)
    output, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert lines(output) == whole
    assert whole[-1]["end_s"] == pytest.approx(18, abs=3)  # a detection that was still open


def test_no_line_ends_after_the_audio(pcm: bytes) -> None:
    for n_samples in (18 * 44_100 + 1, 17 * 44_100 + 12_345):
        done = edge_probe("classify", "-", "--rate", 44_100, "--json", data=pcm[: 2 * n_samples])
        events = lines(done.stdout)
        assert events
        assert all(float(str(event["end_s"])) <= n_samples / 44_100 for event in events)


def test_start_time_dates_every_detection() -> None:
    options = ("--start-time", "2026-05-01T06:30:00.5+02:00", "--json")
    for event in lines(edge_probe("classify", SCENE, *options).stdout):
        assert event["clock_trust"] == "manual"
        start_s = event["start_s"]
        assert isinstance(start_s, float)
        second = 0.5 + start_s
        assert event["time_utc"] == f"2026-05-01T04:30:{second:06.3f}Z"


def test_table_is_at_most_80_columns_wide() -> None:
    done = edge_probe("classify", SCENE)
    rows = done.stdout.decode().splitlines()
    assert rows[0].split() == ["start_s", "end_s", "band_hz", "score", "logit", "limit", "label"]
    assert all(len(row) <= 80 for row in rows if str(SCENE) not in row)


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    done = edge_probe("classify", tmp_path / "none.wav", SCENE, "--json")
    assert done.returncode == 1
    assert lines(done.stdout)
    assert done.stderr.count(b"error: ") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("classify",), ("classify", "a.wav", "--bits"), ("nonsense",),
        ("classify", "-", "--rate", "1"), ("classify", "-", "--rate", "1e9"),
        ("classify", "-", "--rate", "48000", "--channels", "0"),
        ("classify", "-", "--rate", "48000", "--channels", "99999999999999999999"),
        ("classify", "a.wav", "--start-time", "9999-12-31T23:59:59Z"),
        ("classify", "a.wav", "--start-time", "0001-01-01T00:00:00+14:00"),
        ("classify", "a.wav", "--start-time", "2026-05-01T06:30:00"),
        ("listen", "--rate", "-5"), ("listen", "--channels", "1000000"),
        ("listen", "--duration", "nan"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(words: Sequence[str]) -> None:
    assert edge_probe(*words).returncode == 2


def test_every_command_tells_its_options_without_any_extra() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pyarrow', 'matplotlib', 'distributed']));"
        "from edge_probe.cli import COMMANDS, make_parser;"
        "make_parser('edge-probe', '', 'edge_probe.commands', COMMANDS, COMMANDS)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_demo_finds_what_was_planted() -> None:
    done = edge_probe("demo")
    text = done.stdout.decode()
    assert done.returncode == 0, text
    assert all(len(row) <= 80 for row in text.splitlines())
    for words in (
        "selftest  passed", "mixed on purpose", "CPU seconds per second of audio", "runtime",
        "No Raspberry Pi was measured for this version.", "may call other sounds",
    ):  # fmt: skip
        assert words in text


def write_wav(path: Path, samples: object, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    sf.write(path, np.asarray(samples), rate, subtype=subtype)
    return path


def test_missing_file(tmp_path: Path) -> None:
    refused(edge_probe("classify", tmp_path / "no.wav"), "No such file")


def test_text_named_wav(tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("heard a wren at dawn\n" * 20)
    refused(edge_probe("classify", path), "found something else")


def test_zero_length(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    refused(edge_probe("classify", tmp_path / "empty.wav"), "empty")
    refused(edge_probe("classify", write_wav(tmp_path / "b.wav", [])), "holds no samples")
    refused(edge_probe("classify", "-", "--rate", 48_000, data=b""), "holds no samples")


def test_nan_samples(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "nan.wav", [0.0, math.nan] * 9_000, subtype="FLOAT")
    refused(edge_probe("classify", path), "NaN")


def test_one_sample(tmp_path: Path) -> None:
    refused(edge_probe("classify", write_wav(tmp_path / "a.wav", [0.5])), "too short")
    refused(edge_probe("classify", "-", "--rate", 48_000, data=b"\0\1"), "too short")


def test_three_channels_without_a_choice(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros((16_000, 3)))
    refused(edge_probe("classify", path), "3 channels", "--channel")
    assert edge_probe("classify", path, "--channel", 2).returncode == 0
    refused(edge_probe("classify", path, "--channel", 3), "from 0 to 2")


def test_options_of_a_pipe_are_refused_for_files() -> None:
    refused(edge_probe("classify", SCENE, "--rate", 8_000), "raw PCM on stdin")


def test_a_broken_encoder_loses_nothing_that_came_before(tmp_path: Path) -> None:
    """Samples of 1e30 after 25 s overflow the encoder; what was open until then is written."""
    samples, _ = sf.read(SCENE, dtype="float32")
    whole = write_wav(tmp_path / "a.wav", samples[: 25 * 44_100], 44_100, "FLOAT")
    samples[25 * 44_100 :] = 1e30
    broken = edge_probe(
        "classify", write_wav(tmp_path / "b.wav", samples, 44_100, "FLOAT"), "--json"
    )
    assert broken.returncode == 1
    assert b"b.wav: at " in broken.stderr
    expected = [e["label"] for e in lines(edge_probe("classify", whole, "--json").stdout)]
    assert [event["label"] for event in lines(broken.stdout)] == expected[
        : len(lines(broken.stdout))
    ]
    assert len(lines(broken.stdout)) >= len(expected) - 1


def test_closed_streams_are_no_traceback() -> None:
    for command in (f"classify {SCENE} >&-", "info >&-", "classify - --rate 8000 <&-"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m edge_probe {command}"],
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        assert done.returncode == (1 if "<&-" in command else 0)


def test_any_file_name_and_locale_will_do(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/sur\xff \xc3\xa9.wav"
    Path(os.fsdecode(path)).write_bytes(
        write_wav(tmp_path / "a.wav", np.zeros(30_000)).read_bytes()
    )
    strange = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for extra in ({}, strange, {"PYTHONIOENCODING": "ascii"}):
        done = subprocess.run(
            [sys.executable, "-m", "edge_probe", "classify", path, os.fsencode(SCENE), "--json"],
            capture_output=True, check=False, timeout=120, env={**os.environ, **extra},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert lines(done.stdout)


@pytest.mark.parametrize("package", ["onnxruntime", "soundfile", "soxr", "safetensors"])
def test_a_missing_package_is_one_line(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name='{package}')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    refused(edge_probe("classify", SCENE, PYTHONPATH=path), package, "pip install")


def test_pipe_without_a_rate() -> None:
    refused(edge_probe("classify", "-", data=b"\0" * 99), "--rate 48000")


def test_bundle_of_a_future_version(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b")
    resign(tmp_path / "b", lambda manifest: manifest.update(format_version=3))
    refused(edge_probe("classify", SCENE, "--bundle", tmp_path / "b"), "version 3")


def test_unsigned_bundle(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b")
    (tmp_path / "b" / "manifest.sig").unlink()
    refused(edge_probe("classify", SCENE, "--bundle", tmp_path / "b"), "manifest.sig")


def test_encoder_whose_d_differs_from_the_heads(tmp_path: Path) -> None:
    """Signed and consistent with itself, but its graph gives 4 dimensions, not 5."""
    write_tiny_bundle(tmp_path / "b")
    resign(tmp_path / "b", lambda manifest: manifest["encoder"].update(n_dims=5))
    refused(edge_probe("classify", SCENE, "--bundle", tmp_path / "b"))


def test_no_such_bundle(tmp_path: Path) -> None:
    refused(edge_probe("classify", SCENE, "--bundle", tmp_path / "none"))


def test_kernel_that_does_not_exist() -> None:
    refused(edge_probe("classify", SCENE, EDGE_PROBE_KERNEL="abacus"), "abacus", "numpy-gemm")


def test_no_portaudio(tmp_path: Path) -> None:
    """A sounddevice that finds no PortAudio library, as on a fresh board."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    for command in ("devices", "listen"):
        done = edge_probe(command, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
        refused(done, "PortAudio", "apt install libportaudio2")


def test_downstream_that_has_enough_ends_us_quietly() -> None:
    command = f"{sys.executable} -m edge_probe classify {SCENE} {SCENE} --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=120)
    assert len(done.stdout.splitlines()) == 1
    assert b"Broken" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_full_disk_behind_stdout_is_one_line() -> None:
    command = f"{sys.executable} -m edge_probe classify {SCENE} --json > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=120)
    refused(done, "No space left")
