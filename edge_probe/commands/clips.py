"""``edge-probe clips``: the best detections of every class to listen to and to look at."""

import argparse
import logging
from pathlib import Path

from edge_probe.arguments import number, whole

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``clips``."""
    parser.add_argument(
        "archive", type=Path, metavar="ARCHIVE", help="an archive, or a recorder's folder"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--bundle",
        metavar="ID",
        help="detections of this bundle only: its id, or digits of its hash",
    )
    parser.add_argument(
        "--per-class", type=whole(1), default=20, metavar="N",
        help="clips of a class at most, the best ones (default %(default)d)",
    )  # fmt: skip
    for name, words in (("before", "before"), ("after", "behind")):
        parser.add_argument(
            f"--{name}", type=number(0, 600), default=1.0, metavar="S",
            help=f"seconds {words} the box of the detection (default %(default)g)",
        )  # fmt: skip
    parser.add_argument(
        "--quota", type=number(0, 1e6), default=1.0, metavar="GB",
        help="of all clips and pictures together (default %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--floor", type=number(0, 1e6), default=1.0, metavar="GB",
        help="that stay free on the disk (default %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--flac", action="store_true", help="FLAC with NAME.guano beside it instead of WAV"
    )


def run(args: argparse.Namespace) -> int:
    """Write them; what was left out, and why, goes to stderr."""
    from edge_probe.desk.archive import open_archive
    from edge_probe.desk.clips import Plan, write_clips
    from edge_probe.desk.results.selection import Selection

    selection = Selection(open_archive(args.archive), args.bundle)
    plan = Plan(
        args.before, args.after, args.per_class, round(args.quota * 1e9), round(args.floor * 1e9),
        args.flac,
    )  # fmt: skip
    n_written = write_clips(selection, args.out, plan)
    for reason, count in sorted(selection.left_out.items()):
        _log.warning("left out: %d detections %s", count, reason)
    print(f"{args.out}: {n_written} clips")
    return 0
