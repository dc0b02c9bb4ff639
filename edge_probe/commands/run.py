"""``edge-probe run``: the recorder, to be left in a forest."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``run``."""
    parser.add_argument("state", type=Path, metavar="STATE", help="folder for all that is kept")
    parser.add_argument("--device", metavar="NAME", help="name, part of it, or number")
    parser.add_argument("--rate", type=int, metavar="HZ", help="default: the device's own rate")
    parser.add_argument("--channels", type=int, default=1, help="channels to record (default 1)")
    parser.add_argument("--bits", type=int, choices=(16, 24, 32), default=16, help="(default 16)")
    parser.add_argument(
        "--segment", type=float, default=60.0, metavar="S", help="length of a file (default 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Record until SIGTERM or Ctrl-C."""
    from edge_probe.capture.recorder import Recorder, Wanted
    from edge_probe.clock import SystemClock
    from edge_probe.interrupt import Interrupted

    wanted = Wanted(args.device, args.rate, args.channels, args.bits // 8, args.segment)
    args.state.mkdir(parents=True, exist_ok=True)
    with Interrupted() as interrupted:
        Recorder(args.state, wanted, SystemClock()).run(interrupted)
    return 0
