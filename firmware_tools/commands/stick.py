"""``edge-firmware stick``: install the newest bundle of a USB stick, and leave a report there."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``stick``."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where the stick is mounted; looks for *.epb"
    )
    parser.epilog = "exit code 1: there was a newer bundle, and it could not be installed"


def run(args: argparse.Namespace) -> int:
    """Install, report; the trial's unit sees to the rest."""
    from edge_probe.clock import SystemClock
    from edge_probe.errors import EdgeProbeError
    from firmware_tools.layout import Layout
    from firmware_tools.slots import results, stick
    from firmware_tools.slots.service import Service

    layout, service = Layout(), Service()
    findings = stick.serve(args.folder, layout, service)
    for one in findings:
        release = "" if one.release is None else f", release {one.release}"
        print(f"{one.name}{release}: {one.result}{one.reason and ': '}{one.reason}")
    found = {one.result for one in findings}
    try:
        path = results.write(args.folder, results.results(layout, SystemClock(), findings))
        print(f"{path}: written")
    except (OSError, EdgeProbeError) as error:
        log.warning("no results on the stick: %s", error)
    if found & {stick.INSTALLED, stick.ON_TRIAL}:
        service.start_trial()
    return 1 if stick.FAILED in found else 0
