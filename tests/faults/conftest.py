"""How far the campaigns go, what they need of a machine, and where their results are kept."""

import importlib.util
import json
import os
import platform
import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from support.numbered_microphone import NumberedMicrophone

from edge_probe import __version__

COUNTS = {
    "kills": 100,
    "classifier_kills": 20,
    "cuts": 40,
    "replays": 200,
    "errors": 150,
    "install_faults": 25,
    "install_cuts": 15,
    "flips": 100,
    "fuzz_inputs": 1_000_000,
    "fuzz_s": 20,
    "soak_days": 3,
    "budget_s": 180,
    "budget_pace": 10,
    "losses": 4,
    "live_s": 60,
}
"""Defaults; each may be set in the environment as EDGE_PROBE_KILLS and so on."""


def count(name: str) -> int:
    """How often a campaign strikes."""
    return int(os.environ.get(f"EDGE_PROBE_{name.upper()}", COUNTS[name]))


def needs(*tools: str, root: bool = True) -> None:
    """Skip, with the reason, where a campaign cannot run.

    Parameters
    ----------
    tools : str
        Programs, devices or Python packages.
    root : bool
        Whether it mounts, traces or the like.
    """
    missing = [] if sys.platform.startswith("linux") else ["Linux"]
    missing += [tool for tool in tools if not _is_there(tool)]
    if root and os.geteuid() != 0:
        missing.append("root")
    if missing:
        pytest.skip(f"the fault campaign needs {', '.join(missing)}")


def _is_there(tool: str) -> bool:
    return bool(shutil.which(tool)) or Path(tool).exists() or _is_package(tool)


def _is_package(name: str) -> bool:
    return name.isidentifier() and importlib.util.find_spec(name) is not None


@pytest.fixture(scope="session")
def seed() -> int:
    """Of all chance; EDGE_PROBE_SEED repeats a campaign as far as a race can be repeated."""
    return int(os.environ.get("EDGE_PROBE_SEED", "0"))


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> random.Random:
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """A folder in memory, where there is room for it: what is tested is not this machine's disk."""
    shm = Path("/dev/shm")
    with TemporaryDirectory(dir=shm if shm.is_dir() else None, prefix="edge-probe-") as folder:
        yield Path(folder)


@pytest.fixture
def numbered(tmp_path: Path) -> Iterator[NumberedMicrophone]:
    """A microphone that numbers its frames; skips where that is not possible."""
    if lacking := NumberedMicrophone.missing():
        pytest.skip(lacking)
    folder = tmp_path / "pulse"
    folder.mkdir()
    microphone = NumberedMicrophone(folder)
    yield microphone
    microphone.close()


@pytest.fixture
def results(seed: int, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Figures of a campaign, by its name.

    They are kept in the file that EDGE_PROBE_FAULTS_JSON names, if it does and the test passes: a
    long run that is interrupted loses only the campaign it was at.
    """
    figures: dict[str, dict[str, Any]] = {}
    n_failed = request.session.testsfailed
    yield figures
    path = os.environ.get("EDGE_PROBE_FAULTS_JSON")
    if path and request.session.testsfailed == n_failed:
        keep(Path(path), figures, seed)


def keep(path: Path, figures: dict[str, dict[str, Any]], seed: int) -> None:
    """Add figures to those of this machine and version, in place of older ones."""
    told = {
        "edge_probe": __version__,
        "machine": {
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "numpy": np.__version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
    }
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if any(known.get(name) != value for name, value in told.items()):
        known = told
    date = datetime.now(UTC).date().isoformat()
    known |= {name: {"date": date, "seed": seed} | found for name, found in figures.items()}
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
