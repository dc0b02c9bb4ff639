"""Measure this machine, write ``benchmarks/results/machine.json`` and the table in the README.

``make bench`` runs it with one BLAS thread; ``--smoke`` is one short round, nothing written.
"""

import argparse
import json
from pathlib import Path

import bench_memory
import bench_overhead
import table
from machine import machine, refuse_emulation

from edge_probe.commands.classify import DEMO_BUNDLE

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def main() -> None:
    """Run every benchmark."""
    parser = argparse.ArgumentParser(description="Measure this machine.")
    parser.add_argument("--smoke", action="store_true", help="one short round, write nothing")
    args = parser.parse_args()
    refuse_emulation()
    rounds = 1 if args.smoke else 15
    size = sum(path.stat().st_size for path in DEMO_BUNDLE.iterdir())
    result = {
        "machine": machine(),
        "demo_bundle_kib": round(size / 1024),
        "memory": bench_memory.measure(5 if args.smoke else bench_memory.MINUTES),
        "overhead": bench_overhead.measure(rounds),
    }
    print(json.dumps(result, indent=1))
    if not args.smoke:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(result, indent=1) + "\n"
        (RESULTS / "machine.json").write_text(text, encoding="utf-8")
        table.put(HERE.parent / "README.md", table.render(table.load(RESULTS)))


if __name__ == "__main__":
    main()
