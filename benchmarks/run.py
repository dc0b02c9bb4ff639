"""Measure this machine, write ``benchmarks/results/machine.json`` and the table in the README.

``make bench`` runs it with one BLAS thread; ``--smoke`` is one short round, nothing written.
"""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import bench_head
import bench_memory
import bench_overhead
import numpy as np
import onnxruntime as ort
import table

from edge_probe import __version__
from edge_probe.commands.classify import DEMO_BUNDLE

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "edge_probe": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "threads": 1,
    }


def main() -> None:
    """Run every benchmark."""
    parser = argparse.ArgumentParser(description="Measure this machine.")
    parser.add_argument("--smoke", action="store_true", help="one short round, write nothing")
    args = parser.parse_args()
    rounds = 1 if args.smoke else 15
    size = sum(path.stat().st_size for path in DEMO_BUNDLE.iterdir())
    result = {
        "machine": machine(),
        "demo_bundle_kib": round(size / 1024),
        "memory": bench_memory.measure(5 if args.smoke else bench_memory.MINUTES),
        "overhead": bench_overhead.measure(rounds),
        "head": bench_head.measure(rounds),
    }
    print(json.dumps(result, indent=1))
    if not args.smoke:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(result, indent=1) + "\n"
        (RESULTS / "machine.json").write_text(text, encoding="utf-8")
        table.update(HERE.parent / "README.md", RESULTS)


if __name__ == "__main__":
    main()
