"""``edge-firmware trust``: the trust store of a device."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``trust``."""
    parser.add_argument("primary", type=Path, metavar="PRIMARY.pub")
    parser.add_argument(
        "backup", type=Path, metavar="BACKUP.pub", help="its secret half lies somewhere else"
    )
    parser.add_argument(
        "out", type=Path, metavar="trust.json", help="on the device: /etc/edge-probe/trust.json"
    )
    parser.add_argument(
        "--min-release", type=int, default=1, metavar="N",
        help="refuse older bundles from the start (default %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the store and print the ids of its keys."""
    from edge_probe.bundle.trust import ROLES, TrustedKey, write_store
    from firmware_tools.keys import read_public

    keys = [
        TrustedKey(role, read_public(path), args.min_release)
        for role, path in zip(ROLES, (args.primary, args.backup), strict=True)
    ]
    write_store(args.out, keys)
    for key in keys:
        print(f"{key.description}, release {key.min_release} or later")
    return 0
