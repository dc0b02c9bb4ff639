"""All phases: the first boot, and then all others on the disk that it left."""

import ast
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vm.cache import Cache, say
from vm.machine import Machine, overlay
from vm.parts import Parts
from vm.phases import cost, faults, listen, power, update
from vm.root import System

PHASES: Mapping[str, ModuleType] = {
    "listen": listen,
    "faults": faults,
    "power": power,
    "update": update,
    "cost": cost,
}


def play(cache: Cache, system: System, parts: Parts) -> dict[str, Any]:
    """Facts of every phase; those that were found before, from the same code and disk, are kept."""
    facts, disk = {}, system.image
    for name, phase in PHASES.items():
        code = [path.read_bytes() for path in sorted(sources_of(phase.__name__))]
        folder = cache.step(
            f"phase-{name}", [*code, disk.parent.name, parts.folder.name],
            _run(phase, system, parts, disk),
        )  # fmt: skip
        facts[name] = json.loads((folder / "facts.json").read_text("utf-8"))
        say(f"{name}: done")
        if phase is listen:
            disk = folder / "disk.qcow2"
    return facts


def _run(phase: ModuleType, system: System, parts: Parts, disk: Path) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        with Machine(system, overlay(disk, folder / "disk.qcow2"), folder) as guest:
            found = phase.run(guest, parts, folder)
            guest.stop()
        (folder / "facts.json").write_text(json.dumps(found, indent=1), "utf-8")

    return make


def sources_of(name: str, known: frozenset[str] = frozenset()) -> set[Path]:
    """The file of a module of ours, and those of all that it imports of ours."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None or name in known:
        return set()
    path = Path(found.origin)
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module="vm"):
                imported |= {f"vm.{one.name}" for one in node.names}
            case ast.ImportFrom(module=str(module)) if module.startswith("vm."):
                imported.add(module)
    return {path}.union(*(sources_of(one, known | {name}) for one in imported))
