"""``edge-firmware verify``: whether a bundle is whole, and who signed it."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle
    from edge_probe.bundle.trust import TrustedKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``verify``."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder, or a file NAME.epb")
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declare ``--trust``."""
    parser.add_argument(
        "--trust", type=Path, metavar="trust.json",
        help="trust store of another machine (default: that of this one)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Check all there is to check without running the encoder."""
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.transport import unpack_bundle

    trusted = trusted_by(args)
    if args.bundle.is_dir():
        print(describe(open_bundle(args.bundle, trusted=trusted)))
        return 0
    with TemporaryDirectory() as folder:
        print(describe(unpack_bundle(args.bundle, Path(folder) / "bundle", trusted=trusted)))
    return 0


def trusted_by(args: argparse.Namespace) -> "tuple[TrustedKey, ...]":
    """The keys of the store that was named, or of this machine."""
    from edge_probe.bundle.trust import read_store, trusted_here

    return trusted_here() if args.trust is None else read_store(args.trust)


def describe(bundle: "Bundle") -> str:
    """Which bundle it is, and who signed it."""
    release = f"release {bundle.manifest.release}" if bundle.manifest.release else "no release"
    return f"{bundle.id}, {release}, signed by the {bundle.signed_by.description}"
