"""The rows of an estimate, measured where this runs."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from edge_probe.budget import writes
from edge_probe.budget.figure import Figure, Sheet, Tag
from edge_probe.budget.installed import MIB, bundle_bytes, runtime_bytes
from edge_probe.budget.living import Living, live
from edge_probe.budget.speed import Speed, speed_of
from edge_probe.bundle import Bundle, open_bundle
from edge_probe.disk.plan import Span
from edge_probe.disk.reserve import free_bytes, nearest
from edge_probe.errors import EdgeProbeError

_EMULATED = re.compile(r"qemu|dummy-virt|cortex", re.IGNORECASE)
"""In the model that a virtual board tells, or in QEMU_CPU for a program of another processor."""

LEAST_WATCH_S = 120.0
"""Below which what a start writes says more than what a day does."""

_SHORT_SEGMENT_S = 5.0


def bench(bundle_path: Path, state: Path, rate_hz: int, watch_s: float) -> Sheet:
    """Measure flash, memory, time and, if watched long enough, writes; Linux only.

    Under an emulator no time is measured, and the rest is tagged ``measured-in-vm``.

    Parameters
    ----------
    bundle_path : Path
    state : Path
        Where a recorder would write; only the free space there is looked at.
    rate_hz : int
        Of the made-up microphone.
    watch_s : float
        To look at the recorder while it is at work.

    Raises
    ------
    EdgeProbeError
        Something cannot be measured here.
    """
    bundle = open_bundle(bundle_path)
    name = machine_name()
    is_emulated = bool(_EMULATED.search(f"{name} {os.environ.get('QEMU_CPU', '')}"))
    tag: Tag = "measured-in-vm" if is_emulated else "measured-here"
    is_watched = watch_s >= LEAST_WATCH_S
    living = live(
        bundle_path, rate_hz, writes.SEGMENT_S if is_watched else _SHORT_SEGMENT_S, watch_s
    )
    day = writes.day_of(rate_hz, free_bytes(nearest(state)) - writes.FLOOR_BYTES)
    figures = [
        _measured("flash_runtime", runtime_bytes() / MIB, tag, "the packages, whole blocks"),
        _measured("flash_bundle", bundle_bytes(bundle_path) / MIB, tag, "whole blocks"),
        *memory(living, tag), writes.full_after(day),
    ]  # fmt: skip
    notes = []
    if is_emulated:
        notes.append("this is an emulator: no time was measured")
    else:
        figures += times(speed_of(bundle, rate_hz), bundle, rate_hz)
        notes.append(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if is_watched:
        ratio = living.written_bytes / living.audio_bytes
        basis = f"{watch_s:.0f} s, without the journal of the file system"
        figures.append(writes.written(Span(ratio, ratio), rate_hz, day, tag, basis))
    else:
        notes.append(f"writes were not measured: that needs --watch {LEAST_WATCH_S:.0f} or more")
    return Sheet.of("measured", bundle.id, name, figures, notes)


def memory(living: Living, tag: Tag) -> Sequence[Figure]:
    """Rows of what a living recorder took, and of what else the machine runs."""
    anonymous = "anonymous, at most, of a recorder of noise"
    total, available = _meminfo("MemTotal"), _meminfo("MemAvailable")
    rows = [
        ("memory_recorder", living.recorder_bytes, anonymous),
        ("memory_classifier", living.classifier_bytes, anonymous),
        ("memory_helpers", living.helpers_bytes, "anonymous, the process that encodes FLAC"),
        ("memory_files", living.file_bytes, "code and mapped weights of all, each page once"),
        ("memory_ours", living.total_bytes, "the four above"),
        ("memory_system", total - available, "MemTotal less MemAvailable, ours ended"),
    ]
    return [_measured(name, n_bytes / MIB, tag, basis) for name, n_bytes, basis in rows]


def times(speed: Speed, bundle: Bundle, rate_hz: int) -> Sequence[Figure]:
    """Rows of the time for a chunk."""
    basis = f"{speed.n_rounds} chunks of {bundle.encoder.chunk_s:g} s at {rate_hz} Hz"
    factor = speed.one_core_s / bundle.encoder.chunk_s
    rows = [
        ("chunk_one_core", speed.one_core_s, f"median of CPU time, {basis}"),
        ("chunk_one_core_p95", speed.p95_s, f"95th percentile by the wall, {basis}"),
        ("chunk_all_cores", speed.all_cores_s, f"median by the wall, {basis}"),
        ("real_time_factor", factor, "one core over the length of a chunk"),
    ]
    return [_measured(name, value, "measured-here", basis) for name, value, basis in rows]


def machine_name() -> str:
    """Board or processor."""
    model = Path("/proc/device-tree/model")
    if model.exists():
        name = model.read_text(errors="replace").strip("\0 ")
    else:
        found = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.M)
        name = found[1] if found else "unknown processor"
    return f"{name}, {platform.machine()}, {os.cpu_count()} cores"


def _measured(name: str, value: float, tag: Tag, basis: str) -> Figure:
    return Figure(name, value, value, tag, basis)


def _meminfo(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", _read("/proc/meminfo"), re.M)
    if not found:
        raise EdgeProbeError(f"/proc/meminfo: no {field}", hint="memory is measured on Linux")
    return 1024 * int(found[1])


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")
