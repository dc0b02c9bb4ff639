"""Resident memory of ``edge-probe classify -`` over ten minutes of streamed audio."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from edge_probe.commands.classify import DEMO_BUNDLE

MINUTES = 10
WARM_UP = 0.2
"""Share of the stream after which memory must be flat."""


def _status_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def measure(minutes: float = MINUTES) -> dict[str, object]:
    """Peak and growth after warm-up, in MiB, fed as fast as the process takes it."""
    samples, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="int16")
    scene = np.asarray(samples, np.int16).tobytes()
    n_repeats = max(10, round(minutes * 60 * rate / len(samples)))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_probe", "classify", "-", "--rate", str(rate), "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    resident, n_bytes = [], 0
    for _ in range(n_repeats):
        process.stdin.write(scene)
        n_bytes += len(process.stdout.read() or b"")
        resident.append(_status_mib(process.pid, "VmRSS"))
    time.sleep(0.5)  # what is still in the pipe
    peak = _status_mib(process.pid, "VmHWM")
    process.stdin.close()
    os.set_blocking(process.stdout.fileno(), True)
    n_bytes += len(process.stdout.read())
    if process.wait() != 0 or n_bytes == 0:
        raise SystemExit("edge-probe classify failed or detected nothing: not measured")
    warm = resident[int(WARM_UP * n_repeats) :]
    return {
        "minutes": round(n_repeats * len(samples) / rate / 60, 1),
        "peak_rss_mib": round(peak, 1),
        "growth_after_warm_up_mib": round(max(warm) - warm[0], 2),
    }
