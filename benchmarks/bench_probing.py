r"""The probing benchmark: heads and precisions on twelve token maps, five seeds. Hours.

python benchmarks/bench_probing.py           the table of README and results/probing.json
python benchmarks/bench_probing.py --heads   all heads of the paper on ESC-10, one label a clip
python benchmarks/bench_probing.py --smoke   a small part of the first, for the tests

Interrupted, the same command goes on where it was. Needs the shared data folder.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import probing_data

from edge_probe.processes import available_cores
from export.card import EncoderCard
from export.compare.run import Plan, run
from export.compare.write import write_comparison
from export.heads import HEADS
from export.train import Recipe

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", HERE.parents[1] / "shared")) / "data"
MAIN_HEADS = ("linear-mean", "protobin", "protobin-offset")


def main() -> int:
    """Prepare, compare, keep the results."""
    parser = argparse.ArgumentParser(description="The probing benchmark.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--heads", action="store_true", help="all heads, on ESC-10")
    which.add_argument("--smoke", action="store_true", help="a small part, kept nowhere")
    parser.add_argument("--work", type=Path, default=Path("probing_work"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=available_cores())
    args = parser.parse_args()
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    cards = probing_data.encoders(SHARED, work)
    if args.smoke:
        counts = {"train": 32, "validation": 24, "test": 24}
        data = [probing_data.mixtures(SHARED, work, counts)]  # type: ignore[arg-type]
        return _compare(args, "smoke", {data[0]: 2}, cards[1:2], MAIN_HEADS)
    if args.heads:
        single = probing_data.esc10(SHARED, work)
        return _compare(args, "probing_heads", {single: 30}, cards, tuple(HEADS))
    songs, mixed = probing_data.koumura(SHARED, work), probing_data.mixtures(SHARED, work)
    return _compare(args, "probing", {mixed: 20, songs: 30}, cards, MAIN_HEADS)


def _compare(
    args: argparse.Namespace,
    name: str,
    epochs: dict[Path, int],
    cards: Sequence[EncoderCard],
    heads: Sequence[str],
) -> int:
    """Compare on each data set with its number of epochs."""
    out: Path = args.work / name
    rows = []
    for data, n_epochs in epochs.items():
        plan = Plan(
            [data], cards, heads, range(args.seeds), [20], Recipe(epochs=n_epochs), {},
            args.work / "cache", out / "work", args.workers,
        )  # fmt: skip
        rows += run(plan)
    print(write_comparison(rows, out))
    if not args.smoke:
        for path in (*out.glob("compare.*"), *out.glob("*.png")):
            shutil.copy(path, HERE / "results" / f"{name}_{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
