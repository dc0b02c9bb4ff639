"""``edge-probe retime``: put the wall time of a finished deployment right."""

import argparse
import sqlite3
from contextlib import nullcontext

from edge_probe.commands.state import add_state
from edge_probe.errors import EdgeProbeError

MAX_OFFSET_S = 1e10
"""More than from 1970 to anybody's deployment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``retime``."""
    add_state(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--offset",
        type=float,
        metavar="SECONDS",
        help="true time minus the recorder's, when it was collected",
    )
    how.add_argument(
        "--anchor",
        action="append",
        metavar="PLACE=UTC",
        help="a moment that is known: FILE=UTC, FILE+SECONDS=UTC or STREAM:FRAME=UTC;"
        " a second one in the same boot corrects the rate as well",
    )
    parser.add_argument(
        "--boot",
        type=int,
        action="append",
        metavar="N",
        default=[],
        help="with --offset: this boot; default: all whose clock was not set by network or GPS",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")


def run(args: argparse.Namespace) -> int:
    """Show what changes, by boot, and change it."""
    from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
    from edge_probe.database import read
    from edge_probe.deployment import retime
    from edge_probe.deployment.effort import write_effort
    from edge_probe.deployment.settings import adopted_id
    from edge_probe.deployment.state import StateFolder
    from edge_probe.lock import hold

    if args.anchor and args.boot:
        raise EdgeProbeError(
            "--boot goes with --offset only", hint="an anchor says by itself which boot it is in"
        )
    if args.offset is not None and not abs(args.offset) < MAX_OFFSET_S:
        raise EdgeProbeError(
            f"--offset: expected less than {MAX_OFFSET_S:.0e} s, found {args.offset}",
            hint="the offset is true time minus the recorder's, in seconds",
        )

    def look(capture: sqlite3.Connection) -> "tuple[retime.New, list[retime.Change]]":
        if args.anchor:
            new = retime.by_moments(capture, args.anchor)
        else:
            new = retime.by_offset(capture, args.offset, args.boot)
        return new, [*retime.changes(capture, new)]

    state = StateFolder(args.state)
    with nullcontext() if args.dry_run or not state.capture.exists() else hold(state.path):
        new, changes = read(state.capture, look, CAPTURE_VERSION)
        for change in changes:
            print(change)
        if not args.dry_run:
            retime.apply(state.capture, new)
            if state.effort.exists():
                write_effort(state, adopted_id(state), None)
    return 0
