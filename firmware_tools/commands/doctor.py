"""``edge-firmware doctor``: what this device says about itself, and what to do about it."""

import argparse
import json
import logging
import sys

from edge_probe.commands.state import add_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``doctor``."""
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.epilog = (
        "nothing is changed; as root it sees more. Exit code 0: it can work; 1: a line says fail"
    )


def run(args: argparse.Namespace) -> int:
    """Look, print, judge."""
    sys.dont_write_bytecode = True  # nothing is changed, not even beside our own modules
    if not args.debug:
        logging.getLogger().setLevel(logging.ERROR)  # what is not known is a line of its own
    from edge_probe import __version__
    from firmware_tools.doctor.examine import examine
    from firmware_tools.doctor.finding import exit_code
    from firmware_tools.doctor.host import Host

    entries = []
    for entry in examine(Host(args.state)):
        entries.append(entry)
        if not args.json:
            print(entry, flush=True)  # at once: should the board go down, the last line tells
    if args.json:
        found = [entry.to_json() for entry in entries]
        content = {"version": __version__, "state": str(args.state), "findings": found}
        print(json.dumps(content, indent=1, ensure_ascii=False))
    return exit_code(entries)
