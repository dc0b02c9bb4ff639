"""``edge-probe results``: detections in the formats that other programs read."""

import argparse
import logging
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError

if TYPE_CHECKING:
    from edge_probe.desk.results.selection import Selection

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``results``."""
    from edge_probe.desk.results import FORMATS

    parser.add_argument(
        "archive", type=Path, metavar="ARCHIVE",
        help="an archive, a recorder's folder, or what classify made of a folder",
    )  # fmt: skip
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="F", help="see below")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="PATH",
        help="new file, or folder where the format is one; default for texts: stdout",
    )  # fmt: skip
    parser.add_argument(
        "--bundle",
        metavar="ID",
        help="detections of this bundle only: its id, or digits of its hash",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "formats:\n" + "\n".join(
        f"  {name:<13} {format_.form.value + ':':<7} {format_.about}"
        for name, format_ in FORMATS.items()
    )


def run(args: argparse.Namespace) -> int:
    """Write them; what was left out, and why, goes to stderr."""
    from edge_probe.desk.results import FORMATS, Form, write_results
    from edge_probe.desk.results.selection import Selection
    from edge_probe.desk.told import open_results

    selection = Selection(open_results(args.archive), args.bundle)
    if args.out is not None:
        write_results(args.format, selection, args.out)
        print(args.out)
    elif FORMATS[args.format].form is Form.TEXT:
        _print(args.format, selection)
    else:
        raise EdgeProbeError(
            f"--format {args.format} is a {FORMATS[args.format].form.value}, no text",
            hint="say where it goes with --out",
        )
    for reason, count in sorted(selection.left_out.items()):
        _log.warning("left out: %d detections %s", count, reason)
    return 0


def _print(name: str, selection: "Selection") -> None:
    """To stdout, and nothing of it if it fails on the way."""
    from edge_probe.desk.results import FORMATS

    with TemporaryFile("w+", encoding="utf-8", newline="") as spool:
        FORMATS[name].write(selection, spool)
        spool.seek(0)
        shutil.copyfileobj(spool, sys.stdout)
