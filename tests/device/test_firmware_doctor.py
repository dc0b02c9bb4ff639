"""The doctor as a whole: what must load, no check that hangs or changes anything, this machine."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.changed_files import changed, traced
from support.examined_board import REPOSITORY, dies, installed, on, one, poisoned, say, says
from support.made_boards import THROTTLED, write
from support.owner import TRUSTED
from support.recorded_state import RECORDING

from edge_probe.bundle.trust import write_store
from edge_probe.lock import hold
from firmware_tools.cli import main
from firmware_tools.doctor import program
from firmware_tools.doctor.examine import BUG, CHECKS, Check, examine
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, fields

LINE = re.compile(r"(ok|warn|fail|unknown) +[a-z0-9-]+: .+")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return on(tmp_path / "root", "pi-zero-2w")


# What must load


def part_of(code: str) -> program.Part:
    return program.Part("made", code, 1, "nothing works")


@pytest.mark.parametrize(
    ("code", "level", "text"),
    [
        ("print('1.2')", "ok", r"^1\.2$"),
        ("import no_such_module", "fail", "No module named 'no_such_module': nothing works"),
        ("import ctypes; ctypes.CDLL('libnosuch.so.9')", "fail", "libnosuch.so.9: cannot open"),
        ("raise MemoryError", "fail", "MemoryError"),
        (dies(signal.SIGILL), "fail", "illegal instruction: it was built for another processor"),
        (dies(signal.SIGKILL), "fail", "killed, most likely because memory ran out"),
        (dies(signal.SIGSEGV), "fail", "segmentation fault"),
        (dies(signal.SIGABRT), "fail", "SIGABRT"),
    ],
)
def test_every_way_to_end_is_a_sentence(code: str, level: str, text: str) -> None:
    found = program.judge_part(program.attempt(part_of(code)))
    assert says(found, level, text)
    assert level == "ok" or found.hint


def test_who_dies_leaves_no_core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    monkeypatch.chdir(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        program.attempt(part_of(dies(signal.SIGILL)))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert not list(tmp_path.iterdir())


def test_what_lies_in_the_working_directory_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(poisoned(tmp_path, "made"))
    found = program.judge_part(program.attempt(part_of("import made")))
    assert says(found, "fail", "No module named 'made'")


def test_what_does_not_come_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "TIMEOUT_S", 0.3)
    began = time.monotonic()
    found = program.judge_part(program.attempt(part_of("import time; time.sleep(30)")))
    assert says(found, "fail", "did not load within")
    assert time.monotonic() - began < 5


def test_nothing_is_tried_for_which_there_is_no_memory(host: Host) -> None:
    host.tried.clear()
    write(host.path("proc/meminfo"), "MemTotal: 427000 kB\nMemAvailable: 30000 kB\n")
    for name in ("numpy", "onnxruntime", "deployment", "microphone"):
        assert says(one(host, name), "unknown", "not tried: 29 MiB are available", "classifier")


def test_what_numpy_is_needed_for_is_unknown_without_it(host: Host) -> None:
    host.tried["numpy"] = program.Attempt(program.NUMPY, -signal.SIGILL, "")
    assert says(one(host, "numpy"), "fail", "illegal instruction.*nothing works", "wheels")
    for name in ("deployment", "microphone", "rate", "gain"):
        assert says(one(host, name), "unknown", "needs numpy, which does not load here")
    assert one(host, "board").level == "ok"


def test_kernels(host: Host) -> None:
    assert says(one(host, "kernels"), "ok", "^neon$")
    host.tried["kernels"] = program.Attempt(program.KERNELS, 0, "no C kernels were built")
    assert says(one(host, "kernels"), "warn", "no C kernels.*NumPy does their work")
    host.tried["kernels"] = program.Attempt(program.KERNELS, -signal.SIGILL, "")
    assert says(one(host, "kernels"), "fail", "illegal instruction")


# All of it


def test_a_check_that_hangs_or_raises_is_one_line(host: Host) -> None:
    host.layout.settings.unlink()
    os.mkfifo(host.layout.settings)  # nobody will ever write to it
    checks = [check for check in CHECKS if check.name in ("settings", "board")]

    def wrong(_: Host) -> int:
        raise KeyError("x")

    checks.append(Check("wrong", wrong, lambda _: Finding("ok", "")))
    began = time.monotonic()
    found = {entry.name: entry.finding for entry in examine(host, checks, patience_s=0.5)}
    assert time.monotonic() - began < 10
    assert found["board"].level == "ok"
    assert says(found["settings"], "unknown", "no answer within", "hangs")
    assert says(found["wrong"], "unknown", re.escape(f"{BUG}: KeyError('x')"), "report")


TORN = (
    "proc/device-tree/model", "proc/cpuinfo", "proc/meminfo", "proc/swaps", "proc/cgroups",
    "proc/cmdline", "proc/self/mountinfo", "proc/asound/cards", "proc/asound/pcm",
    "proc/asound/card1/usbid", "proc/asound/card1/stream0", THROTTLED, "etc/fstab",
    "proc/asound/card1/pcm0c/sub0/hw_params", "sys/fs/cgroup/cgroup.controllers",
    "sys/fs/ext4/mmcblk0p2/errors_count", "sys/fs/ext4/mmcblk0p2/last_error_time",
    "etc/edge-probe/deployment.toml", "etc/edge-probe/settings.toml",
    "sys/class/watchdog/watchdog0/state", "boot/firmware/edge-probe/edge-probe-result.txt",
    "var/lib/edge-probe/status.json", "var/lib/edge-probe/slots/slots.json",
)  # fmt: skip

NOT_FILES = {"kernel-log", "gain", "card-speed"}
"""They ask programs and the disk, which takes time."""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(TORN), content=st.binary(max_size=60), cut=st.integers(0, 400))
def test_whatever_a_file_holds_no_check_is_wrong(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes, cut: int
) -> None:
    host = on(tmp_path_factory.mktemp("torn"), "pi-zero-2w")
    path = host.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(before[:cut] + content)
    checks = [check for check in CHECKS if check.name not in NOT_FILES]
    for entry in examine(host, checks):
        assert BUG not in entry.finding.what, entry
        assert "\n" not in str(entry), entry


def test_fields() -> None:
    text = "CPU part\t: 0xd03\nMemTotal:  427 kB\nResult=exit-code\nnothing\nA=b:c=d\n"
    assert fields(text) == {
        "CPU part": "0xd03", "MemTotal": "427 kB", "Result": "exit-code", "A": "b:c=d"
    }  # fmt: skip


def command(*words: str, path: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [*words], env=environment, capture_output=True, text=True, timeout=120, check=False, **more
    )


def test_this_machine_with_a_numpy_of_another_processor(tmp_path: Path) -> None:
    path = f"{poisoned(tmp_path, 'numpy')}:{REPOSITORY}"
    done = command(sys.executable, "-m", "firmware_tools", "doctor", str(tmp_path), path=path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), done.stdout
    assert len(lines) == len(CHECKS)
    (numpy,) = (line for line in lines if " numpy: " in line)
    assert re.match(r"fail +numpy: dies when it is loaded: an illegal instruction.*  -> ", numpy)
    assert "onnxruntime: dies" in done.stdout
    assert done.stderr == ""


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from firmware_tools.cli import main
from firmware_tools.doctor import host
from firmware_tools.layout import Layout
root, *words = sys.argv[1:]
host.Host = partial(host.Host, layout=Layout(Path(root)))
sys.exit(main(words))
"""
"""The command, on a machine made of files."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_nothing_is_changed_while_all_of_it_is_looked_at(host: Host, tmp_path: Path) -> None:
    """Not even compiled modules: the copy of our packages that runs has none to begin with."""
    installed(host, tmp_path)
    write_store(host.layout.trust, TRUSTED)
    say(host, RECORDING)
    copy, log = tmp_path / "copy", tmp_path / "strace.log"
    unwanted = shutil.ignore_patterns("__pycache__", "demo*", "*.md", "*.c")
    for package in ("edge_probe", "firmware_tools"):
        shutil.copytree(REPOSITORY / package, copy / package, ignore=unwanted)
    python = [sys.executable, "-c", DRIVER, str(host.layout.root), "doctor"]
    helped = command(*python, "--help", path=str(copy), cwd=tmp_path)  # compiles, as pip does
    assert helped.returncode == 0, helped.stderr
    words = *traced(log), *python, str(host.state), "--json"
    with hold(host.state):
        done = command(*words, path=str(copy), cwd=tmp_path)
    found = json.loads(done.stdout)
    assert {"version", "state", "findings"} == set(found)
    assert [set(entry) for entry in found["findings"]] == [
        {"name", "level", "what", "hint"} for _ in CHECKS
    ]
    levels = {entry["name"]: entry["level"] for entry in found["findings"]}
    assert levels["bundle"] == levels["numpy"] == levels["onnxruntime"] == "ok", done.stdout
    assert levels["card-speed"] in ("ok", "warn"), done.stdout
    assert done.returncode == int("fail" in levels.values())
    assert {(name, path) for name, path in changed(log) if path != Path("/dev/null")} == set()
    assert list(copy.rglob("cli.*.pyc"))  # the copy is what ran
    assert not list(copy.rglob("examine.*.pyc"))


def test_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "look at the device this runs on" in capsys.readouterr().out
