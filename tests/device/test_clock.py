"""How far the system clock is trusted."""

import ctypes
import time
from pathlib import Path

import pytest

from edge_probe import clock


@pytest.fixture(params=["synchronised", "not synchronised"])
def is_synchronised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """What the kernel says of its clock."""
    synchronised: bool = request.param == "synchronised"

    class Libc:
        def adjtimex(self, _: object) -> int:
            return 0 if synchronised else 5

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Libc())
    return synchronised


@pytest.mark.parametrize(
    ("hctosys", "off_s", "trust"),
    [
        ("1", 0, "rtc"),
        ("1", 300, "rtc"),
        ("1", -300, "rtc"),
        ("1", -(10**9), "unset"),  # it lost its power
        ("1", None, "unset"),  # and says so
        ("0", 0, "unset"),  # another one set the clock
        (None, None, "unset"),
    ],
)
def test_a_clock_chip_is_trusted_if_the_clock_was_set_from_it(
    tmp_path: Path, is_synchronised: bool, hctosys: str | None, off_s: int | None, trust: str
) -> None:
    if hctosys is not None:
        chip = tmp_path / "sys/class/rtc/rtc0"
        chip.mkdir(parents=True)
        (chip / "hctosys").write_text(f"{hctosys}\n")
        if off_s is not None:
            (chip / "since_epoch").write_text(f"{int(time.time()) + off_s}\n")
    assert clock.system_clock_trust(tmp_path) == ("ntp" if is_synchronised else trust)


def test_no_daemon_slews_the_clock_that_frames_are_counted_against() -> None:
    if not hasattr(time, "CLOCK_MONOTONIC_RAW"):
        pytest.skip("this system has no CLOCK_MONOTONIC_RAW")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    now = clock.SystemClock().monotonic_ns()
    assert before <= now <= time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
