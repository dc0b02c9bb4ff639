"""System calls of a victim, watched and made to fail, by strace."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from support.nursery import Job, Victim

TOOLS = ("strace",)
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+|\?)(.*)")
_FILE = re.compile(r"\d+<([^>]*)>")


class Call(NamedTuple):
    """One that returned."""

    name: str
    path: str | None
    """Of the file descriptor that is its first argument."""
    arguments: str
    result: int
    was_injected: bool


def watch(plan: Job, log: Path, inject: str | None = None) -> NDArray[np.int64]:
    """Let a job be done to its end, all its system calls logged.

    Parameters
    ----------
    plan : Job
        One that waits.
    log : Path
    inject : str, optional
        What strace calls a tampering, ``fsync:error=EIO:when=3``.

    Returns
    -------
    (n, 6)
        What was said.
    """
    victim = Victim(plan)
    tamper = ["-e", f"inject={inject}"] if inject else []
    strace = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "0", "-o", log, *tamper, "-p", str(victim.pid)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with strace:
        assert strace.stderr is not None
        attached = strace.stderr.readline()
        assert "attached" in attached, attached
        victim.journal.let_go()
        return victim.end()


def calls(log: Path) -> Iterator[Call]:
    """The calls a log holds, in order, those before the victim was let go left out."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if (match := _CALL.match(line)) and match[1] not in ("clock_nanosleep", "restart_syscall"):
            file = _FILE.match(match[2])
            result = -1 if match[3] == "?" else int(match[3])
            yield Call(match[1], file and file[1], match[2], result, "INJECTED" in match[4])


def how_often(log: Path) -> Counter[str]:
    """Calls by name."""
    return Counter(call.name for call in calls(log))
