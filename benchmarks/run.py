"""Measure this machine: ``results/MACHINE/DATE.json``, pictures, and the tables of two documents.

``make bench`` runs it with one BLAS thread; half an hour where the shared data are,
some minutes elsewhere. ``--smoke`` is a small part of it, written nowhere. With ``--work DIR`` an
interrupted run goes on where it was.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bench_chunks
import bench_classes
import bench_cold
import bench_memory
import bench_overhead
import bench_overlap
import bench_side_by_side
import bench_split
import probing_data
import table
from bench_side_by_side import Size
from machine import cpu_flags, machine, refuse_emulation, slug

from edge_probe.commands.classify import DEMO_BUNDLE
from export.card import CARDS, EncoderCard, read_card
from export.clips import Split
from export.commands.tokens import DEMO_ENCODER

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", HERE.parents[1] / "shared")) / "data"

DEMO = "demo encoder"

COMPARED = ("STM32", "YAMNet")
"""Encoders that alternatives are trained behind: a small one of birds, and one of every sound."""

SPLIT = (DEMO, "STM32", "YAMNet", "Whisper tiny")
"""Encoders whose memory is split, and which are started cold."""

EPOCHS = {"mixtures": 20, "koumura": 30}
"""As in ``bench_probing.py``."""

N_MIXTURES: dict[Split, int] = {"train": 600, "validation": 200, "test": 200}
"""A third of those of ``bench_probing.py``, or alternatives would take an hour."""

Section = Callable[[], Any]


def main() -> None:
    """Run every benchmark."""
    parser = argparse.ArgumentParser(description="Measure this machine.")
    parser.add_argument("--smoke", action="store_true", help="a small part, write nothing")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep clips, tokens and what is finished"
    )
    args = parser.parse_args()
    refuse_emulation()
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as folder:
        work = args.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        sections = _smoke(work) if args.smoke else _all(work)
        kept = work / "finished.json"
        result = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else _about()
        for name, part in sections.items():
            if name not in result:
                result[name] = _timed(name, part)
                kept.write_text(json.dumps(result), encoding="utf-8")
    print(json.dumps(result, indent=1))
    if not args.smoke:
        _keep(result)


def _about() -> dict[str, Any]:
    size = sum(path.stat().st_size for path in DEMO_BUNDLE.iterdir())
    return {
        "machine": machine() | {"flags": cpu_flags(), "cores": os.cpu_count()},
        "load_at_start": round(os.getloadavg()[0], 1),
        "tag": "measured-here",
        "demo_bundle_kib": round(size / 1024),
    }


def _timed(name: str, part: Section) -> Any:
    begin = time.monotonic()
    found = part()
    print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return found


def _demo() -> dict[str, EncoderCard]:
    return {DEMO: read_card(DEMO_ENCODER, CARDS / "demo_encoder.toml")}


def _all(work: Path) -> Mapping[str, Section]:
    public: dict[str, EncoderCard] = {}
    left_out = ["shared data are absent: only the demo encoder, and no alternatives"]
    if SHARED.is_dir():
        public = {str(c.provenance["name"]): c for c in probing_data.encoders(SHARED, work)}
        left_out = []
    cards = _demo() | public
    some = {name: card for name, card in cards.items() if name in SPLIT}
    results = table.load(RESULTS)
    qualities = results["probing_compare"]
    sections: dict[str, Section] = {
        "left_out": lambda: left_out,
        "quality_from": lambda: {
            "file": "probing_compare.json", "command": "make bench-probing", "tag": "measured-here",
            **{key: qualities[key] for key in ("date", "edge_probe")},
        },
        "memory": bench_memory.measure,
        "overhead": lambda: bench_overhead.measure(15),
        "chunks": lambda: bench_chunks.measure(cards, qualities),
        "split": lambda: bench_split.measure(some),
        "classes": bench_classes.measure,
        "overlap": lambda: bench_overlap.measure(5),
        "cold_start": lambda: bench_cold.measure(some),
    }  # fmt: skip
    if public:
        compared = {name: public[name] for name in COMPARED}
        sections["side_by_side"] = lambda: bench_side_by_side.measure(
            {
                probing_data.mixtures(SHARED, work, N_MIXTURES): EPOCHS["mixtures"],
                probing_data.koumura(SHARED, work): EPOCHS["koumura"],
            },
            compared, _recipes(results["probing_heads_compare"]), work, Size(),
        )  # fmt: skip
    return sections


def _recipes(compared: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What validation chose for each head behind each encoder, on ESC-10 itself."""
    recipes: dict[str, dict[str, Any]] = {}
    for row in compared["table"]:
        recipes.setdefault(row["encoder"], {})[row["head"]] = row["trial"]
    return recipes


def _smoke(work: Path) -> Mapping[str, Section]:
    sections: dict[str, Section] = {
        "left_out": list,
        "memory": lambda: bench_memory.measure(5),
        "overhead": lambda: bench_overhead.measure(1),
        "chunks": lambda: bench_chunks.measure(_demo(), {}, 3, (4, 1)),
        "split": lambda: bench_split.measure(_demo(), 200),
        "classes": lambda: bench_classes.measure((10, 30), 1),
        "overlap": lambda: bench_overlap.measure(1, 1),
        "cold_start": lambda: bench_cold.measure({}, 1),
    }
    if SHARED.is_dir():
        counts: dict[Split, int] = {"train": 12, "validation": 8, "test": 8}
        sections["side_by_side"] = lambda: bench_side_by_side.measure(
            {probing_data.mixtures(SHARED, work, counts): 1},
            _demo(), {}, work, Size((0,), 4, 1),
        )  # fmt: skip
    return sections


def _keep(result: Mapping[str, Any]) -> None:
    import result_plots

    folder = RESULTS / slug()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['machine']['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    results = table.load(RESULTS)
    result_plots.write(results["machine"], folder)
    table.put_all(results)


if __name__ == "__main__":
    main()
