"""The card: room, speed, and what it has got wrong so far."""

import mmap
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_probe.alive.duration import text_of
from edge_probe.disk.reserve import free_bytes, nearest
from edge_probe.errors import DeviceError
from edge_probe.health.tool import ask
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.doctor.mount import mount_of
from firmware_tools.doctor.recorder import look_recorder
from firmware_tools.doctor.settings import Orders, look_orders

MIB = 2**20
LEAST_DAYS = 1.0
"""A card that is full sooner is full before anybody is home."""

READ_BYTES = 16 * MIB
READ_S = 5.0
"""Longest that is read; the recorder may have to wait for the card meanwhile, and can for 30 s."""

_BLOCK_BYTES = MIB
SLOW_MIB_S = 10.0
"""What a card of speed class 10 promises to write, and reads far faster."""


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """Room for audio."""

    free_bytes: int
    days_left: float | None
    """By the recorder that runs, or as if all audio were kept; None: nobody knows the rate."""
    deletes: bool
    """Whether old audio makes room for new."""
    is_full: bool
    """By the recorder that runs."""


def look_room(host: Host) -> RoomFacts:
    """Ask the recorder if it runs, else its settings."""
    orders, recorder = look_orders(host), look_recorder(host)
    n_bytes = free_bytes(nearest(host.state))
    if status := recorder.fresh:
        days = status.disk.days_left
        return RoomFacts(n_bytes, days, orders.deletes, status.state == "disk full")
    return RoomFacts(n_bytes, _days(n_bytes, orders), orders.deletes, False)


def _days(n_bytes: int, orders: Orders) -> float | None:
    if orders.rate_hz is None:
        return None
    return n_bytes / (orders.rate_hz * orders.n_channels * orders.bits // 8 * 86_400)


def judge_room(facts: RoomFacts) -> Finding:
    """Whether it lasts."""
    what = f"{facts.free_bytes / 2**30:.1f} GiB free"
    larger = "a larger card, a lower rate, or keep less: edge-probe run --plan DAYS"
    if facts.is_full:
        return Finding("fail", f"{what}: full, nothing is recorded", larger)
    if facts.days_left is None:
        return Finding("ok", f"{what}; for how long is not known before anything was recorded")
    until = "until the oldest audio makes room" if facts.deletes else "until it is full"
    what += f", {text_of(facts.days_left * 86_400)} {until}"
    if facts.days_left < LEAST_DAYS and not facts.deletes:
        return Finding("warn", what, larger)
    return Finding("ok", what)


@dataclass(frozen=True, slots=True)
class SpeedFacts:
    """How fast a file came from the card, past the memory that keeps what was read before."""

    file: str
    n_bytes: int
    seconds: float
    graph_bytes: int | None
    """Of the encoder of the bundle in use; None: there is none."""


def look_speed(host: Host) -> SpeedFacts:
    """Read a large file that is there anyway, in order.

    With O_DIRECT: nothing that anybody has in memory is dropped for it.

    Raises
    ------
    UnreadableError
        There is none, or its file system reads through memory only.
    """
    candidates = [path for path in _large_files(host) if path.is_file()]
    if not candidates:
        raise UnreadableError("no file of the program or a bundle that could be read")
    path = max(candidates, key=lambda one: one.stat().st_size)
    n_bytes, seconds = _read_past_memory(path)
    graphs = [one.stat().st_size for one in (host.layout.slots / "current").glob("*.onnx*")]
    return SpeedFacts(host.place_of(path), n_bytes, seconds, sum(graphs) or None)


def _large_files(host: Host) -> Iterator[Path]:
    yield from (host.layout.program / "wheels").glob("*.whl")
    yield from (host.layout.slots / "current").glob("*")
    for folder in sys.path:
        yield from (Path(folder) / "onnxruntime/capi").glob("*.so*")


def _read_past_memory(path: Path) -> tuple[int, float]:
    """Bytes that were read, and seconds."""
    buffer = mmap.mmap(-1, _BLOCK_BYTES)  # O_DIRECT wants pages
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read past memory: {error.strerror}") from error
    try:
        began, total = time.monotonic(), 0
        while total < READ_BYTES and time.monotonic() < began + READ_S:
            n_bytes = os.preadv(fd, [buffer], total)
            total += n_bytes
            if n_bytes < _BLOCK_BYTES:
                break
        return total, time.monotonic() - began
    finally:
        os.close(fd)


def judge_speed(facts: SpeedFacts) -> Finding:
    """What it costs when memory is short and weights are read again."""
    if facts.n_bytes < _BLOCK_BYTES:
        raise UnreadableError(f"{facts.file}: {facts.n_bytes} bytes are too few to tell")
    mib_s = facts.n_bytes / MIB / facts.seconds
    what = f"{mib_s:.0f} MiB/s, {facts.n_bytes / MIB:.0f} MiB of {facts.file} in order"
    if facts.graph_bytes:
        again_s = facts.graph_bytes / MIB / mib_s
        what += (
            f"; the encoder's {facts.graph_bytes / MIB:.1f} MiB take {again_s:.2g} s to read again,"
            " which short memory makes it do for every chunk"
        )
    if mib_s < SLOW_MIB_S:
        return Finding("warn", what, "is something else reading now? if not: a better card")
    return Finding("ok", what)


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What ext4 has counted since the file system was made or checked."""

    partition: str
    n_errors: int
    last_s: int
    """Seconds since 1970."""


def look_errors(host: Host) -> ErrorFacts:
    """Read the counters of the file system of the state folder.

    Raises
    ------
    UnreadableError
        It counts none.
    """
    mount = mount_of(host, host.state)
    folder = f"sys/fs/{mount.kind}/{mount.partition}"
    if mount.kind != "ext4":
        raise UnreadableError(f"{mount.kind} does not count its errors; ext4 does")
    n_errors, last_s = (host.number(f"{folder}/{name}") for name in _COUNTERS)
    return ErrorFacts(mount.partition, n_errors, last_s)


_COUNTERS = "errors_count", "last_error_time"
"""Documentation/ABI/testing/sysfs-fs-ext4 of Linux."""


def judge_errors(facts: ErrorFacts) -> Finding:
    """One is too many."""
    if not facts.n_errors:
        return Finding("ok", f"{facts.partition}: none since it was made or checked")
    last = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts.last_s))
    return Finding(
        "fail", f"{facts.partition}: {facts.n_errors} errors of the file system, the last {last}",
        "copy what is there; fsck.mode=force in cmdline.txt and reboot; then another card",
    )  # fmt: skip


TROUBLES = (
    (r"(?i)(mmcblk\d|mmc\d:|\bsd[a-z]\d?\b).*\b(error|timeout|timed out)\b|EXT4-fs error"
     r"|\b(error|timeout)\b.*(mmcblk\d|mmc\d\b)|buffer I/O error",
     "fail", "the card fails", "copy what is there; another card, a better supply"),
    (r"Out of memory: Killed process|oom-kill:|Memory cgroup out of memory", "warn",
     "memory ran out", "a smaller bundle; edge-firmware estimate says what it needs"),
    (r"Undervoltage detected|Under-voltage detected", "warn", "the supply was too weak",
     "shorter, thicker cable; better supply"),
    (r"usb [\d.-]+: (USB disconnect|device descriptor read/\d+, error)", "warn",
     "something on USB went away", "look at plugs and cables; a hub with a supply of its own"),
)  # fmt: skip
"""What the kernel says when it goes wrong; the worst first."""


def look_log(_: Host) -> str:
    """The kernel's log of this boot.

    Raises
    ------
    UnreadableError
        This user may not read it.
    """
    try:
        return ask("dmesg", package="util-linux")
    except DeviceError as error:
        raise UnreadableError(error.message, hint="sudo edge-firmware doctor") from error


def judge_log(log: str) -> Finding:
    """The worst of what stands there."""
    lines = log.splitlines()
    for pattern, level, text, hint in TROUBLES:
        if found := [line for line in lines if re.search(pattern, line)]:
            last = re.sub(r"^\[ *[\d.]+\] *", "", found[-1])[:120]
            what = f"{text}: {len(found)} lines since boot, the last: {last}"
            return Finding("fail" if level == "fail" else "warn", what, hint)
    return Finding("ok", f"{len(lines)} lines, none of trouble with card, memory, supply or USB")
