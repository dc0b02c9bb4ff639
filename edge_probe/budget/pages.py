"""Memory of processes, as if nobody else had the same files mapped. Linux only.

Two processes that map one library share its pages. Proportional set sizes (PSS) divide such pages
by all who map them, also by programs that the device will not run; here a page of a file counts
once for all processes that are looked at, and for nobody else.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_ENTRY_BYTES = 8
_PRESENT, _SWAPPED, _OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
"""Documentation/admin-guide/mm/pagemap.rst of Linux."""

_FileId = tuple[str, int]
"""Device and inode."""


@dataclass(slots=True)
class Pages:
    """What one process, or several, have in memory."""

    n_anonymous: int = 0
    """Pages of no file: stack, heap, what was written to a private mapping."""
    files: dict[_FileId, NDArray[np.int64]] = field(default_factory=dict)
    """Page numbers of each file, ascending, each once."""

    @property
    def anonymous_bytes(self) -> int:
        """Must stay in memory (there is no swap on a recorder)."""
        return self.n_anonymous * PAGE_BYTES

    @property
    def file_bytes(self) -> int:
        """Code and mapped weights: can be dropped, and read from the card again."""
        return sum(len(numbers) for numbers in self.files.values()) * PAGE_BYTES

    def add(self, other: "Pages") -> None:
        """Join with those of another process."""
        self.n_anonymous += other.n_anonymous
        for file, numbers in other.files.items():
            mine = self.files.get(file)
            self.files[file] = numbers if mine is None else np.union1d(mine, numbers)


def pages_of(pid: int) -> Pages:
    """Pages of one process now.

    Raises
    ------
    ProcessLookupError
        It has ended.
    EdgeProbeError
        The kernel does not tell.
    """
    found = Pages()
    process = Path("/proc") / str(pid)
    try:
        with (process / "pagemap").open("rb", buffering=0) as pagemap:
            for line in (process / "maps").read_text(errors="replace").splitlines():
                _add_mapping(found, pagemap.fileno(), line)
    except FileNotFoundError as error:
        if process.exists():
            raise EdgeProbeError(
                f"{process}: expected maps and pagemap there", hint="memory is measured on Linux"
            ) from error
        raise ProcessLookupError(pid) from error
    return found


def _add_mapping(found: Pages, pagemap: int, line: str) -> None:
    """One line of ``maps``: ``begin-end rights offset device inode path``."""
    span, _, offset, device, inode, *path = line.split(maxsplit=5)
    if path and path[0] in ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"):
        return  # pages of the kernel
    begin, end = (int(number, 16) // PAGE_BYTES for number in span.split("-"))
    data = os.pread(pagemap, (end - begin) * _ENTRY_BYTES, begin * _ENTRY_BYTES)
    entries = np.frombuffer(data, np.uint64)
    of_file = entries & _OF_FILE != 0
    found.n_anonymous += int(np.count_nonzero((entries & (_PRESENT | _SWAPPED) != 0) & ~of_file))
    numbers = np.flatnonzero((entries & _PRESENT != 0) & of_file)
    if len(numbers):
        file = device, int(inode)
        numbers = numbers + int(offset, 16) // PAGE_BYTES
        mine = found.files.get(file)
        found.files[file] = numbers if mine is None else np.union1d(mine, numbers)


def family(pid: int) -> dict[int, str]:
    """A process and all that descend from it: number to command line, blanks between words."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # the name in brackets may hold anything, brackets too
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
    members = {pid}
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    found = {}
    for member in sorted(members):
        with suppress(OSError):
            words = (Path("/proc") / str(member) / "cmdline").read_bytes().rstrip(b"\0")
            found[member] = words.replace(b"\0", b" ").decode(errors="replace")
    return found


def together(pids: Iterable[int]) -> Pages:
    """Pages of several processes, of each file page once; those that have ended have none."""
    found = Pages()
    for pid in pids:
        with suppress(ProcessLookupError):
            found.add(pages_of(pid))
    return found
