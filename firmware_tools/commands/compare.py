"""``edge-firmware compare``: an estimate beside what was measured, with the error."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``compare``."""
    parser.add_argument("estimate", type=Path, metavar="ESTIMATE.json")
    parser.add_argument("measured", type=Path, metavar="MEASURED.json")


def run(args: argparse.Namespace) -> int:
    """Print a line for every row."""
    from edge_probe.budget.figure import read_sheet
    from firmware_tools.comparison import lines

    estimate = read_sheet(args.estimate, "estimate")
    print("\n".join(lines(estimate, read_sheet(args.measured, "measured"))))
    return 0
