"""Processes that hang, and a classifier for which there is no memory."""

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
    shown,
    stop,
    uptime_s,
    wait_active,
    wait_for,
)
from vm.ledger import lost, read_ledger
from vm.machine import Machine
from vm.parts import RATE_HZ, Parts
from vm.phases.listen import chunks

TOO_LITTLE = "24M"
"""Below what Python alone takes with its libraries."""


def run(machine: Machine, _parts: Parts, folder: Path) -> dict[str, Any]:
    """One fault after the other; then all that was acknowledged before each is looked for."""
    agent = machine.start()
    _at_work(agent)
    said = []
    facts: dict[str, Any] = {}
    for name, fault, unit in (
        ("recorder_hangs", _hang, RECORDER),
        ("classifier_hangs", _hang, CLASSIFIER),
        ("classifier_out_of_memory", _starve, CLASSIFIER),
    ):
        before = look(agent)
        said.append(before)
        facts[name] = fault(agent, unit) | _afterwards(agent, before)
    stop(agent)
    state = folder / "state"
    copy_state(agent, state)
    ledger = read_ledger(state)
    return facts | {
        "gaps": ledger.gaps,
        "ledger_problems": ledger.problems,
        "lost": [line for one in said for line in lost(_synced_only(one), state)],
        "chunks": chunks(state),
    }


def _at_work(agent: Agent) -> None:
    wait_active(agent, RECORDER)
    wait_active(agent, CLASSIFIER)
    before = n_chunks(look(agent))
    wait_for("chunks", lambda: n_chunks(look(agent)) > before + 5)


def _synced_only(said: dict[str, Any]) -> dict[str, Any]:
    """Without files that grow: here a process ends, not the machine; its pages survive it."""
    return said | {"growing": {}}


def _hang(agent: Agent, unit: str) -> dict[str, Any]:
    """Stop a process where it stands; systemd must notice by itself."""
    before = shown(agent, unit, "MainPID", "NRestarts", "WatchdogUSec")
    since_s = uptime_s(agent)
    agent.run(["kill", "-STOP", before["MainPID"]])
    wait_for(
        f"a restart of {unit}",
        lambda: int(shown(agent, unit, "NRestarts")["NRestarts"]) > int(before["NRestarts"]),
        every_s=3,
    )  # fmt: skip
    wait_active(agent, unit)
    back = shown(agent, unit, "ActiveEnterTimestampMonotonic", "MainPID")
    return {
        "watchdog": before["WatchdogUSec"],
        "new_process": back["MainPID"] != before["MainPID"],
        "active_again_s": int(back["ActiveEnterTimestampMonotonic"]) / 1e6 - since_s,
        "said_by_systemd": _said(agent, unit, since_s),
    }


def _starve(agent: Agent, unit: str) -> dict[str, Any]:
    """Lower a unit's limit below what it needs, and give it back when it was killed."""
    before = shown(agent, unit, "MemoryMax", "NRestarts")
    recorder = shown(agent, RECORDER, "MainPID")["MainPID"]
    since_s = uptime_s(agent)
    agent.run(["systemctl", "set-property", "--runtime", unit, f"MemoryMax={TOO_LITTLE}"])
    wait_for(
        "the kernel to kill the classifier",
        lambda: int(shown(agent, unit, "NRestarts")["NRestarts"]) > int(before["NRestarts"]),
        every_s=3,
    )  # fmt: skip
    agent.run(["systemctl", "set-property", "--runtime", unit, f"MemoryMax={before['MemoryMax']}"])
    wait_active(agent, unit)
    kernel = agent.text(
        "journalctl -k -b -q -o cat | grep -i 'memory cgroup out of memory' || true"
    )
    return {
        "limit": before["MemoryMax"],
        "lowered_to": TOO_LITTLE,
        "kernel": kernel.splitlines()[-1:],
        "recorder_untouched": shown(agent, RECORDER, "MainPID")["MainPID"] == recorder,
        "said_by_systemd": _said(agent, unit, since_s),
    }


def _said(agent: Agent, unit: str, since_s: float) -> list[str]:
    """What systemd told of a unit since then."""
    lines = agent.text(
        f"journalctl -b -q -o short-monotonic _PID=1 UNIT={unit}", timeout_s=120
    ).splitlines()
    told = []
    for line in lines:
        at, _, text = line.lstrip("[ ").partition("]")
        if float(at) >= since_s:
            told.append(text.split(": ", 1)[-1])
    return told[:12]


def _afterwards(agent: Agent, before: dict[str, Any]) -> dict[str, Any]:
    """Both go on: more audio and more chunks than before."""
    time.sleep(10)
    now = look(agent)
    wait_for("chunks after the fault", lambda: n_chunks(look(agent)) > n_chunks(now))
    return {
        "recorded_more_s": (n_recorded(look(agent)) - n_recorded(before)) / RATE_HZ,
        "chunks_more": n_chunks(look(agent)) - n_chunks(before),
    }
