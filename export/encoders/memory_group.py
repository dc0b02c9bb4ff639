"""Processes that share a limit of memory: a cgroup of version 1 or 2, where root may make one."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control"),
    "cgroup2": ("memory.max", "memory.current", "memory.events"),
}
"""Limit, use, and the count ``oom_kill``, by type of the file system."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """Made by `make`, and to be removed when all its processes have ended."""

    path: Path
    _files: tuple[str, str, str]

    @classmethod
    def make(cls) -> "MemoryGroup | None":
        """None where this machine, or our rights on it, have no such thing."""
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            _, folder, kind, *_ = line.split()
            path = Path(folder) / f"edge-probe-{os.getpid()}"
            if kind not in _FILES or not _make(path):
                continue
            if (path / _FILES[kind][0]).exists():
                return cls(path, _FILES[kind])
            path.rmdir()
        return None

    def join(self, pid: int) -> None:
        """Take a process in, with the children it will have."""
        (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def limit(self, n_bytes: int) -> None:
        """Allow so much for all of them."""
        (self.path / self._files[0]).write_text(str(n_bytes), encoding="ascii")

    @property
    def n_bytes(self) -> int:
        """In use."""
        return int((self.path / self._files[1]).read_text(encoding="ascii"))

    @property
    def n_killed(self) -> int:
        """Processes the kernel has killed because there was no memory left for the group."""
        text = (self.path / self._files[2]).read_text(encoding="ascii")
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def remove(self) -> None:
        self.path.rmdir()


def _make(path: Path) -> bool:
    try:
        path.mkdir()
    except OSError:  # read-only, or not ours
        return False
    return True


_EATER = """
import os, sys
file = os.memfd_create("eaten")
for _ in sys.stdin:
    os.write(file, bytes(1 << 20))
    print(flush=True)
"""


class Eater:
    """A process of a group that takes memory, MiB by MiB.

    It writes a file in memory. That is none of its own, so it stays small, and the kernel will not
    choose it when there is nothing left.
    """

    def __init__(self, group: MemoryGroup) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EATER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        group.join(self._process.pid)

    def take(self) -> None:
        """A MiB more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the kernel has chosen the eater"

    def end(self) -> None:
        """Give all of it back."""
        self._process.communicate()
