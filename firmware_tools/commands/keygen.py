"""``edge-firmware keygen``: a pair of keys to sign bundles with."""

import argparse
import getpass
from pathlib import Path

from edge_probe.errors import EdgeProbeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``keygen``."""
    parser.add_argument("name", type=Path, metavar="NAME", help="writes NAME.key and NAME.pub")
    parser.add_argument(
        "--no-passphrase", action="store_true", help="do not encrypt NAME.key (for machines)"
    )


def run(args: argparse.Namespace) -> int:
    """Make the keys and print their id."""
    from firmware_tools.keys import PUBLIC_SUFFIX, SECRET_SUFFIX, make_keys

    found = make_keys(args.name, None if args.no_passphrase else _new_passphrase())
    print(f"key {found}")
    print(f"{args.name}{SECRET_SUFFIX}  keep it secret, and a copy of it elsewhere")
    print(f"{args.name}{PUBLIC_SUFFIX}  goes into the trust store of every device")
    return 0


def _new_passphrase() -> bytes:
    phrase = getpass.getpass("passphrase of the new key: ")
    if not phrase or phrase != getpass.getpass("the same again: "):
        raise EdgeProbeError(
            "the passphrase is empty, or was not the same twice",
            hint="try again, or say --no-passphrase",
        )
    return phrase.encode("utf-8")
