"""``edge-probe status``: whether the recorder lives, and records."""

import argparse
import json

from edge_probe.commands.state import add_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``status``."""
    add_state(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--one-line", action="store_true", help="at most 160 characters, for SMS")
    form.add_argument("--json", action="store_true", help="one JSON object")
    parser.epilog = "exit code 0: it is recording; 1: it is not, and the first line says why"


def run(args: argparse.Namespace) -> int:
    """Look at the folder; 0 if all of it says that sound is being recorded."""
    from edge_probe.alive.page import as_dict, one_line, page
    from edge_probe.alive.report import look
    from edge_probe.clock import SystemClock

    report = look(args.state, SystemClock())
    if args.json:
        print(json.dumps(as_dict(report), ensure_ascii=False))
    else:
        print(one_line(report) if args.one_line else page(report).removesuffix("\n"))
    return 0 if report.trouble is None else 1
