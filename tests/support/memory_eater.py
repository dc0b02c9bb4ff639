"""A process that takes memory from a group, MiB by MiB."""

import subprocess
import sys

from export.encoders.memory_group import MemoryGroup

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
