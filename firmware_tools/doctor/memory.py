"""Memory: how much there is, what it is swapped to, and whether a limit on it would hold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError, fields

LEAST_TOTAL_MIB = 350
"""A Zero 2 W with the usual share for its graphics has more."""

LEAST_AVAILABLE_MIB = 50
"""Below it, code is dropped and read from the card again and again."""


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """From /proc/meminfo and /proc/swaps."""

    total_mib: float
    available_mib: float
    swaps: Sequence[str]
    """Devices and files."""
    swapped_mib: float


def look_memory(host: Host) -> MemoryFacts:
    """Read how much there is and how much is left."""
    found = {}
    for name, value in fields(host.read("proc/meminfo")).items():
        if amount := re.fullmatch(r"(\d+) kB", value):
            found[name] = int(amount[1]) / 1024
    lacking = {"MemTotal", "MemAvailable"} - set(found)
    if lacking:
        raise UnreadableError(f"/proc/meminfo: no {' and no '.join(sorted(lacking))}")
    listed = (host.read_if_there("proc/swaps") or "").splitlines()[1:]
    swaps = [_swap(host, line.split()[0]) for line in listed]
    swapped_mib = found.get("SwapTotal", 0.0) - found.get("SwapFree", 0.0)
    return MemoryFacts(found["MemTotal"], found["MemAvailable"], swaps, swapped_mib)


def _swap(host: Host, name: str) -> str:
    """With what compressed memory is written to when it lies idle."""
    backing = host.read_if_there(f"sys/block/{name.removeprefix('/dev/')}/backing_dev")
    return name if backing in (None, "", "none") else f"{name} with {backing}"


def judge_memory(facts: MemoryFacts) -> Finding:
    """What is left now, with whatever runs."""
    what = f"{facts.total_mib:.0f} MiB, {facts.available_mib:.0f} of them available"
    if facts.total_mib < LEAST_TOTAL_MIB:
        return Finding("warn", f"{what}: less than any board that is known",
                       "give the graphics less: gpu_mem=16 in config.txt")  # fmt: skip
    if facts.available_mib < LEAST_AVAILABLE_MIB:
        return Finding("warn", f"{what}: code will be dropped and read from the card again",
                       "ps --sort=-rss aux tells; no desktop, a smaller bundle")  # fmt: skip
    return Finding("ok", what)


def judge_swap(facts: MemoryFacts) -> Finding:
    """Swap on a card wears it out, and whoever waits for it records nothing."""
    on_card = [name for name in facts.swaps if "zram" not in name or " with " in name]
    used = f", {facts.swapped_mib:.0f} MiB used"
    if on_card:
        return Finding("warn", f"swap on the card: {', '.join(on_card)}{used}",
                       "sudo systemctl disable --now dphys-swapfile (Debian 12); the mechanism"
                       " zram in /etc/rpi/swap.conf (Debian 13); reboot")  # fmt: skip
    if facts.swaps:
        return Finding("ok", f"swap in compressed memory: {', '.join(facts.swaps)}{used}")
    return Finding("ok", "no swap")


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """Whether the kernel can limit the memory of a group of processes."""

    controllers: str
    """Of the whole system, version 2; empty: that is not mounted, or has none."""
    groups: str
    """/proc/cgroups."""
    command_line: str
    """Of the kernel."""


def look_limit(host: Host) -> LimitFacts:
    """Read what the kernel can."""
    return LimitFacts(
        host.read_if_there("sys/fs/cgroup/cgroup.controllers") or "",
        host.read_if_there("proc/cgroups") or "", host.read_if_there("proc/cmdline") or "",
    )  # fmt: skip


def judge_limit(facts: LimitFacts) -> Finding:
    """Raspberry Pi OS switches the controller off unless it is asked for.

    Source: raspberrypi/linux, issue 6980.
    """
    rows = [line.split() for line in facts.groups.splitlines()]
    enabled = [row[-1] for row in rows if row and row[0] == "memory"]
    if not facts.controllers and not enabled:
        raise UnreadableError("the kernel tells of no control groups")
    # from Linux 6.12 on /proc/cgroups may leave it out
    if "memory" in facts.controllers.split() or enabled == ["1"]:
        return Finding("ok", "the kernel can limit the memory of a service")
    by_whom = " (cgroup_disable=memory)" if "cgroup_disable=memory" in facts.command_line else ""
    return Finding(
        "warn", f"the memory controller is off{by_whom}: MemoryMax of the classifier does nothing,"
        " and a classifier that grows takes the recorder's memory",
        "add cgroup_enable=memory to the one line of /boot/firmware/cmdline.txt, reboot",
    )  # fmt: skip
