"""What a process has used so far: CPU time and memory."""

import time
from pathlib import Path

_STATUS = Path("/proc/self/status")


def cpu_s() -> float:
    """CPU seconds of this process, all threads, user and system."""
    return time.process_time()


def rss_mib() -> float | None:
    """Resident memory now in MiB, or None where the system does not tell (not Linux)."""
    return _status_mib("VmRSS")


def peak_rss_mib() -> float | None:
    """Largest resident memory so far in MiB, or None where the system does not tell."""
    return _status_mib("VmHWM")


def _status_mib(field: str) -> float | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return None
