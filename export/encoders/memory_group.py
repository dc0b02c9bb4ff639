"""Processes that share a limit of memory: a cgroup of version 1 or 2, where root may make one."""

import os
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control"),
    "cgroup2": ("memory.max", "memory.current", "memory.events"),
}
"""Limit, use, and the count ``oom_kill``, by type of the file system."""

_MAPPED = ("mapped_file", "file_mapped")
"""Pages of files in page tables, in ``memory.stat`` of version 1 and 2."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """Made by `make`, and to be removed when all its processes have ended."""

    path: Path
    _files: tuple[str, str, str]

    @classmethod
    def make(cls) -> "MemoryGroup | None":
        """None where this machine, or our rights on it, have no such thing: `why_none`."""
        return cls._try()[0]

    @classmethod
    def why_none(cls) -> str | None:
        """Why none can be made, None where one can."""
        group, problems = cls._try()
        if group is not None:
            group.remove()
            return None
        return "; ".join(problems) or "none are mounted"

    @classmethod
    def _try(cls) -> "tuple[MemoryGroup | None, list[str]]":
        """A group if one can be made, and what stood in its way where it could not be."""
        problems: list[str] = []
        for line in MOUNTS.read_text(encoding="utf-8").splitlines():
            _, folder, kind, *_ = line.split()
            if kind not in _FILES:
                continue
            path = Path(folder) / f"edge-probe-{os.getpid()}"
            try:
                path.mkdir()
            except OSError as error:  # read-only, or not ours
                problems.append(f"{folder}: {error.strerror}")
                continue
            if (path / _FILES[kind][0]).exists():
                return cls(path, _FILES[kind]), problems
            path.rmdir()
            problems.append(f"{folder}: is not for memory")
        return None, problems

    @classmethod
    def of(cls, path: Path) -> "MemoryGroup":
        """One that another process has made."""
        return cls(path, next(f for f in _FILES.values() if (path / f[0]).exists()))

    def stay_out_of_swap(self) -> None:
        """Keep memory that no file holds in memory: a recorder has no swap."""
        for name in ("memory.swappiness", "memory.swap.max"):
            if (self.path / name).exists():
                (self.path / name).write_text("0", encoding="ascii")

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

    @property
    def n_mapped_bytes(self) -> int:
        """Of files, mapped by its processes, and read in by them, not by others before."""
        text = (self.path / "memory.stat").read_text(encoding="ascii")
        counts = dict(line.split() for line in text.splitlines())
        return next(int(counts[key]) for key in _MAPPED if key in counts)

    def remove(self) -> None:
        """Give it up; none of its processes lives any more."""
        self.path.rmdir()
