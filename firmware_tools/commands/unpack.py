"""``edge-firmware unpack``: from the file that was carried to a folder that can be used."""

import argparse
from pathlib import Path

from firmware_tools.commands.verify import add_trust, describe, trusted_by


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``unpack``."""
    parser.add_argument("source", type=Path, metavar="NAME.epb")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="does not exist yet")
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Unpack, and print what it is."""
    from edge_probe.bundle.transport import unpack_bundle

    print(describe(unpack_bundle(args.source, args.directory, trusted=trusted_by(args))))
    return 0
