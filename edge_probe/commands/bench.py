"""``edge-probe bench``: what a bundle costs this machine, row by row as it was estimated."""

import argparse
import json
from pathlib import Path

from edge_probe.arguments import number
from edge_probe.commands.state import DEFAULT_STATE

DEFAULT_RATE_HZ = 48_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``bench``."""
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="default: the demo bundle"
    )
    parser.add_argument(
        "--rate", type=int, default=DEFAULT_RATE_HZ, metavar="HZ",
        help="of the microphone, which is made up (default %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--watch", type=number(1, 86_400), default=5.0, metavar="S",
        help="time to look at the recorder at work (default %(default)g); writes need 120 or more",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for edge-firmware compare")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    from edge_probe.budget.bench import bench
    from edge_probe.budget.figure import lines
    from edge_probe.commands.classify import DEMO_BUNDLE

    sheet = bench(args.bundle or DEMO_BUNDLE, DEFAULT_STATE, args.rate, args.watch)
    if args.json:
        print(json.dumps(sheet.to_json(), indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(sheet)))
    return 0
