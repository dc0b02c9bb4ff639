"""``edge-probe merge``: the shards of a folder, joined."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``merge``."""
    parser.add_argument(
        "shards", type=Path, nargs="+", metavar="SHARD", help="what classify --shard I/N has made"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder for all results"
    )


def run(args: argparse.Namespace) -> int:
    """Join them; they stay as they are."""
    from edge_probe.commands.classify_folder import tell
    from edge_probe.desk.survey.merge import merge

    return tell(args.out, merge(args.shards, args.out))
