"""Board and the user's own readings, from a machine made of files."""

import math
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numbered_source import VirtualClock

from edge_probe.health.board import Board
from edge_probe.health.notes import MAX_BYTES, MAX_FILES, Notes
from edge_probe.health.row import Row

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "proc/meminfo", "MemTotal:  447000 kB\nMemAvailable:  200000 kB\n")
    write(tmp_path / "proc/uptime", "3725.41 12000.00\n")
    write(tmp_path / "proc/loadavg", "0.52 0.40 0.30 1/123 4567\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "48312\n")
    write(tmp_path / THROTTLED, "0\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def looked(board: Board) -> tuple[dict[str, float], list[str]]:
    rows, alarms = board.look(5)
    return {row.name: row.value for row in rows}, [alarm.name for alarm in alarms]


def test_a_healthy_board(root: Path) -> None:
    rows, alarms = looked(Board(root, root=root))
    assert rows.pop("disk_free") > 0
    assert rows == {
        "ram_free": 200_000 * 1024, "uptime": 3725.41, "load": 0.52, "soc_temperature": 48.312,
        "throttled": 0,
    }  # fmt: skip
    assert not alarms


def test_this_machine_has_memory_and_time(tmp_path: Path) -> None:
    rows, _ = looked(Board(tmp_path, vcgencmd="/nowhere/vcgencmd"))
    assert rows["ram_free"] > 2**20
    assert rows["uptime"] > 0


def test_a_board_that_tells_nothing_gives_no_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = Board(tmp_path, root=tmp_path, vcgencmd="/nowhere/vcgencmd")
    with caplog.at_level("INFO"):
        assert set(looked(board)[0]) == set(looked(board)[0]) == {"disk_free"}
    assert len(caplog.messages) == 1


def test_a_disk_that_does_not_answer_stops_nothing(root: Path) -> None:
    rows, _ = looked(Board(root / "gone", root=root))
    assert "disk_free" not in rows
    assert "uptime" in rows


def test_heat_is_an_alarm_and_a_zone_asleep_is_not(root: Path) -> None:
    write(root / "sys/class/thermal/thermal_zone1/temp", "81500\n")
    (root / "sys/class/thermal/thermal_zone2/temp").mkdir(parents=True)  # reading it fails
    rows, alarms = looked(Board(root, root=root))
    assert rows["soc_temperature"] == 81.5
    assert alarms == ["hot"]


def test_power_trouble_is_told_while_it_lasts_and_once_when_it_is_over(root: Path) -> None:
    board = Board(root, root=root)
    told = []
    for bits in ("0", "50005", "50005", "50000", "50000", "d0000", "d0008"):
        write(root / THROTTLED, bits + "\n")
        told.append(looked(board)[1])
    both = ["under_voltage", "throttled"]
    assert told == [[], both, both, [], [], ["soft_limit"], ["soft_limit"]]


def test_vcgencmd_is_asked_where_the_kernel_has_no_file(root: Path) -> None:
    (root / THROTTLED).unlink()
    program = root / "vcgencmd"
    program.write_text("#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x20002\n")
    program.chmod(0o755)
    rows, alarms = looked(Board(root, root=root, vcgencmd=str(program)))
    assert rows["throttled"] == 0x20002
    assert alarms == ["frequency_capped"]


class World:
    """A folder of notes and a clock that agrees with the files' times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.clock = VirtualClock()
        self.notes = Notes(folder, self.clock)

    def put(self, name: str, text: str, *, age_s: float = 0) -> None:
        path = self.folder / name
        path.write_text(text)
        at_ns = self.clock.utc_ns() - round(age_s * 1e9)
        os.utime(path, ns=(at_ns, at_ns))

    def look(self) -> list[Row]:
        return list(self.notes.look(7))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "health.d")


def test_notes_become_rows_once(world: World) -> None:
    world.put("battery", "battery_voltage 12.61 V\n\nsolar.power -3e-1 W\n")
    wanted = [Row(7, "user.battery_voltage", 12.61, "V"), Row(7, "user.solar.power", -0.3, "W")]
    assert world.look() == wanted
    assert world.look() == []
    world.clock.now_ns += 60 * 10**9
    world.put("battery", "battery_voltage 12.58 V\n")
    assert world.look() == [Row(7, "user.battery_voltage", 12.58, "V")]


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert list(Notes(tmp_path / "nowhere", VirtualClock()).look(0)) == []


@pytest.mark.parametrize("line", [
    "a 1", "a 1 V x", "a  1 V", "A 1 V", "a nan V", "a inf V", "a 1e999 V", "a 1_0 V", "a 0x1 V",
    "1a 1 V", "a 1 " + "V" * 17, " a 1 V", "a,1,V", "é 1 V", "a ١ V", "a 1 \x00",
])  # fmt: skip
def test_a_bad_line_is_told_once_and_the_others_are_taken(
    world: World, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        world.clock.now_ns += 60 * 10**9
        world.put("script", f"good 1 V\n{line}\nalso 2 V\n")
        assert [row.name for row in world.look()] == ["user.good", "user.also"]
    assert len(caplog.messages) == 1
    assert "expected 'name value unit'" in caplog.messages[0]


def test_the_first_of_two_of_one_name_is_kept(world: World) -> None:
    world.put("a", "x 1 V\n")
    world.put("b", "x 2 V\n")
    assert world.look() == [Row(7, "user.x", 1, "V")]


@pytest.mark.parametrize(("name", "text", "age_s", "problem"), [
    ("old", "x 1 V\n", 601, "was not written"),
    ("large", "x 1 V\n" * MAX_BYTES, 0, "expected at most 4096 bytes"),
])  # fmt: skip
def test_files_that_are_unfit_are_told_once(
    world: World, name: str, text: str, age_s: float, problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    world.put(name, text, age_s=age_s)
    assert world.look() == world.look() == []
    (message,) = caplog.messages
    assert problem in message


def test_pipes_links_folders_and_hidden_files_are_not_read(world: World) -> None:
    os.mkfifo(world.folder / "pipe")
    (world.folder / "link").symlink_to("/proc/version")
    (world.folder / "folder").mkdir()
    world.put(".being_written", "x 1 V\n")
    found: list[list[Row]] = []
    looking = threading.Thread(target=lambda: found.append(world.look()), daemon=True)
    looking.start()
    looking.join(5)
    assert found == [[]]


def test_too_many_files_are_not_read(world: World) -> None:
    for number in range(MAX_FILES + 5):
        world.put(f"f{number:03d}", f"x{number} 1 V\n")
    assert len(world.look()) == MAX_FILES


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300))
def test_any_bytes_give_valid_rows_or_none(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    world = World(tmp_path_factory.mktemp("any"))
    (world.folder / "any").write_bytes(content)
    at_ns = world.clock.utc_ns()
    os.utime(world.folder / "any", ns=(at_ns, at_ns))
    for row in world.look():
        assert row.name.isascii()
        assert math.isfinite(row.value)
