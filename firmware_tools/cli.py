"""The ``edge-firmware`` command."""

import sys
from collections.abc import Sequence

from edge_probe.cli import run_program

COMMANDS = {
    "keygen": "make a pair of keys to sign bundles with",
    "ratchet": "from now on refuse bundles older than this one",
    "sign": "sign a bundle for devices, as one file to carry",
    "trust": "write the trust store of a device: primary and backup key",
    "unpack": "check a signed file and unpack the bundle in it",
    "verify": "check a bundle and say who signed it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-firmware`` and return its exit code."""
    return run_program(
        "edge-firmware",
        "Put a bundle and its runtime onto a small board.",
        "firmware_tools.commands",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )
