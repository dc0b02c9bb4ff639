"""``edge-probe snapshot``: a copy of a state folder of one moment, while the recorder goes on."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``snapshot``."""
    parser.add_argument("state", type=Path, metavar="STATE", help="the recorder's folder")
    parser.add_argument(
        "target", type=Path, metavar="DEST",
        help="a new folder, or one that an earlier snapshot of this recorder made",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """What was copied; 1 if something is bad."""
    from edge_probe.commands.collect import told
    from edge_probe.desk.progress import Progress
    from edge_probe.desk.snapshot import check_room, check_source, needed_bytes, snapshot

    check_source(args.state, args.target)
    needed = needed_bytes(args.state, args.target)
    check_room(args.target, needed)
    progress = Progress(sys.stderr)
    progress.total = sum(needed.values())
    try:
        found = snapshot(args.state, args.target, progress)
    finally:
        progress.end()
    print(f"{args.target}: {told(found)}")
    return 1 if found.bad else 0
