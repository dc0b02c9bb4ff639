"""What the doctor says of a board made of files: processor, memory, clock, programs, card."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.examined_board import (
    Programs,
    before_others,
    on,
    one,
    say,
    says,
)
from support.made_boards import BOARDS, MOUNTS, THROTTLED, write
from support.recorded_state import RECORDING

from edge_probe.alive.status import Disk
from edge_probe.lock import hold
from firmware_tools.doctor import (
    board,
    card,
    clock,
    memory,
    program,
)
from firmware_tools.doctor.examine import BUG, CHECKS, examine
from firmware_tools.doctor.host import Host, UnreadableError


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return on(tmp_path / "root", "pi-zero-2w")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return before_others(tmp_path / "bin", monkeypatch)


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
