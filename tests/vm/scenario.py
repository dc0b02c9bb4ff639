"""All phases in order, each on the disk that the one before left."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vm import agent, device, ledger, machine, syncs
from vm.cache import Cache, say
from vm.machine import Machine, overlay
from vm.parts import Parts
from vm.phases import cost, faults, install, listen, power, update
from vm.root import System

PHASES: Mapping[str, ModuleType] = {
    "install": install,
    "listen": listen,
    "faults": faults,
    "power": power,
    "update": update,
    "cost": cost,
}

HARNESS = (agent, device, ledger, machine, syncs)


def play(cache: Cache, system: System, parts: Parts) -> dict[str, Any]:
    """Facts of every phase; those that were found before, from the same code and disk, are kept."""
    facts, disk = {}, system.image
    for name, phase in PHASES.items():
        code = [_source(module) for module in (*HARNESS, phase)]
        folder = cache.step(
            f"phase-{name}", [*code, disk.parent.name, parts.folder.name],
            _run(phase, system, parts, disk),
        )  # fmt: skip
        facts[name] = json.loads((folder / "facts.json").read_text("utf-8"))
        disk = folder / "disk.qcow2"
        say(f"{name}: done")
    return facts


def _run(phase: ModuleType, system: System, parts: Parts, disk: Path) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with Machine(system, overlay(disk, folder / "disk.qcow2"), folder) as guest:
            found = phase.run(guest, parts, folder)
            guest.stop()
        (folder / "facts.json").write_text(json.dumps(found, indent=1), "utf-8")

    return make


def _source(module: ModuleType) -> bytes:
    return Path(str(module.__file__)).read_bytes()
