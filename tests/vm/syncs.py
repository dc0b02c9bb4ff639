"""When samples were safe, as the kernel of the machine saw it: syncs of the growing segment.

The machine traces ``fdatasync`` (`vm.machine.TRACE`), so that the recorder under test is as it is
shipped and nothing stands between it and the disk.
"""

import re
from dataclasses import dataclass

from vm.agent import Agent
from vm.device import RECORDER, shown, wait_for

TRACE = "/sys/kernel/tracing/trace"

_ENTER = re.compile(r"-(?P<task>\d+) .* (?P<at>\d+\.\d+): sys_fdatasync\(fd: (?P<fd>[0-9a-f]+)\)")
_EXIT = re.compile(r"-(?P<task>\d+) .* (?P<at>\d+\.\d+): sys_fdatasync -> (?P<result>0x[0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Sync:
    """One that succeeded; times of CLOCK_MONOTONIC."""

    task: int
    fd: int
    began_s: float
    ended_s: float


def parse(text: str) -> list[Sync]:
    """Those of a trace, in the order in which they ended."""
    begun: dict[int, tuple[int, float]] = {}
    found = []
    for line in text.splitlines():
        if enter := _ENTER.search(line):
            begun[int(enter["task"])] = int(enter["fd"], 16), float(enter["at"])
        elif end := _EXIT.search(line):
            start = begun.pop(int(end["task"]), None)
            if start and int(end["result"], 16) == 0:
                found.append(Sync(int(end["task"]), *start, float(end["at"])))
    return found


def of_growing_segment(agent: Agent) -> list[Sync]:
    """Syncs of the file that the recorder is writing just now."""
    pid = shown(agent, RECORDER, "MainPID")["MainPID"]
    links = agent.text(f"ls -l /proc/{pid}/fd").splitlines()
    fds = [int(link.split()[-3]) for link in links if link.endswith(".wav.part")]
    tasks = {int(task) for task in agent.text(f"ls /proc/{pid}/task").split()}
    return [
        one for one in parse(agent.text(["cat", TRACE], timeout_s=120))
        if one.fd in fds and one.task in tasks
    ]  # fmt: skip


def first_durable_sample_s(agent: Agent) -> float:
    """Seconds since the kernel began; to be asked while the first segment of a boot grows."""
    found = wait_for("a sync of the first segment", lambda: of_growing_segment(agent))
    return found[0].ended_s
