"""What it takes beside what was estimated, and what systemd and the doctor say of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_probe.budget.figure import read_sheet
from firmware_tools.comparison import compare
from vm.agent import Agent
from vm.device import CLASSIFIER, RECORDER, wait_active
from vm.machine import Machine
from vm.parts import BUNDLE, PROFILE, Parts, firmware

CURRENT = "/var/lib/edge-probe/slots/current"

COMPARED = (
    "flash_runtime", "flash_bundle", "memory_recorder", "memory_classifier", "memory_helpers",
    "memory_files", "memory_ours", "memory_system",
)  # fmt: skip


def run(machine: Machine, _parts: Parts, folder: Path) -> dict[str, Any]:
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
    estimate = firmware("estimate", BUNDLE, "--profile", PROFILE, "--json", timeout_s=600)
    for name, text in (("measured", measured), ("estimate", estimate)):
        (folder / f"{name}.json").write_text(text, "utf-8")
    return facts | {"rows": rows(folder / "estimate.json", folder / "measured.json")}


def rows(estimate: Path, measured: Path) -> dict[str, dict[str, Any]]:
    """Estimate and measurement of what does not depend on time.

    The signed bundle is measured and the unsigned one estimated: their files are equal but for a
    number in the manifest.
    """
    there = read_sheet(measured, "measured")
    here = replace(read_sheet(estimate, "estimate"), bundle=there.bundle)
    found = {}
    for row in compare(here, there):
        if row.name in COMPARED and row.estimate and row.measured:
            found[row.name] = {
                "estimate": [round(row.estimate.low, 2), round(row.estimate.high, 2)],
                "measured": round(row.measured.middle, 2),
                "tag": row.measured.tag,
                "middle_error": round(row.estimate.middle / row.measured.middle - 1, 4),
            }
    return found


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
