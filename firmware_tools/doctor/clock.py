"""Whether the time can be trusted, now and after a power cut."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edge_probe.clock import system_clock_trust
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The clock on the wall, and the chips that may set it."""

    trust: str
    """ntp, rtc or unset."""
    utc_s: float
    """Seconds since 1970."""
    chips: Sequence[tuple[str, bool, bool]]
    """Name, whether it can be read, whether the kernel set the clock from it at boot."""


def look_clock(host: Host) -> ClockFacts:
    """Ask kernel and chips."""
    chips = []
    for chip in sorted(host.path("sys/class/rtc").glob("rtc*")):
        folder = f"sys/class/rtc/{chip.name}"
        chips.append((
            host.read_if_there(f"{folder}/name") or chip.name,
            _answers(host, f"{folder}/since_epoch"),
            host.read_if_there(f"{folder}/hctosys") == "1",
        ))  # fmt: skip
    return ClockFacts(system_clock_trust(host.layout.root), time.time(), chips)


def _answers(host: Host, name: str) -> bool:
    """A chip without power gives an error, or no number."""
    try:
        return host.path(name).read_text(encoding="ascii", errors="replace").strip().isdecimal()
    except OSError:
        return False


def judge_clock(facts: ClockFacts) -> Finding:
    """Recording goes on without the time; what it is worth is another matter."""
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(facts.utc_s))
    if facts.trust == "unset":
        return Finding(
            "warn", f"{now}: not set by anything that can be trusted",
            "wait for network time, set a clock chip, or note the time of a clap for edge-probe"
            " retime",
        )  # fmt: skip
    return Finding("ok", f"{now}, set by {facts.trust}")


def judge_chip(facts: ClockFacts) -> Finding:
    """What tells the time after a power cut far from any network."""
    if not facts.chips:
        return Finding(
            "warn", "no clock chip: after a power cut without network the time is not known",
            "a DS3231 and dtoverlay=i2c-rtc,ds3231 in config.txt",
        )  # fmt: skip
    names = ", ".join(name for name, _, _ in facts.chips)
    if not any(answers for _, answers, _ in facts.chips):
        return Finding("warn", f"{names}: does not answer", "look at its battery and wires")
    if not any(answers and sets for _, answers, sets in facts.chips):
        return Finding(
            "warn", f"{names}: the kernel did not set the clock from it at boot",
            "set it while the network has set the clock: sudo hwclock --systohc; reboot",
        )  # fmt: skip
    return Finding("ok", names)
