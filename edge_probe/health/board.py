"""How the board fares: heat, power, memory, disk. Linux; what a machine lacks gives no row."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_probe.errors import DeviceError
from edge_probe.health.row import Alarm, Row
from edge_probe.health.tool import ask

_log = logging.getLogger(__name__)

HOT_C = 80.0
"""Raspberry Pis slow down between 80 and 85 °C (Raspberry Pi documentation, frequency management).
"""

_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"

_BITS = (
    ("under_voltage", "the supply voltage was too low", "shorter, thicker cable; better supply"),
    ("frequency_capped", "the processor's clock was capped", "look at supply and temperature"),
    ("throttled", "the processor was slowed down", "look at supply and temperature"),
    ("soft_limit", "the soft temperature limit was reached", "more shade, more air, a heat sink"),
)
"""Bits 0-3 of get_throttled: now; 16-19: since boot (Raspberry Pi documentation, vcgencmd
get_throttled; the file, hexadecimal without 0x: raspberrypi/linux pull request 2397)."""


class Board:
    """Reads the board once a minute.

    Parameters
    ----------
    state : Path
        State folder, whose disk is looked at.
    root : Path
        Folder that holds ``proc`` and ``sys``.
    vcgencmd : str
        The program that is asked where the kernel has no file for it.
    """

    def __init__(self, state: Path, *, root: Path = Path("/"), vcgencmd: str = "vcgencmd") -> None:
        self._state = state
        self._root = root
        self._vcgencmd: str | None = vcgencmd
        self._occurred = 0  # bits since boot that were told

    def look(self, now_ns: int) -> tuple[Sequence[Row], Sequence[Alarm]]:
        """Rows and alarms of now.

        Parameters
        ----------
        now_ns : int
            Monotonic time, for the rows.
        """
        rows = [Row(now_ns, name, value, unit) for name, value, unit in self._readings()]
        alarms = []
        heat = self._temperature_c()
        if heat is not None:
            rows.append(Row(now_ns, "soc_temperature", heat, "degC"))
            if heat >= HOT_C:
                alarms.append(Alarm(
                    "hot", f"the processor has {heat:.0f} degrees C, expected below {HOT_C:.0f}",
                    "more shade, more air, a heat sink",
                ))  # fmt: skip
        bits = self._throttled()
        if bits is not None:
            rows.append(Row(now_ns, "throttled", bits, "bits", f"{bits:#x}"))
            alarms += self._power_alarms(bits)
        return rows, alarms

    def _readings(self) -> Iterator[tuple[str, float, str]]:
        with contextlib.suppress(OSError):  # a disk that fails is the writer's to report
            disk = os.statvfs(self._state)
            yield "disk_free", disk.f_bavail * disk.f_frsize, "B"
        if found := re.search(r"^MemAvailable:\s+(\d+) kB", self._read("proc/meminfo"), re.M):
            yield "ram_free", int(found[1]) * 1024, "B"
        if found := re.match(r"([\d.]+) ", self._read("proc/uptime")):
            yield "uptime", float(found[1]), "s"
        if found := re.match(r"([\d.]+) ", self._read("proc/loadavg")):
            yield "load", float(found[1]), "1"

    def _temperature_c(self) -> float | None:
        """Of the hottest zone that answers: a Pi has one, and one of several may be asleep."""
        zones = sorted((self._root / "sys/class/thermal").glob("thermal_zone*/temp"))
        answers = [self._read(str(zone.relative_to(self._root))).strip() for zone in zones]
        found = [int(answer) / 1000 for answer in answers if re.fullmatch(r"-?\d+", answer)]
        return max(found, default=None)

    def _throttled(self) -> int | None:
        text = self._read(_THROTTLED).strip()
        if not text and self._vcgencmd is not None:
            try:
                answer = ask(self._vcgencmd, "get_throttled", package="raspi-utils-core")
            except DeviceError as error:
                _log.info("throttling is not known: %s", error.message)
                self._vcgencmd = None
                return None
            text = answer.strip().removeprefix("throttled=0x")
        return int(text, 16) if re.fullmatch(r"[0-9a-fA-F]+", text) else None

    def _power_alarms(self, bits: int) -> Sequence[Alarm]:
        """What is so now, and what was in between two looks."""
        occurred = bits >> 16
        fresh = (bits | occurred & ~self._occurred) & 0xF
        self._occurred = occurred
        return [
            Alarm(name, text, hint)
            for bit, (name, text, hint) in enumerate(_BITS)
            if fresh >> bit & 1
        ]

    def _read(self, name: str) -> str:
        """A file of the kernel; one that is not there or does not answer is empty."""
        try:
            return (self._root / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""
