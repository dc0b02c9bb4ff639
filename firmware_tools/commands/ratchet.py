"""``edge-firmware ratchet``: never again anything older than this bundle."""

import argparse
from pathlib import Path

from firmware_tools.commands.verify import add_trust


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``ratchet``."""
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE",
        help="folder of the oldest bundle that this device may still have to run",
    )  # fmt: skip
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Raise the minimum of the key that signed the bundle."""
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.trust import STORE, raise_minimum, read_store

    store = args.trust or STORE
    bundle = open_bundle(args.bundle, trusted=read_store(store))
    key = raise_minimum(store, bundle.signed_by, bundle.manifest.release)
    print(f"{key.description}: release {key.min_release} or later")
    return 0
