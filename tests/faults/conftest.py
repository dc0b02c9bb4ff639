"""How far the campaigns go, what they need of a machine, and where their results are kept."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

COUNTS = {
    "kills": 100,
    "cuts": 40,
    "replays": 200,
    "errors": 150,
    "soak_segments": 30 * 24 * 6,
    "budget_s": 300,
}
"""Defaults; each may be set in the environment as EDGE_PROBE_KILLS and so on."""


def count(name: str) -> int:
    """How often a campaign strikes."""
    return int(os.environ.get(f"EDGE_PROBE_{name.upper()}", COUNTS[name]))


def needs(*tools: str) -> None:
    """Skip, with the reason, where a campaign cannot run."""
    missing = [tool for tool in tools if not (shutil.which(tool) or Path(tool).exists())]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        pytest.skip(f"the fault campaign needs {', '.join(missing)}")


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


@pytest.fixture(scope="session")
def results(seed: int) -> Iterator[dict[str, Any]]:
    """Figures of the campaigns; kept as JSON in the file EDGE_PROBE_FAULTS_JSON names, if any."""
    figures: dict[str, Any] = {"seed": seed}
    yield figures
    if path := os.environ.get("EDGE_PROBE_FAULTS_JSON"):
        Path(path).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
