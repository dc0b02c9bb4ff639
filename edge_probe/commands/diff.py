"""``edge-probe diff``: two bundles on the same audio."""

import argparse
import json
import logging
import sys
from contextlib import ExitStack
from pathlib import Path

from edge_probe.arguments import whole

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``diff``."""
    for name in ("A", "B"):
        parser.add_argument(f"bundle_{name.lower()}", type=Path, metavar=f"BUNDLE_{name}")
    parser.add_argument(
        "audio", nargs="+", type=Path, metavar="AUDIO",
        help="audio files; or one archive, or a recorder's folder",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR",
        help="a new folder: tables, scatter.png, and review.csv, what to listen to",
    )  # fmt: skip
    parser.add_argument(
        "--channel",
        type=whole(0),
        metavar="N",
        help="channel to use, counted from 0; never averaged",
    )
    parser.add_argument(
        "--per-class", type=whole(1), default=100, metavar="N",
        help="disagreements of a class in review.csv at most (default %(default)d)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Compare them; 1 if some audio could not be read."""
    from edge_probe.cli import report
    from edge_probe.commands.classify import load
    from edge_probe.desk.diff.compare import compare
    from edge_probe.desk.diff.figures import facts, lines, write_tables
    from edge_probe.desk.diff.sides import sides
    from edge_probe.desk.diff.stretches import open_source
    from edge_probe.desk.fresh import fresh_folder
    from edge_probe.desk.progress import Progress

    with ExitStack() as stack:
        folder = args.out and stack.enter_context(fresh_folder(args.out))
        both = sides(*(load(path, "low-memory") for path in (args.bundle_a, args.bundle_b)))
        source = open_source(args.audio, args.channel)
        progress = Progress(sys.stderr, "s", 1000)
        progress.total = round(1000 * source.seconds)
        progress.begin("heard")
        stack.callback(progress.end)
        found = compare(both, source, args.per_class, lambda s: progress.tick(round(1000 * s)))
        if folder is not None:
            from edge_probe.desk.diff.plot import scatter

            write_tables(found, folder)
            scatter(found, folder / "scatter.png")
    for error in found.problems:
        report(error)
    if found.n_short:
        _log.warning("left out: %d stretches without a window of both", found.n_short)
    if found.review.n_left_out and args.out is not None:
        _log.warning(
            "left out of review.csv: %d disagreements less far apart (--per-class)",
            found.review.n_left_out,
        )
    if args.json:
        print(json.dumps(facts(found), ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(lines(found)))
    return 1 if found.problems else 0
