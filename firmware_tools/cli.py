"""The ``edge-firmware`` command."""

import os
import sys
from collections.abc import Sequence

from edge_probe.cli import run_program

COMMANDS = {
    "estimate": "what a bundle will cost a board: card, memory, time, writes",
    "compare": "an estimate beside what edge-probe bench measured",
    "doctor": "look at the device this runs on; each finding with what to do",
    "install": "put a signed bundle into the idle slot and on trial",
    "keygen": "make a pair of keys to sign bundles with",
    "ratchet": "from now on refuse bundles older than this one",
    "setup": "take over site files and the first bundle; a device does it at every boot",
    "sign": "sign a bundle for devices, as one file to carry",
    "slots": "which bundle is in use, on trial, refused",
    "stage": "all that a device needs, from runtime to settings, as one thing to carry",
    "stick": "install the newest bundle of a USB stick, and leave a report there",
    "trial": "go on with a trial until the bundle is confirmed or taken back",
    "trust": "write the trust store of a device: primary and backup key",
    "unpack": "check a signed file and unpack the bundle in it",
    "verify": "check a bundle and say who signed it",
}

DESCRIPTION = "Get a bundle onto a board. Start with: edge-firmware estimate BUNDLE --profile BOARD"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-firmware`` and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run_program(
        "edge-firmware",
        DESCRIPTION,
        "firmware_tools.commands",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )
