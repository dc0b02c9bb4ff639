"""``edge-probe report``: a page to look at an archive, to listen to it, and to correct it."""

import argparse
import logging
import sys
from pathlib import Path

from edge_probe.arguments import number, whole

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``report``."""
    parser.add_argument(
        "archive", type=Path, metavar="ARCHIVE", help="an archive, or a recorder's folder"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR",
        help="a new folder; open index.html in it",
    )  # fmt: skip
    parser.add_argument(
        "--per-class", type=whole(1), default=5, metavar="N",
        help="detections of a class to listen to: the N best, the N rarest, N at random"
        " (default %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--windows", type=whole(1), default=100, metavar="N",
        help="windows to listen to of the recorder's random sample, and as many of the stratified"
        " one (default %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--quota", type=number(0), default=1.0, metavar="GB",
        help="of sound and pictures together (default %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--one-file", action="store_true",
        help="sound and pictures inside the page: one file, to be sent to a phone",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N",
        help="another one chooses others at random (default %(default)d)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Make it; what was left out, and why, goes to stderr."""
    from edge_probe.desk.archive import open_archive
    from edge_probe.desk.report.items import Plan
    from edge_probe.desk.report.report import write_report
    from edge_probe.desk.results.selection import Selection

    selection = Selection(open_archive(args.archive))
    plan = Plan(
        args.per_class, args.windows, round(args.quota * 1e9), args.seed, inside=args.one_file
    )
    made = write_report(selection, args.out, plan, sys.stderr)
    for reason, count in sorted(made.left_out.items()):
        _log.warning("left out: %d %s", count, reason)
    print(
        f"{made.page}: {made.n_detections} detections, {made.n_clips} to listen to;"
        f" page {made.page_bytes / 1e6:.1f} MB"
    )
    return 0
