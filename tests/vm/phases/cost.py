"""What it takes, and what systemd and the doctor say of it."""

import json
from pathlib import Path
from typing import Any

from vm.agent import Agent
from vm.device import CLASSIFIER, RECORDER, wait_active
from vm.machine import Machine
from vm.parts import Parts

CURRENT = "/var/lib/edge-probe/slots/current"


def run(machine: Machine, _parts: Parts, _folder: Path) -> dict[str, Any]:
    """Measure with the product's own bench, then ask."""
    agent = machine.start()
    wait_active(agent, RECORDER)
    units = agent.text("ls /usr/lib/systemd/system | grep ^edge-probe-").split()
    facts = {
        "exposure": {unit: _exposure(agent, unit) for unit in units if unit.endswith(".service")},
        "verify": _verify(agent, units),
        "doctor": _doctor(agent),
    }
    ours = ["edge-probe-trial.service", RECORDER, CLASSIFIER]
    agent.run(["systemctl", "stop", *ours], timeout_s=180)
    measured = agent.text(["edge-probe", "bench", CURRENT, "--json"], timeout_s=1500)
    return facts | {"measured": json.loads(measured)}


def _exposure(agent: Agent, unit: str) -> float:
    """The number that ``systemd-analyze security`` gives it."""
    text = agent.text(["systemd-analyze", "security", "--no-pager", unit], timeout_s=180)
    line = next(line for line in text.splitlines() if "Overall exposure level" in line)
    return float(line.split(":")[1].split()[0])


def _verify(agent: Agent, units: list[str]) -> list[str]:
    """What ``systemd-analyze verify`` finds in units of ours."""
    done = agent.run(["systemd-analyze", "verify", *units], timeout_s=300, check=False)
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    return [line for line in lines if "edge-probe" in line]


def _doctor(agent: Agent) -> dict[str, Any]:
    """``edge-firmware doctor``."""
    done = agent.run(["edge-firmware", "doctor", "/var/lib/edge-probe"], timeout_s=600, check=False)
    return {
        "status": done.returncode,
        "lines": (done.stdout + done.stderr).decode(errors="replace").splitlines()[:60],
    }
