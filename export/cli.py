"""The ``edge-export`` command."""

import io
import sys
from collections.abc import Sequence

from edge_probe.cli import run_program

COMMANDS = {
    "fit": "teach a head from labelled clips and write a signed bundle",
    "encoder": "frozen encoders: cut, quantised, made small, and proven to lose nothing",
    "bundle": "a finished bundle as one ONNX file, for any ONNX runtime",
    "import": "a head that was trained elsewhere, as a signed bundle",
    "refit": "learn from corrections: a better linear layer, without any audio",
    "compare": "heads, precisions and encoders on the same clips: tables and plots",
    "tune": "search for the best training of heads, by as many processes as you start",
    "tokens": "encode clips into the token cache",
    "diagnose": "report on a bundle's prototypes, and show why it detected a sound",
    "parity": "compare torch, packed kernels and onnxruntime, stage by stage",
}

DESCRIPTION = "Teach a head from clips; export it for a small board."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-export`` and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # labels are UTF-8 in any locale
    return run_program(
        "edge-export",
        DESCRIPTION,
        "export.commands",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )
