"""The machine that is measured: its facts, one core of it, and whether it is real."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edge_probe import __version__

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of a process that is timed."""

KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""Makes glibc keep freed memory: a call finds the pages of the call before.

Otherwise the page faults of a [M, T] array can double the time of a peer, or not, by chance.
"""

_FLAGS = (
    "popcnt", "avx2", "avx512f", "avx512_vpopcntdq", "avx512_vnni", "avx512_bf16", "avx_vnni",
    "amx_bf16", "amx_int8", "asimd", "asimddp", "i8mm", "bf16",
)  # fmt: skip
"""What decides which kernel a library takes; the names of /proc/cpuinfo."""


_WIDEST = ("avx512_vpopcntdq", "avx512f", "avx2", "i8mm", "asimddp", "asimd")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cpu": _model(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "edge_probe": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "threads": 1,
    }


def slug() -> str:
    """Name of a folder for results of this machine: processor, and its widest vectors.

    A cloud calls processors of several generations by one name.
    """
    flags = cpu_flags()
    widest = next((flag for flag in _WIDEST if flag in flags), "")
    words = re.findall(r"[a-z0-9]+", f"{_model()} {platform.machine()} {widest}".lower())
    return "-".join(words)


def cpu_flags() -> list[str]:
    """Instruction sets of this CPU that matter to the head."""
    present = (_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split()
    return [flag for flag in _FLAGS if flag in present]


def refuse_emulation() -> None:
    """End the program where the CPU is made of software: its times mean nothing.

    Under user emulation /proc/cpuinfo is mostly that of the host and contradicts the
    architecture; an emulated machine calls its CPU by the name of the emulator.
    """
    info = _cpuinfo()
    foreign = platform.machine() == "aarch64" and "CPU implementer" not in info
    if foreign or any(word in info.get("model name", "") for word in ("QEMU", "TCG")):
        raise SystemExit("this CPU is emulated: nothing is timed here")


def pin() -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _model() -> str:
    """The board where it tells, else the processor."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(encoding="utf-8", errors="replace").strip("\0 ")
    return _cpuinfo().get("model name", platform.processor())


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is none."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
