"""What one core of this machine can do at most: ``ceiling.c``, compiled and run."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("ceiling.c")


def measure() -> dict[str, Any]:
    """Bit operations per second of each instruction set this CPU has, the widest first.

    Returns
    -------
    dict
        ``kinds``, ``clock_ghz`` (None where unknown); or ``missing`` and why.
    """
    compiler = next(filter(None, map(shutil.which, ("gcc", "cc", "clang"))), None)
    if compiler is None:
        return {"kinds": [], "clock_ghz": None, "missing": "no C compiler on this machine"}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "ceiling"
        subprocess.run([compiler, "-O2", SOURCE, "-o", program], check=True)
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def bit_operations(ceiling: dict[str, Any]) -> float | None:
    """Most of xor + popcount + add a second, widest vectors, Gbit-op/s; None if not measured."""
    kinds = ceiling["kinds"]
    return float(kinds[0]["xor_popcount_add_gbit_s"]) if kinds else None
