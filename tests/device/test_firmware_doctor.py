"""The doctor: every finding well and ill, boards made of files, and this machine itself."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.changed_files import changed, traced
from support.made_boards import BOARDS, CARDS, MICROPHONE, MOUNTS, PCM, THROTTLED, make_board, write
from support.owner import GOLDEN_EPB, TRUSTED
from support.recorded_state import RECORDING

from edge_probe.alive.status import Classifier, Disk, Status, Written, as_json
from edge_probe.bundle import verify
from edge_probe.bundle.transport import unpack_bundle
from edge_probe.bundle.trust import write_store
from edge_probe.clock import SystemClock
from edge_probe.lock import CLASSIFIER_LOCK, hold
from firmware_tools.cli import main
from firmware_tools.doctor import (
    board,
    bundle,
    card,
    clock,
    memory,
    program,
    service,
    sound,
)
from firmware_tools.doctor import settings as device_settings
from firmware_tools.doctor.examine import BUG, CHECKS, Check, examine
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError, fields

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(r"(ok|warn|fail|unknown) +[a-z0-9-]+: .+")

Programs = Callable[[str, str], None]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return on(tmp_path / "root", "pi-zero-2w")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Puts shell scripts before all other programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        write(folder / name, f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def on(root: Path, name: str) -> Host:
    """A board whose programs load, as far as anybody asks."""
    made = make_board(root, name)
    for part in (*program.PARTS, program.KERNELS):
        made.tried[part.name] = program.Attempt(part, 0, "ready: neon")
    return made


def judged(host: Host, *names: str) -> dict[str, Finding]:
    chosen = [check for check in CHECKS if check.name in names]
    assert len(chosen) == len(names)
    return {entry.name: entry.finding for entry in examine(host, chosen)}


def one(host: Host, name: str) -> Finding:
    return judged(host, name)[name]


def says(found: Finding, level: str, text: str, hint: str | None = None) -> bool:
    assert found.level == level, found
    assert re.search(text, found.what), found
    assert hint is None or (found.hint and re.search(hint, found.hint)), found
    return True


# The board


@pytest.mark.parametrize("name", BOARDS)
def test_boards_as_they_come(tmp_path: Path, name: str, programs: Programs) -> None:
    programs("dmesg", "echo '[ 0.000000] Booting Linux'")
    programs("amixer", "exit 0")
    host = on(tmp_path, name)
    found = {entry.name: entry.finding for entry in examine(host)}
    assert [check.name for check in CHECKS] == list(found)
    failed = {name for name, finding in found.items() if finding.level == "fail"}
    wanted = {
        "pi-4b-armhf": {"64-bit"},
        "pi-3b-armv7": {"64-bit"},
        "pi-zero-w": {"board", "64-bit"},
    }
    assert failed == wanted.get(name, set())
    warned = {name for name, finding in found.items() if finding.level == "warn"}
    usual = {"memory-limit", "clock-chip", "gain", "trust", "bundle", "recorder", "watchdog"}
    assert warned - {"clock"} == (usual | {"swap"} if name != "pi-5" else usual - {"clock-chip"})
    for finding in found.values():
        assert finding.level in ("ok", "unknown") or finding.hint, finding
    if name in ("pi-zero-2w", "pi-3b-plus", "pi-4b", "pi-5"):
        assert says(found["board"], "ok", BOARDS[name].model, f"--profile {name}$")


@pytest.mark.parametrize(
    ("model", "core", "ram_mib", "nearest"),
    [
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "Cortex-A53", 427, "pi-zero-2w"),
        ("Raspberry Pi 3 Model B Rev 1.2", "Cortex-A53", 923, "pi-3b-plus"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "Cortex-A72", 3800, "pi-4b"),
        ("Raspberry Pi 500 Rev 1.0", "Cortex-A76", 8053, "pi-5"),
        ("Some other board", None, 3800, "pi-3b-plus"),
        ("Some other board", "Cortex-A76", 900, "pi-5"),
    ],
)
def test_a_board_without_a_profile_gets_the_nearest(
    model: str, core: str | None, ram_mib: float, nearest: str
) -> None:
    found = board.judge_board(board.BoardFacts(model, "aarch64", 64, core, ram_mib))
    assert says(found, "warn", "no profile of its own", f"^{nearest} comes nearest.*bench")


@pytest.mark.parametrize(
    "model",
    ["Raspberry Pi Zero Rev 1.3", "Raspberry Pi Zero W Rev 1.1",
     "Raspberry Pi Model B Plus Rev 1.2", "Raspberry Pi 2 Model B Rev 1.1",
     "Raspberry Pi Compute Module Rev 1.0"],
)  # fmt: skip
def test_a_32_bit_board_is_refused_with_the_reason(model: str) -> None:
    found = board.judge_board(board.BoardFacts(model, "armv6l", 32, None, 427))
    assert says(found, "fail", r"ARMv[67].*32-bit processor.*no wheels", "pi-zero-2w")


def test_a_pi_2_of_the_second_kind_is_not_refused() -> None:
    facts = board.BoardFacts("Raspberry Pi 2 Model B Rev 1.2", "aarch64", 64, "Cortex-A53", 923)
    assert says(board.judge_board(facts), "warn", "no profile", "pi-3b-plus")


@pytest.mark.parametrize(
    ("machine", "bits", "level", "text"),
    [
        ("aarch64", 64, "ok", "64 bits"), ("x86_64", 64, "ok", "64 bits"),
        ("aarch64", 32, "fail", "64-bit kernel.*32-bit programs"),
        ("armv7l", 32, "fail", "32-bit kernel"), ("i686", 32, "fail", "32-bit kernel"),
        ("riscv64", 64, "warn", "known to work"),
    ],
)  # fmt: skip
def test_bits(machine: str, bits: int, level: str, text: str) -> None:
    facts = board.BoardFacts(None, machine, bits, None, 900)
    assert says(board.judge_bits(facts), level, text)


def test_python() -> None:
    assert says(board.judge_python((3, 13, 5)), "ok", r"3\.13\.5")
    assert says(board.judge_python((3, 9, 2)), "fail", r"expected 3\.11")


@pytest.mark.parametrize(
    ("bits", "level", "text"),
    [
        ("0", "ok", "no under-voltage"),
        ("50000", "warn", "since boot, not now: the supply voltage was too low.*slowed down"),
        ("50005", "fail", "now: the supply voltage was too low"),
        ("80008", "fail", "now: the soft temperature limit"),
    ],
)
def test_power(host: Host, bits: str, level: str, text: str) -> None:
    write(host.path(THROTTLED), bits + "\n")
    found = one(host, "power")
    assert says(found, level, text)
    assert level == "ok" or found.hint


@pytest.mark.parametrize(("heat", "level"), [(48.0, "ok"), (71.0, "warn"), (82.5, "fail")])
def test_temperature(host: Host, heat: float, level: str) -> None:
    write(host.path("sys/class/thermal/thermal_zone0/temp"), f"{heat * 1000:.0f}\n")
    assert says(one(host, "temperature"), level, f"{heat:.0f} degrees")


def test_a_machine_that_tells_nothing_is_unknown_and_nothing_raises(tmp_path: Path) -> None:
    host = Host(tmp_path / "state")
    host = replace(host, layout=replace(host.layout, root=tmp_path))
    for part in (*program.PARTS, program.KERNELS):
        host.tried[part.name] = program.Attempt(part, 0, "")
    found = {entry.name: entry.finding for entry in examine(host)}
    for name in ("board", "memory", "swap", "memory-limit", "temperature", "state-folder", "rate",
                 "card-errors", "recorder-service", "watchdog"):  # fmt: skip
        assert found[name].level == "unknown", name
    assert not [finding for finding in found.values() if BUG in finding.what]


# Memory and clock


def test_memory(host: Host) -> None:
    facts = memory.look_memory(host)
    assert says(memory.judge_memory(facts), "ok", "427 MiB, 256 of them available")
    assert says(memory.judge_memory(replace(facts, available_mib=30)), "warn", "dropped", "ps ")
    assert says(memory.judge_memory(replace(facts, total_mib=240)), "warn", "less", "gpu_mem=16")


def test_swap(host: Host) -> None:
    assert says(one(host, "swap"), "warn", "on the card: /var/swap", "dphys-swapfile")
    write(host.path("proc/swaps"), "Filename\n/dev/zram0 partition 2097136 0 100\n")
    assert says(one(host, "swap"), "ok", "compressed memory: /dev/zram0")
    write(host.path("sys/block/zram0/backing_dev"), "/dev/loop0\n")
    assert says(one(host, "swap"), "warn", "on the card: /dev/zram0 with /dev/loop0", "swap.conf")
    write(host.path("proc/swaps"), "Filename\n")
    assert says(one(host, "swap"), "ok", "^no swap$")


def test_the_memory_controller(host: Host) -> None:
    """Off as Raspberry Pi OS comes; Linux 6.12 lists it in one file only when it is on."""
    found = one(host, "memory-limit")
    assert says(found, "warn", "cgroup_disable=memory.*MemoryMax.*does nothing", "cgroup_enable=")
    write(host.path("sys/fs/cgroup/cgroup.controllers"), "cpuset cpu io memory pids\n")
    assert says(one(host, "memory-limit"), "ok", "can limit")
    write(host.path("sys/fs/cgroup/cgroup.controllers"), "")  # version 1, or both
    assert one(host, "memory-limit").level == "warn"
    write(host.path("proc/cgroups"), "memory\t8\t88\t1\n")
    assert one(host, "memory-limit").level == "ok"
    write(host.path("proc/cgroups"), "cpu\t8\t88\t1\n")
    assert says(one(host, "memory-limit"), "unknown", "no control groups")


def test_clock() -> None:
    facts = clock.ClockFacts("unset", 0.0, ())
    assert says(clock.judge_clock(facts), "warn", "^1970-01-01 00:00:00 UTC: not set", "retime")
    assert says(clock.judge_clock(replace(facts, trust="ntp")), "ok", "set by ntp")
    assert says(clock.judge_chip(facts), "warn", "no clock chip", "DS3231")
    for chip, level, text in (
        (("ds3231", True, True), "ok", "ds3231"),
        (("ds3231", False, True), "warn", "does not answer"),
        (("rpi-rtc", True, False), "warn", "did not set the clock"),
    ):
        assert says(clock.judge_chip(replace(facts, chips=[chip])), level, text)


def test_clock_chips_are_found_and_one_without_power_does_not_answer(tmp_path: Path) -> None:
    host = on(tmp_path, "pi-5")
    assert clock.look_clock(host).chips == [("rpi-rtc", True, True)]
    host.path("sys/class/rtc/rtc0/since_epoch").unlink()
    assert clock.look_clock(host).chips == [("rpi-rtc", False, True)]


# What must load


def part_of(code: str) -> program.Part:
    return program.Part("made", code, 1, "nothing works")


def dies(number: signal.Signals) -> str:
    return f"import os; os.kill(os.getpid(), {number})"


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


# The card


DATA = "30 24 179:3 / /var/lib/edge-probe rw,{} - {} /dev/mmcblk0p3 rw\n"


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("", "ok", r"^/var/lib/edge-probe on ext4 \(/dev/mmcblk0p2\)"),
        (DATA.format("noatime", "ext4"), "ok", "mmcblk0p3"),
        (DATA.format("noatime", "btrfs"), "ok", "btrfs"),
        (DATA.format("noatime", "exfat"), "warn", "no journal"),
        (DATA.format("noatime", "zonefs"), "warn", "nobody tried"),
        (DATA.format("noatime", "tmpfs"), "fail", "that is memory"),
        (DATA.format("noatime", "overlay"), "fail", "that is memory"),
        (DATA.format("noatime", "ext4").replace(" rw,", " ro,"), "fail", "read-only"),
        (DATA.format("noatime", "ext4").replace("p3 rw", "p3 ro"), "fail", "read-only"),
        (DATA.format("noatime", "tmpfs") + DATA.format("noatime", "ext4"), "ok", "ext4"),
        (DATA.format("noatime", "tmpfs").replace("edge-probe", "edge"), "ok", "ext4"),
    ],
)
def test_the_state_folder(host: Host, line: str, level: str, text: str) -> None:
    write(host.path("proc/self/mountinfo"), MOUNTS + line)
    assert says(one(host, "state-folder"), level, text)


@pytest.mark.parametrize("by", ["fstab", "unit"])
def test_a_partition_that_should_be_mounted_and_is_not(host: Host, by: str) -> None:
    if by == "fstab":
        entry = "LABEL=edge-probe /var/lib/edge-probe/ ext4 noatime,nofail 0 2\n"
        write(host.path("etc/fstab"), f"# a comment\n{entry}")
    else:
        unit = "[Mount]\nWhat=LABEL=edge-probe\nWhere=/var/lib/edge-probe\n"
        write(host.path("etc/systemd/system/var-lib-edge\\x2dprobe.mount"), unit)
    assert says(one(host, "state-folder"), "fail", "should be mounted there and is not", "mount")
    write(host.path("proc/self/mountinfo"), MOUNTS + DATA.format("noatime", "ext4"))
    assert one(host, "state-folder").level == "ok"


def test_a_state_folder_that_is_not_there(host: Host) -> None:
    host.state.rmdir()
    assert says(one(host, "state-folder"), "fail", "no such folder", "tmpfiles")


@pytest.mark.parametrize(
    ("option", "level"), [("noatime", "ok"), ("relatime", "ok"), ("nodev", "warn")]
)
def test_access_times(host: Host, option: str, level: str) -> None:
    write(host.path("proc/self/mountinfo"), MOUNTS + DATA.format(option, "ext4"))
    assert says(one(host, "access-times"), level, "/var/lib/edge-probe")


def test_room() -> None:
    facts = card.RoomFacts(3 << 30, 0.4, deletes=False, is_full=False)
    assert says(card.judge_room(facts), "warn", "3.0 GiB free, 9h36 until it is full", "--plan")
    assert says(card.judge_room(replace(facts, deletes=True)), "ok", "until the oldest audio")
    assert says(card.judge_room(replace(facts, days_left=40.0)), "ok", "40d00h")
    assert says(card.judge_room(replace(facts, days_left=None)), "ok", "not known")
    assert says(card.judge_room(replace(facts, is_full=True)), "fail", "full, nothing is recorded")


def test_room_is_told_by_the_recorder_or_computed_from_the_settings(host: Host) -> None:
    facts = card.look_room(host)
    assert facts.days_left == pytest.approx(facts.free_bytes / (48_000 * 2 * 86_400), rel=0.01)
    say(host, replace(RECORDING, state="disk full", disk=Disk(1, 2, None, 0.0)))
    with hold(host.state):
        facts = card.look_room(host)
    assert (facts.days_left, facts.is_full) == (0.0, True)


def test_the_card_is_read_past_memory(host: Host) -> None:
    wheel = host.layout.program / "wheels/large.whl"
    wheel.parent.mkdir(parents=True)
    with wheel.open("wb") as file:
        file.truncate(1 << 30)  # larger than anything on sys.path, and empty
    graph = host.layout.slots / "a/encoder.onnx"
    write(graph, "x" * 4000)
    (host.layout.slots / "current").symlink_to("a")
    facts = card.look_speed(host)
    assert facts.file == "/opt/edge-probe/wheels/large.whl"
    assert facts.n_bytes == card.READ_BYTES
    assert facts.graph_bytes == 4000
    assert facts.seconds > 0


def test_speed() -> None:
    facts = card.SpeedFacts("/a.whl", 16 << 20, 0.4, 20 << 20)
    found = card.judge_speed(facts)
    assert says(found, "ok", r"40 MiB/s, 16 MiB of /a.whl.*20.0 MiB take 0.5 s to read again")
    assert says(card.judge_speed(replace(facts, seconds=4.0)), "warn", "^4 MiB/s", "better card")
    with pytest.raises(UnreadableError, match="too few"):
        card.judge_speed(replace(facts, n_bytes=4000))


def test_errors_of_the_file_system(host: Host) -> None:
    assert says(one(host, "card-errors"), "ok", "mmcblk0p2: none")
    write(host.path("sys/fs/ext4/mmcblk0p2/errors_count"), "3\n")
    write(host.path("sys/fs/ext4/mmcblk0p2/last_error_time"), "1790000000\n")
    found = one(host, "card-errors")
    assert says(found, "fail", "mmcblk0p2: 3 errors.*the last 2026-09-21", "another card")
    write(host.path("proc/self/mountinfo"), MOUNTS + DATA.format("noatime", "f2fs"))
    assert says(one(host, "card-errors"), "unknown", "f2fs does not count")


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("[    0.5] mmc0: new high speed SDHC card at address aaaa", "ok", "1 lines"),
        ("[    1.0] EXT4-fs (mmcblk0p2): mounted filesystem. Opts: errors=remount-ro", "ok", ""),
        ("[   99.1] mmc0: Timeout waiting for hardware interrupt.", "fail", "the card fails"),
        ("[   99.1] mmcblk0: error -110 sending status command", "fail", "card fails.*error -110"),
        ("[   99.1] I/O error, dev mmcblk0, sector 123456", "fail", "the card fails"),
        ("[   99.1] EXT4-fs error (device mmcblk0p2): ext4_find_entry:1455", "fail", "card fails"),
        ("[   99.1] Buffer I/O error on dev sda1, logical block 5", "fail", "the card fails"),
        ("[   99.1] Out of memory: Killed process 612 (python3)", "warn", "memory ran out"),
        ("[   99.1] hwmon hwmon1: Undervoltage detected!", "warn", "supply was too weak"),
        ("[   99.1] usb 1-1.3: USB disconnect, device number 4", "warn", "USB went away"),
    ],
)
def test_the_log_of_the_kernel(line: str, level: str, text: str) -> None:
    assert says(card.judge_log(f"{line}\n"), level, text)


def test_a_log_that_may_not_be_read_is_unknown(host: Host, programs: Programs) -> None:
    programs("dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted'; exit 1")
    assert says(one(host, "kernel-log"), "unknown", "Operation not permitted", "sudo")


# The microphone


def test_the_microphone(host: Host) -> None:
    assert says(one(host, "microphone"), "ok", f"^{MICROPHONE}$")
    write(host.path("proc/asound/pcm"), PCM.replace(" : capture 1", ""))
    assert says(one(host, "microphone"), "fail", f"no microphone.*expected {MICROPHONE}", "I2S")
    shutil.rmtree(host.path("proc/asound"))
    assert says(one(host, "microphone"), "fail", "no microphone")


def named(host: Host, microphone: str | None) -> None:
    line = f'microphone = "{microphone}"\n' if microphone else ""
    write(host.layout.deployment, f'deployment_id = "hill-1"\n{line}capture_gain_db = 18.0\n')


def test_the_microphone_must_be_the_one_that_is_named(host: Host) -> None:
    named(host, "usb:16d0:06f3")
    found = one(host, "microphone")
    assert says(found, "fail", "'usb:16d0:06f3': no such microphone", re.escape(MICROPHONE))
    named(host, "card:USB PnP Sound Device")  # the name of a card that is on USB means it, too
    assert says(one(host, "microphone"), "ok", MICROPHONE)
    named(host, "fieldmic")
    assert says(one(host, "microphone"), "unknown", "'fieldmic' is no card")
    named(host, None)
    assert says(one(host, "microphone"), "ok", "the only one; name it")
    write(host.path("proc/asound/cards"), f"{CARDS} 2 [Mic            ]: simple-card - Mic\n")
    write(host.path("proc/asound/pcm"), f"{PCM}02-00: I2S : I2S : capture 1\n")
    assert says(one(host, "microphone"), "warn", f"several.*{MICROPHONE}; card:Mic", "name one")
    write(host.layout.settings, f'rate = 48000\ndevice = "{MICROPHONE}"\n')
    assert says(one(host, "microphone"), "ok", f"^{MICROPHONE}$")


def test_the_rate(host: Host) -> None:
    assert says(one(host, "rate"), "ok", "it can 48000, 44100 Hz; 48000 are wanted")
    write(host.layout.settings, "rate = 96000\n")
    assert says(one(host, "rate"), "fail", "96000 are wanted", "rate = ")
    write(host.path("proc/asound/card1/pcm0c/sub0/hw_params"), "format: S16_LE\nrate: 48000 (1)\n")
    assert says(one(host, "rate"), "fail", "runs at 48000 Hz, S16_LE; expected 96000")
    write(host.layout.settings, "")
    assert says(one(host, "rate"), "ok", "it runs at 48000 Hz")
    host.path("proc/asound/card1/pcm0c/sub0/hw_params").unlink()
    assert says(one(host, "rate"), "ok", "leave it to the card")
    host.path("proc/asound/card1/stream0").unlink()
    assert says(one(host, "rate"), "unknown", "lists no rates")


@pytest.mark.parametrize(("rate", "level"), [(8_000, "ok"), (384_000, "ok"), (400_000, "fail")])
def test_a_span_of_rates(rate: int, level: str) -> None:
    facts = sound.RateFacts(rate, None, "8000 - 384000 (continuous)")
    assert says(sound.judge_rate(facts), level, str(rate))


MIXER = """cat <<END
Simple mixer control 'Mic',0
  Capabilities: cvolume cvolume-joined cswitch cswitch-joined
  Capture channels: Mono
  Limits: Capture 0 - 31
  Mono: Capture 20 [64%] {level} [{capture}]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [{agc}]
END"""


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        ({}, "ok", "Mic,0 18.00 dB, as deployment.toml says"),
        ({"level": "[20.00dB]"}, "warn", "20.00 dB; 18 dB are named"),
        ({"level": ""}, "warn", "64 %; 18 dB are named"),
        ({"capture": "off"}, "warn", "capture is switched off: Mic,0"),
        ({"agc": "on"}, "warn", "changes its gain by itself: Auto Gain Control,0"),
    ],
)
def test_the_gain(
    host: Host, programs: Programs, change: dict[str, str], level: str, text: str
) -> None:
    usual = {"level": "[18.00dB]", "capture": "on", "agc": "off"}
    programs("amixer", MIXER.format(**usual | change))
    assert says(one(host, "gain"), level, text)


def test_a_gain_that_nobody_named_or_that_the_card_does_not_tell(
    host: Host, programs: Programs
) -> None:
    programs("amixer", MIXER.format(level="[18.00dB]", capture="on", agc="off"))
    host.layout.deployment.unlink()
    assert says(one(host, "gain"), "warn", "18.00 dB: none is named", "capture_gain_db")
    programs("amixer", "echo 'Invalid card number'; exit 1")
    assert says(one(host, "gain"), "unknown", "Invalid card number")


# What the device was told, and what it trusts


def test_settings_and_deployment_file(host: Host) -> None:
    assert says(one(host, "settings"), "ok", "48000 Hz, 1 channel.*keep all")
    assert says(one(host, "deployment"), "ok", "hill-1")
    write(host.layout.settings, "rate = fast\n")
    assert says(one(host, "settings"), "fail", "the recorder does not start so", "key = value")
    write(host.layout.settings, 'rate = "48000"\n')
    assert says(one(host, "settings"), "fail", "rate = '48000' cannot be meant")
    write(host.layout.settings, "rates = 48000\n")
    assert says(one(host, "settings"), "fail", "unknown key rates.*does not start so", "rate")
    write(host.layout.settings, 'device = "1"\n')
    assert says(one(host, "settings"), "fail", "a number changes.*does not start so", "by name")
    host.layout.settings.unlink()
    assert says(one(host, "settings"), "ok", "defaults")
    write(host.layout.deployment, 'deployment_id = "hill-1"\nmicrofone = "x"\n')
    assert says(one(host, "deployment"), "fail", "unknown key microfone", "microphone")
    write(host.layout.deployment, 'deployment_id = "hill-1"\nmicrophone = "1"\n')
    assert says(one(host, "deployment"), "fail", "a number changes.*does not start so")
    host.layout.deployment.unlink()
    assert says(one(host, "deployment"), "warn", "nobody will know where")
    assert device_settings.look_orders(host) == device_settings.Orders()


def test_trust(host: Host) -> None:
    assert says(one(host, "trust"), "warn", "not staged.*everybody has that key", "edge-firmware")
    write(host.layout.units / bundle.CLASSIFIER_UNIT, "[Unit]\n")
    assert says(one(host, "trust"), "fail", "no /etc/edge-probe/trust.json: the classifier")
    write_store(host.layout.trust, TRUSTED)
    host.layout.trust.chmod(0o644)
    found = one(host, "trust")
    assert says(found, "ok", f"primary key {TRUSTED[0].id} from release 5; backup key .* release 2")
    host.layout.trust.chmod(0o666)
    assert says(one(host, "trust"), "fail", "others than root may change it", "chmod 644")
    host.layout.trust.chmod(0o600)
    assert says(one(host, "trust"), "fail", "the classifier may not read it", "chmod 644")
    write(host.layout.trust, "{}")
    assert says(one(host, "trust"), "fail", "expected a trust store.*nothing is trusted")
    host.layout.trust.unlink()
    host.layout.trust.symlink_to("nowhere")
    assert says(one(host, "trust"), "fail", "cannot be read: No such file.*nothing is trusted")


def installed(host: Host, tmp_path: Path) -> Path:
    """The bundle of `support.owner` in slot a."""
    epb = tmp_path / "tiny.epb"
    shutil.copy(GOLDEN_EPB, epb)
    host.layout.slots.mkdir()
    slot = host.layout.slots / "a"
    unpack_bundle(epb, slot, trusted=TRUSTED, verify=verify.is_valid)
    (host.layout.slots / "current").symlink_to("a")
    return slot


def test_the_bundle_in_use(host: Host, tmp_path: Path) -> None:
    assert says(one(host, "bundle"), "warn", "none is installed", "edge-firmware install")
    slot = installed(host, tmp_path)
    assert says(one(host, "bundle"), "fail", "refused: no key that is trusted here signed")
    write_store(host.layout.trust, TRUSTED)
    found = one(host, "bundle")
    assert says(found, "ok", r"tiny@\w+, release 7, signed by the primary key .*, in slot a$")
    with (slot / "labels.txt").open("a") as file:
        file.write("x")
    assert says(one(host, "bundle"), "fail", "refused: .*labels.txt")
    shutil.rmtree(slot)
    assert says(one(host, "bundle"), "fail", "slots/current leads to a, which is not there")


def test_a_bundle_whose_opening_dies_is_a_sentence(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(host, tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{poisoned(tmp_path, 'safetensors')}:{REPOSITORY}")
    assert says(one(host, "bundle"), "fail", "dies when it is loaded: an illegal instruction")


def test_trials(host: Host) -> None:
    assert says(one(host, "trial"), "ok", "^no trial is pending$")
    record: dict[str, Any] = {"format": "edge-probe slots", "trial": None, "last": None}
    path = host.layout.slots / "slots.json"
    write(path, json.dumps(record))
    assert says(one(host, "trial"), "ok", "no trial is pending")
    last = {"bundle": "tiny@1", "result": "confirmed", "reason": "it ran"}
    write(path, json.dumps(record | {"last": last}))
    assert says(one(host, "trial"), "ok", "tiny@1 was confirmed")
    write(path, json.dumps(record | {"last": last | {"result": "refused", "reason": "too slow"}}))
    assert says(one(host, "trial"), "warn", "tiny@1 was refused: too slow", "edge-firmware slots")
    trial = {"kept": {"bundle": "tiny@2"}, "boots": ["x"]}
    write(path, json.dumps(record | {"last": last, "trial": trial}))
    assert says(one(host, "trial"), "warn", "tiny@2 is on trial, tried in 1 boots")
    for text in ("{", "[]", '{"format": "edge-probe slots", "trial": {"boots": 3}, "last": 0}'):
        write(path, text)
        assert says(one(host, "trial"), "unknown", "damaged", "edge-firmware slots")


# What runs


def say(host: Host, status: Status, age_s: float = 1.0) -> None:
    own = SystemClock()
    written = Written(
        status, datetime.now(UTC), own.monotonic_ns() - round(age_s * 1e9), own.boot()
    )
    write(host.state / "status.json", as_json(written))


def test_the_recorder(host: Host) -> None:
    assert says(one(host, "recorder"), "warn", "^no recorder runs$", "systemctl start")
    healthy = replace(RECORDING, alarms=(), state="recording", last_frame_age_s=0.1)
    say(host, healthy, age_s=4000)
    assert says(one(host, "recorder"), "fail", "no recorder runs, last sign 1h06 ago")
    say(host, replace(healthy, state="stopped"))
    assert says(one(host, "recorder"), "warn", "no recorder runs")
    with hold(host.state):
        say(host, healthy, age_s=4000)
        assert says(one(host, "recorder"), "warn", "says nothing new")
        say(host, healthy)
        assert says(one(host, "recorder"), "ok", f"process {os.getpid()} records")
        for change, level, text in (
            ({"state": "no microphone"}, "fail", "does not record: no microphone"),
            ({"last_frame_age_s": 60.0}, "fail", "no sample came for 1min"),
            ({"last_frame_age_s": None}, "fail", "no sample came for ever"),
            ({"alarms": ("flat_line",)}, "warn", "alarms: flat_line"),
        ):
            say(host, replace(healthy, **change))
            assert says(one(host, "recorder"), level, text)


def test_the_classifier(host: Host) -> None:
    assert says(one(host, "classifier"), "unknown", "no recorder that tells")
    for classifier, level, text in (
        (Classifier("running", 12.0, 0), "ok", "running, 12s behind"),
        (Classifier("running", 12.0, 3), "warn", "started again 3 times"),
        (Classifier("record-only", 700.0, 9), "warn", "record-only, 11min behind"),
        (None, "unknown", "no recorder that tells"),
    ):
        say(host, replace(RECORDING, classifier=classifier))
        with hold(host.state):
            assert says(one(host, "classifier"), level, text)


def test_a_classifier_is_asked_itself_where_the_last_word_is_older(host: Host) -> None:
    """Right after a boot: READY, while the status of 20 s ago says that it does not run."""
    say(host, replace(RECORDING, classifier=Classifier("not running", 12.0, None)), age_s=20)
    with hold(host.state):
        assert says(one(host, "classifier"), "warn", "^not running, 12s behind")
        with hold(host.state, CLASSIFIER_LOCK):
            assert says(one(host, "classifier"), "ok", "^running, 12s behind")
        say(host, replace(RECORDING, classifier=Classifier("running", 12.0, None)), age_s=20)
        assert says(one(host, "classifier"), "warn", "^not running, 12s behind")


UP = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active",
    "SubState": "running", "Result": "success", "NRestarts": "0", "AssertResult": "yes",
    "ConditionResult": "yes", "ConditionTimestampMonotonic": "22000000",
}  # fmt: skip


DOWN = {"ActiveState": "inactive", "SubState": "dead"}
NEVER_TRIED = {"ConditionResult": "no", "AssertResult": "no", "ConditionTimestampMonotonic": "0"}


@pytest.mark.parametrize(
    ("unit", "change", "level", "text"),
    [
        (service.RECORDER, {}, "ok", "active, running, starts at boot"),
        (service.RECORDER, {"LoadState": "not-found"}, "warn", "is not installed"),
        (service.RECORDER, {"ActiveState": "failed", "Result": "watchdog"}, "fail", "watchdog"),
        (service.RECORDER, {"UnitFileState": "disabled"}, "fail", "does not start at boot"),
        (service.RECORDER, DOWN, "fail", "is inactive"),
        (service.RECORDER, {"NRestarts": "254"}, "warn", "started again 254 times"),
        (service.SETUP, DOWN, "ok", "dead"),
        (service.CLASSIFIER, DOWN | {"ConditionResult": "no"}, "warn", "waits"),
        (service.CLASSIFIER, DOWN | {"AssertResult": "no"}, "fail", "insists on is not there"),
        (service.CLASSIFIER, DOWN | NEVER_TRIED, "fail", "is inactive"),
    ],
)
def test_a_unit(unit: str, change: dict[str, str], level: str, text: str) -> None:
    found = service.judge_unit((unit, UP | change))
    assert says(found, level, text)
    assert level == "ok" or found.hint


def test_systemd_is_asked_where_it_runs(host: Host, programs: Programs) -> None:
    names = "recorder-service", "classifier-service", "setup-service", "failed-units"
    assert {found.level for found in judged(host, *names).values()} == {"unknown"}
    host.path("run/systemd/system").mkdir(parents=True)
    shown = "\n".join(f"{name}={value}" for name, value in UP.items())
    programs("systemctl", f"[ $1 = show ] && cat <<END\n{shown}\nEND\ntrue")
    assert {found.level for found in judged(host, *names).values()} == {"ok"}
    programs("systemctl", "echo 'chrony.service loaded failed failed a clock'")
    assert says(one(host, "failed-units"), "warn", "^chrony.service$", "journalctl")
    programs("systemctl", "echo 'Failed to connect to bus'; exit 1")
    assert says(one(host, "recorder-service"), "unknown", "Failed to connect to bus")


def test_the_watchdog(host: Host) -> None:
    folder = host.path("sys/class/watchdog/watchdog0")
    assert says(one(host, "watchdog"), "warn", "BCM2835.*does not run", "RuntimeWatchdogSec")
    write(folder / "state", "active\n")
    assert says(one(host, "watchdog"), "ok", "runs, 15 s")
    (folder / "state").unlink()
    assert says(one(host, "watchdog"), "unknown", "nobody says")
    shutil.rmtree(folder)
    assert says(one(host, "watchdog"), "warn", "^none", "dtparam=watchdog=on")


def test_the_boot_partition(host: Host) -> None:
    assert says(one(host, "boot-partition"), "ok", "2 entries$")
    site = host.path("boot/firmware/edge-probe")
    site.mkdir()
    assert says(one(host, "boot-partition"), "ok", "with files for this device")
    said = "a.epb: installed\nsettings.toml: NOT TAKEN OVER: unknown key rat\n"
    write(site / "edge-probe-result.txt", said)
    found = one(host, "boot-partition")
    assert says(found, "warn", "device: settings.toml: NOT.*key rat$", "mend the file")
    write(site / "edge-probe-result.txt", "a.epb: installed\n")
    assert one(host, "boot-partition").level == "ok"
    write(host.state / "site/edge-probe-result.txt", said)
    assert one(host, "boot-partition").level == "warn"
    host.path("boot/firmware/config.txt").unlink()
    assert says(one(host, "boot-partition"), "fail", "no config.txt", "fsck")
    shutil.rmtree(host.path("boot"))
    assert says(one(host, "boot-partition"), "fail", "no config.txt")
    host.path("proc/device-tree/model").unlink()
    assert says(one(host, "boot-partition"), "unknown", "not a Raspberry Pi OS")


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


def poisoned(folder: Path, package: str) -> Path:
    """A package whose import is an illegal instruction."""
    path = folder / "poison"
    write(path / f"{package}.py", dies(signal.SIGILL))
    return path


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
