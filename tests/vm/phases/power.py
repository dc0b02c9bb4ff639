"""The plug is pulled while it records."""

import random
import time
from pathlib import Path
from typing import Any

from vm.agent import Agent
from vm.device import (
    CLASSIFIER,
    RECORDER,
    copy_state,
    look,
    n_chunks,
    n_recorded,
    stop,
    uptime_s,
    wait_active,
    wait_for,
)
from vm.ledger import lost, read_ledger
from vm.machine import Machine
from vm.parts import Parts
from vm.phases.listen import chunks
from vm.syncs import first_durable_sample_s, of_growing_segment

N_CUTS = 2


def run(machine: Machine, _parts: Parts, folder: Path) -> dict[str, Any]:
    """Cut it off, let it come back, and look for all that was acknowledged before."""
    said, cuts, first_s = [], [], []
    for _ in range(N_CUTS):
        agent = machine.start()
        wait_active(agent, RECORDER)
        first_s.append(first_durable_sample_s(agent))
        wait_active(agent, CLASSIFIER)
        before = n_chunks(look(agent))
        wait_for("chunks", lambda: n_chunks(look(agent)) > before + 10)  # noqa: B023
        time.sleep(random.uniform(0, 10))
        said.append(_acknowledged(agent))
        machine.cut_power()
        cuts.append({"frames": n_recorded(said[-1]), "chunks": n_chunks(said[-1])})
    agent = machine.start()
    wait_active(agent, RECORDER)
    wait_active(agent, CLASSIFIER)
    file_system = agent.text("journalctl -k -b -q -o cat | grep -i 'ext4-fs' || true")
    stop(agent)
    state = folder / "state"
    copy_state(agent, state)
    ledger = read_ledger(state)
    return {
        "first_durable_sample_s": first_s,
        "cuts": cuts,
        "file_system": file_system.splitlines(),
        "disk": "qcow2 overlay, cache=writeback; qemu killed with SIGKILL",
        "gaps": ledger.gaps,
        "ledger_problems": ledger.problems,
        "lost": [line for one in said for line in lost(one, state)],
        "chunks": chunks(state),
    }


def _acknowledged(agent: Agent) -> dict[str, Any]:
    """What the recorder has safe: of the growing file, what was there before a sync began."""
    said, seen_s = look(agent), uptime_s(agent)
    wait_for(
        "a sync behind what was seen",
        lambda: any(one.began_s > seen_s for one in of_growing_segment(agent))
        or _has_turned(agent, said),
        every_s=0.3,
    )  # fmt: skip
    return said


def _has_turned(agent: Agent, said: dict[str, Any]) -> bool:
    """Whether the file that grew is closed by now."""
    return not set(said["growing"]) <= set(look(agent)["growing"])
