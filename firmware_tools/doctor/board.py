"""Which board it is, whether it can run this at all, and how it bears heat and power.

No arrays are loaded: on a board that cannot run them, this is what has to be said.
"""

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_probe.health.board import HOT_C, Board
from edge_probe.health.row import Alarm, Row
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError, fields
from firmware_tools.doctor.memory import look_memory

PROFILES = Path(__file__).parents[1] / "profiles"
"""Read here and not by `firmware_tools.profile`, which loads numpy."""

MODELS = {
    r"Raspberry Pi Zero 2 W": "pi-zero-2w",
    r"Raspberry Pi 3 Model B Plus": "pi-3b-plus",
    r"Raspberry Pi 4 Model B": "pi-4b",
    r"Raspberry Pi 5 Model B": "pi-5",
    r"Raspberry Pi Zero W": "pi-zero-w",
    r"Raspberry Pi Zero\b": "pi-zero",
    r"Raspberry Pi 2 Model B Rev 1\.[01]": "pi-2b",
    r"Raspberry Pi Model [AB]": "pi-1",
    r"Raspberry Pi Compute Module Rev": "pi-cm1",
}
"""Beginning of what the device tree calls it (Raspberry Pi documentation, revision codes; device
trees of Linux), to a profile or a board that is refused."""

CORES = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
"""``CPU part`` of /proc/cpuinfo (arch/arm64/include/asm/cputype.h of Linux)."""

ARCHITECTURES = ("aarch64", "x86_64")
WARM_C = 70.0
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What a machine says of itself."""

    model: str | None
    """From the device tree; None where there is none."""
    machine: str
    pointer_bits: int
    core: str | None
    """None: another one than those of the boards that are known."""
    ram_mib: float
    """As the kernel has it: less than was sold."""


def look_board(host: Host) -> BoardFacts:
    """Read model, processor and memory."""
    part = fields(host.read("proc/cpuinfo")).get("CPU part", "")
    return BoardFacts(
        host.read_if_there("proc/device-tree/model"), host.machine, host.pointer_bits,
        CORES.get(part.lower()), look_memory(host).total_mib,
    )  # fmt: skip


def judge_board(facts: BoardFacts) -> Finding:
    """Which profile an estimate should take, or why the board is refused."""
    name = facts.model or f"a machine ({facts.machine}) that does not tell its model"
    refused = _toml("refused")
    known = next((key for start, key in MODELS.items() if re.match(start, name)), None)
    if known in refused["boards"]:
        return Finding(
            "fail", f"{name}: {refused['boards'][known]}: a 32-bit processor; {refused['reason']}",
            f"take one of {', '.join(sorted(set(MODELS.values()) - set(refused['boards'])))}",
        )  # fmt: skip
    if known:
        return Finding("ok", name, _estimate(known))
    if facts.machine == "x86_64":
        return Finding("ok", name, _estimate("generic-64bit-linux"))
    nearest = _nearest(facts)
    why = f"{facts.core or 'processor unknown'}, {facts.ram_mib:.0f} MiB"
    return Finding(
        "warn", f"{name}: no profile of its own ({why})",
        f"{nearest} comes nearest: {_estimate(nearest)}; then measure: edge-probe bench BUNDLE",
    )  # fmt: skip


def _estimate(profile: str) -> str:
    return f"edge-firmware estimate BUNDLE --profile {profile}"


def _nearest(facts: BoardFacts) -> str:
    """Of the same core the one with the most memory that is not more than here."""
    boards = sorted(set(MODELS.values()) - set(_toml("refused")["boards"]))
    found = {key: _toml(key) for key in boards}
    core = facts.core or CORES["0xd03"]  # the slowest promises least
    same = [(table["ram_mib"], key) for key, table in found.items() if table["core"] == core]
    sold_mib = 2 ** (int(facts.ram_mib) - 1).bit_length()
    return max([one for one in same if one[0] <= sold_mib], default=min(same))[1]


def _toml(name: str) -> Mapping[str, Any]:
    with (PROFILES / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


def judge_bits(facts: BoardFacts) -> Finding:
    """Kernel and programs must both have 64 bits."""
    wanted = "write the 64-bit Raspberry Pi OS (Lite) to the card"
    if facts.machine in ARCHITECTURES and facts.pointer_bits == 64:
        return Finding("ok", f"{facts.machine}, kernel and programs of 64 bits")
    if facts.machine in ARCHITECTURES:
        return Finding(
            "fail", f"a 64-bit kernel ({facts.machine}) with {facts.pointer_bits}-bit programs:"
            " numpy and onnxruntime have no wheels for those",
            f"{wanted}: arm_64bit in config.txt changes the kernel only",
        )  # fmt: skip
    if re.match(r"arm|i[3-6]86", facts.machine):
        return Finding(
            "fail", f"a 32-bit kernel ({facts.machine}): numpy and onnxruntime have no wheels for"
            " it", f"{wanted}, if the board is one that can",
        )  # fmt: skip
    return Finding(
        "warn", f"{facts.machine}: only {' and '.join(ARCHITECTURES)} are known to work",
        "edge-probe selftest BUNDLE proves whether it computes what it should",
    )  # fmt: skip


def look_python(_: Host) -> tuple[int, ...]:
    """Version of the Python that runs this, which runs the recorder, too."""
    return sys.version_info[:3]


def judge_python(version: tuple[int, ...]) -> Finding:
    """Old ones do not get so far; new ones may lack wheels."""
    text = "Python " + ".".join(map(str, version))
    if version[:2] < OLDEST_PYTHON:
        return Finding("fail", f"{text}: expected 3.11 or later", "use the system's of Debian 12")
    return Finding("ok", f"{text}, {sys.executable}")


@dataclass(frozen=True, slots=True)
class Strain:
    """Rows and alarms as the recorder writes them."""

    rows: Sequence[Row]
    alarms: Sequence[Alarm]

    def value(self, name: str) -> float:
        """Of the row of that name.

        Raises
        ------
        UnreadableError
            The machine does not tell.
        """
        for row in self.rows:
            if row.name == name:
                return row.value
        raise UnreadableError("this machine does not tell")


def look_strain(host: Host) -> Strain:
    """Heat and power, by the recorder's own eyes."""
    return Strain(*Board(host.state, root=host.layout.root).look(0))


def judge_power(strain: Strain) -> Finding:
    """Bits 0-3 are of now, 16-19 since boot."""
    bits = int(strain.value("throttled"))
    told = {alarm.text: alarm.hint for alarm in strain.alarms if alarm.name != "hot"}
    if not bits:
        return Finding("ok", "no under-voltage and no throttling since boot")
    what = f"{'; '.join(told) or 'something was limited'} (get_throttled {bits:#x})"
    hint = "; ".join(dict.fromkeys(told.values())) or "look at supply and temperature"
    if bits & 0xF:
        return Finding("fail", f"now: {what}", hint)
    return Finding("warn", f"since boot, not now: {what}", hint)


def judge_temperature(strain: Strain) -> Finding:
    """Warm on a bench is hot in the sun."""
    heat_c = strain.value("soc_temperature")
    what = f"the processor has {heat_c:.0f} degrees C"
    hint = "more shade, more air, a heat sink"
    if heat_c >= HOT_C:
        return Finding("fail", f"{what}: it slows down", hint)
    return (
        Finding("warn", f"{what}, {HOT_C:.0f} are too many", hint)
        if heat_c >= WARM_C
        else (Finding("ok", what))
    )
