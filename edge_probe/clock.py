"""The clocks a recorder has, and how far the one on the wall may be trusted."""

import ctypes
import sys
import time
from pathlib import Path
from typing import Protocol

_TIME_ERROR = 5
"""Return value of adjtimex(2) while the kernel clock is not synchronised."""

_TIMEX_BYTES = 256
"""More than struct timex has on any Linux; only its first field, modes = 0, matters."""


RTC_TOLERANCE_S = 3600.0
"""Two years of drift between clock chip and board; a chip that lost its power is years away."""


def system_clock_trust(root: Path = Path("/")) -> str:
    """Trust level of the system clock: "ntp", "rtc" or "unset".

    "ntp" while the kernel calls it synchronised (by a network or by a receiver: it does not say
    which), "rtc" where the kernel set it from a clock chip at boot and that chip still agrees.
    Off Linux the answer is "unset".

    Source: adjtimex(2), return value ``TIME_ERROR``; ``hctosys`` and ``since_epoch`` of
    Documentation/ABI/testing/sysfs-class-rtc in Linux.

    Parameters
    ----------
    root : Path
        Folder that holds ``sys``.
    """
    if not sys.platform.startswith("linux"):
        return "unset"
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state not in (-1, _TIME_ERROR):
        return "ntp"
    return "rtc" if _is_set_by_chip(root / "sys/class/rtc") else "unset"


def _is_set_by_chip(chips: Path) -> bool:
    """A chip without power cannot be read, or begins in the year 1970 or 2000."""
    for chip in chips.glob("rtc*"):
        try:
            if (chip / "hctosys").read_text(encoding="ascii").strip() == "1":
                since_s = int((chip / "since_epoch").read_text(encoding="ascii"))
                return abs(time.time() - since_s) <= RTC_TOLERANCE_S
        except (OSError, ValueError):
            continue
    return False


class Clock(Protocol):
    """What tells the time; tests bring their own."""

    def monotonic_ns(self) -> int:
        """Nanoseconds that never jump, since some moment of this boot."""

    def utc_ns(self) -> int:
        """Nanoseconds since 1970 by the system clock, which may jump."""

    def trust(self) -> str:
        """How far to trust it now: unset, rtc, ntp, gps or manual."""

    def boot(self) -> str:
        """Something that is another one after every boot."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic_ns(self) -> int:
        """``CLOCK_MONOTONIC_RAW``, where there is one: a crystal, as the sound card has one.

        chrony slews ``CLOCK_MONOTONIC`` by up to 8 % until seconds are made good: against it the
        sound card would seem to lose frames.
        """
        if hasattr(time, "CLOCK_MONOTONIC_RAW"):
            return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """``CLOCK_REALTIME``."""
        return time.time_ns()

    def trust(self) -> str:
        """As `system_clock_trust`."""
        return system_clock_trust()

    def boot(self) -> str:
        """The kernel's boot id (random(4)); POSIX systems without one count as one boot."""
        path = Path("/proc/sys/kernel/random/boot_id")
        return path.read_text(encoding="ascii").strip() if path.exists() else "unknown"
