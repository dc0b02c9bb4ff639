"""Resident memory of ``edge-probe classify -`` over hours of streamed audio."""

import os
import subprocess
import sys
import time
from math import ceil
from pathlib import Path

import numpy as np
import soundfile as sf

from edge_probe.commands.classify import DEMO_BUNDLE

MINUTES = 600
"""As fast as the process takes it: less than a minute of real time."""

WARM_UP_MINUTES = 2


def _status_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def measure(minutes: float = MINUTES) -> dict[str, float]:
    """Peak and growth after warm-up, in MiB."""
    samples, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="int16")
    scene = np.asarray(samples, np.int16).tobytes()
    n_repeats = max(10, ceil(minutes * 60 * rate / len(samples)))
    command = [sys.executable, "-m", "edge_probe", "classify", "-", "--rate", str(rate), "--json"]
    resident, n_bytes = [], 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        for _ in range(n_repeats):
            process.stdin.write(scene)
            n_bytes += len(process.stdout.read() or b"")
            resident.append(_status_mib(process.pid, "VmRSS"))
        time.sleep(0.5)  # what is still in the pipe
        peak = _status_mib(process.pid, "VmHWM")
        process.stdin.close()
        os.set_blocking(process.stdout.fileno(), True)
        n_bytes += len(process.stdout.read())
    if process.returncode != 0 or n_bytes == 0:
        raise SystemExit("edge-probe classify failed or detected nothing: not measured")
    repeat_minutes = len(samples) / rate / 60
    warm = resident[ceil(WARM_UP_MINUTES / repeat_minutes) :]
    return {
        "minutes": round(n_repeats * repeat_minutes, 1),
        "peak_rss_mib": round(peak, 1),
        "growth_after_warm_up_mib": round(max(warm) - warm[0], 2),
    }
