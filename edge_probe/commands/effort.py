"""``edge-probe effort``: listening effort by UTC hour, for an occupancy model."""

import argparse
import sys

from edge_probe.commands.state import add_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``effort``."""
    add_state(parser)


def run(args: argparse.Namespace) -> int:
    """Make effort.csv anew; its name goes to stdout, what a gate left out to stderr."""
    from edge_probe.analysis.tables import VERSION
    from edge_probe.clock import SystemClock
    from edge_probe.database import read
    from edge_probe.deployment.effort import write_effort
    from edge_probe.deployment.gated import gated
    from edge_probe.deployment.settings import adopted_id
    from edge_probe.deployment.state import StateFolder
    from edge_probe.lock import holder

    state = StateFolder(args.state)
    clock = SystemClock() if holder(state.path) is not None else None
    write_effort(state, adopted_id(state), clock)
    print(state.effort)
    if state.detections.exists():
        for counted in read(state.detections, lambda db: [*gated(db)], VERSION):
            print(counted, file=sys.stderr)
    return 0
