"""Bundles that were damaged by chance, or bred against what reads them."""

import json
import os
import random
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from faults.conftest import count, needs

from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.bundle.trust import DEVELOPMENT
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.measure import peak_rss_mib

FILES = sorted(path.name for path in DEMO_BUNDLE.iterdir())

is_valid = lru_cache(maxsize=1)(verify.is_valid)


@pytest.mark.parametrize("name", FILES)
def test_flipped_bits_of_a_real_bundle(
    name: str, memory_folder: Path, chance: random.Random, results: dict[str, Any]
) -> None:
    """One bit at a time, anywhere in a file of the demo bundle."""
    needs(root=False)
    folder = Path(shutil.copytree(DEMO_BUNDLE, memory_folder / "demo"))
    size, slowest, refused = (folder / name).stat().st_size, 0.0, 0
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    baseline_mib = peak_rss_mib() or 0.0
    with (folder / name).open("r+b", buffering=0) as file:
        for _ in range(count("flips")):
            position = chance.randrange(size)
            (byte,) = os.pread(file.fileno(), 1, position)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << chance.randrange(8)]), position)
            began = process_time()
            with pytest.raises(RejectedBundleError):
                open_bundle(folder, verify=is_valid, trusted=[DEVELOPMENT])
            slowest = max(slowest, process_time() - began)
            refused += 1
            os.pwrite(file.fileno(), bytes([byte]), position)
    open_bundle(folder, verify=is_valid, trusted=[DEVELOPMENT])
    growth_mib = (peak_rss_mib() or 0.0) - baseline_mib
    assert slowest < 1
    assert growth_mib < 64
    results[f"flipped bits of {name}"] = {
        "flips": count("flips"),
        "refused": refused,
        "slowest_cpu_s": round(slowest, 4),
        "peak_over_baseline_mib": round(growth_mib, 1),
    }


def test_inputs_bred_for_coverage(tmp_path: Path, seed: int, results: dict[str, Any]) -> None:
    """Until there were so many inputs or seconds; what must not happen ends the fuzzer early."""
    needs("atheris", root=False)
    out = tmp_path / "result.json"
    done = subprocess.run(
        [
            sys.executable, "-m", "support.bundle_fuzzer", "--out", out,
            "--runs", str(count("fuzz_inputs")), "--seconds", str(count("fuzz_s")),
            "--seed", str(seed + 1),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["inputs"] >= 1000
    assert len(figures["refused"]) == 8
    assert figures["slowest_input_cpu_s"] < 1
    assert figures["peak_over_baseline_mib"] < 64
    results["bred inputs"] = figures
