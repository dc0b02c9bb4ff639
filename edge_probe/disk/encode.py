"""Process that encodes segments while nobody else needs the machine; one JSON line a job.

``{"source": PATH, "target": PATH, "silences": [[begin, end], ...]}`` is answered with
``{"n_bytes": N}`` or ``{"error": TEXT}``. It ends with its standard input, and with its parent.
"""

import ctypes
import json
import os
import platform
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13
_IOPRIO_SET = {
    "x86_64": 251,
    "i686": 289,
    "aarch64": 30,
    "riscv64": 30,
    "armv7l": 314,
    "armv6l": 314,
}
"""System call numbers (ioprio_set(2) has no wrapper in the C library)."""


def be_idle() -> None:
    """Lowest priority for processor and disk, for good; Linux only.

    The disk priority needs a scheduler that knows it (BFQ); others ignore it.
    """
    os.nice(19)
    libc = ctypes.CDLL(None, use_errno=True)
    machine = platform.machine()
    if sys.maxsize < 2**32 and machine == "aarch64":
        machine = "armv7l"  # 32-bit program on a 64-bit kernel, as on many a Raspberry Pi
    number = _IOPRIO_SET.get(machine)
    if number is not None and libc.syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE) != 0:
        sys.stderr.write(f"no idle disk priority: {os.strerror(ctypes.get_errno())}\n")


def die_with_parent(parent: int) -> None:
    """Leave no process behind when the recorder is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def main() -> None:
    """Answer jobs until there are no more."""
    die_with_parent(int(sys.argv[1]))
    be_idle()
    from edge_probe.errors import AudioError
    from edge_probe.source.flac import encode

    for line in sys.stdin:
        job = json.loads(line)
        silences = [(begin, end) for begin, end in job["silences"]]
        try:
            answer: dict[str, object] = {
                "n_bytes": encode(Path(job["source"]), Path(job["target"]), silences)
            }
        except (AudioError, OSError) as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
