"""``edge-firmware slots``: which bundle is in use, on trial, refused."""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``slots``."""
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Show; nothing is changed."""
    from firmware_tools.layout import Layout
    from firmware_tools.slots.view import as_json, lines, look

    view = look(Layout())
    print(json.dumps(as_json(view), indent=1) if args.json else "\n".join(lines(view)))
    return 0
