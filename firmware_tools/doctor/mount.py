"""What a folder lies on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.fstab import mount_points, plain

SOUND = ("ext4", "btrfs", "f2fs", "xfs")
"""File systems that keep what was synced."""

FOREIGN = ("vfat", "exfat", "ntfs", "ntfs3", "fuseblk")
IN_MEMORY = ("tmpfs", "ramfs", "overlay")
"""An overlay of Raspberry Pi OS (raspi-config) keeps what is written in memory."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that is mounted."""

    point: str
    kind: str
    device: str
    """``/dev/mmcblk0p2``."""
    options: frozenset[str]

    @property
    def partition(self) -> str:
        """As /sys/fs names it."""
        return Path(self.device).name


def mounts(host: Host) -> Sequence[Mount]:
    """All that are mounted, from /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    found = []
    for line in host.read("proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        before, after = head.split(), tail.split()
        if len(before) < 6 or len(after) < 3:
            continue
        options = {*before[5].split(","), *after[2].split(",")}
        found.append(Mount(plain(before[4]), after[0], plain(after[1]), frozenset(options)))
    return found


def mount_of(host: Host, path: Path) -> Mount:
    """The file system that a folder lies on, the one on top if there are several.

    Raises
    ------
    UnreadableError
        None is told.
    """
    place = host.place_of(path)
    above = [
        mount for mount in mounts(host)
        if f"{place}/".startswith(mount.point if mount.point == "/" else f"{mount.point}/")
    ]  # fmt: skip
    if not above:
        raise UnreadableError(f"{place}: /proc/self/mountinfo tells of no file system there")
    return max(enumerate(above), key=lambda one: (len(one[1].point), one[0]))[1]


@dataclass(frozen=True, slots=True)
class StateFacts:
    """The state folder, and what it lies on."""

    place: str
    exists: bool
    mount: Mount
    is_expected: bool
    """Whether /etc/fstab or a unit wants a file system mounted right there."""


def look_state(host: Host) -> StateFacts:
    """Find what the state folder lies on, or would lie on."""
    place = host.place_of(host.state)
    return StateFacts(
        place, host.state.is_dir(), mount_of(host, host.state), place in _expected(host)
    )


def _expected(host: Host) -> set[str]:
    """Mount points of /etc/fstab and of mount units."""
    found = mount_points(host.read_if_there("etc/fstab") or "")
    for folder in ("etc/systemd/system", "usr/lib/systemd/system"):
        for unit in host.path(folder).glob("*.mount"):
            text = unit.read_text(encoding="utf-8", errors="replace")
            found |= {where.strip() for where in re.findall(r"^Where=(.+)$", text, re.M)}
    return found


def judge_state(facts: StateFacts) -> Finding:
    """It must be there, writable, and on what survives a power cut."""
    mount, place = facts.mount, facts.place
    what = f"{place} on {mount.kind} ({mount.device})"
    if facts.is_expected and mount.point != place:
        return Finding("fail", f"{what}: a partition of its own should be mounted there and is not",
                       f"journalctl -b -u '*.mount'; sudo mount {place}; before that, move away"
                       " what was recorded below it")  # fmt: skip
    if not facts.exists:
        return Finding("fail", f"{place}: no such folder",
                       "edge-probe run makes it, or systemd-tmpfiles --create")  # fmt: skip
    if "ro" in mount.options:
        return Finding("fail", f"{what}: read-only: nothing can be recorded",
                       "after errors the kernel does so: look at the kernel's log, fsck, another"
                       " card")  # fmt: skip
    if mount.kind in IN_MEMORY:
        return Finding("fail", f"{what}: that is memory: all is gone after a power cut",
                       "overlay off (raspi-config), or mount a partition there")  # fmt: skip
    if mount.kind in FOREIGN:
        return Finding("warn", f"{what}: no journal, no rights: a power cut can cost more than the"
                       " last second", "format the partition as ext4")  # fmt: skip
    if mount.kind not in SOUND:
        return Finding("warn", f"{what}: nobody tried that one here", "ext4 is what was tried")
    return Finding("ok", what)


def judge_access_times(facts: StateFacts) -> Finding:
    """Whether each look at a file is a write."""
    options = facts.mount.options & {"noatime", "relatime", "strictatime"}
    if not options & {"noatime", "relatime"}:
        return Finding("warn", f"{facts.mount.point}: every look at a file is written to the card",
                       f"noatime in the options of {facts.mount.point} in /etc/fstab")  # fmt: skip
    return Finding("ok", f"{facts.mount.point} is mounted with {', '.join(sorted(options))}")
