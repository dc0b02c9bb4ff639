"""Programs of the tests that run beside them."""

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """In which a program finds `support` and the packages under test."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests.parent), str(tests)])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
