"""``edge-firmware sign``: a bundle for devices, as one file to carry."""

import argparse
import getpass
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sign``."""
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="folder that edge-export wrote; stays as it is"
    )
    parser.add_argument("out", type=Path, metavar="OUT.epb", help="file to write")
    parser.add_argument("--key", type=Path, required=True, metavar="NAME.key")
    parser.add_argument(
        "--release",
        type=int,
        required=True,
        metavar="N",
        help="higher than that of every bundle these devices were given before",
    )


def run(args: argparse.Namespace) -> int:
    """Sign and print what was signed."""
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.transport import pack_bundle
    from edge_probe.bundle.trust import DEVELOPMENT, key_id
    from firmware_tools.keys import read_secret

    bundle = open_bundle(args.bundle, trusted=[DEVELOPMENT])
    key = read_secret(
        args.key, lambda: getpass.getpass(f"passphrase of {args.key}: ").encode("utf-8")
    )
    signed = pack_bundle(bundle, args.out, release=args.release, sign=key.sign)
    signed_by = key_id(key.public_key().public_bytes_raw())
    print(f"{args.out}: {signed}, release {args.release}, signed by key {signed_by}")
    return 0
