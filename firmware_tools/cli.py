"""The ``edge-firmware`` command."""

import os
import sys
from collections.abc import Sequence

from edge_probe.cli import run_program

COMMANDS = {
    "estimate": "what a bundle will cost a board: card, memory, time, writes",
    "compare": "an estimate beside what edge-probe bench measured",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-firmware`` and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run_program(
        "edge-firmware",
        "Get a bundle onto a board. Start with: edge-firmware estimate BUNDLE --profile BOARD",
        "firmware_tools.commands",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )
