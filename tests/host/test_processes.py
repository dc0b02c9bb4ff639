"""What a process does for itself before it trains."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from export.processes import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(64 * 2**20, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_was_freed_is_taken_again() -> None:
    n_faults = [
        int(subprocess.run(
            [sys.executable, "-c", PROGRAM.format(kept=kept)],
            capture_output=True, text=True, check=True,
        ).stdout)
        for kept in (False, True)
    ]  # fmt: skip
    assert n_faults[0] > 20  # 64 MiB are returned and cleared anew each time; in huge pages, 32
    assert n_faults[1] == 0
