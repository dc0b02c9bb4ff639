"""A whole station whose microphone is a thread that counts: everything else in it is real.

``station.py STATE BUNDLE HANG_S BACKLOG_S``. When it was stopped, or the test is gone, it ends and
prints how many frames the microphone gave.
"""

import argparse
import logging
import os
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from support.sound import sound

from edge_probe import station
from edge_probe.alive import status
from edge_probe.analysis.supervise import Supervisor
from edge_probe.capture import recorder
from edge_probe.capture.recorder import Wanted
from edge_probe.clock import Clock, SystemClock
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.room import Limits
from edge_probe.disk.sample import Design
from edge_probe.health import monitor
from edge_probe.health.identity import Device
from edge_probe.interrupt import Interrupted
from edge_probe.lock import hold
from edge_probe.source.ring import Ring

RATE = 1000
SEGMENT_S = 2.0
BLOCK_S = 0.1

MINUTE_NS, EVERY_S = 5 * 10**9, 2.0
"""Of health and status: more often than in the field, so that a test sees what they need."""


class Microphone(threading.Thread):
    """Gives the blocks that are due by its clock; in place of `InputStream`."""

    def __init__(
        self, _device: dict[str, Any], ring: Ring, clock: Clock, *, rate_hz: int, **_format: int
    ) -> None:
        super().__init__(daemon=True)
        self.ring = ring
        self._clock = clock
        self._block = round(BLOCK_S * rate_hz)
        self._block_ns = round(BLOCK_S * 1e9)
        self._n_blocks = 0
        self._closed = threading.Event()
        self._began_ns = clock.monotonic_ns()
        self.start()

    def run(self) -> None:
        while not self._closed.wait(BLOCK_S):
            n_due = (self._clock.monotonic_ns() - self._began_ns) // self._block_ns
            while self._n_blocks < n_due:
                begin = self._n_blocks * self._block
                self._n_blocks += 1
                frames = sound(begin, begin + self._block)
                self.ring.push(frames.tobytes(), self._clock.monotonic_ns())

    def lost(self, _silent_s: float) -> None:
        """Never."""

    def close(self) -> None:
        self._closed.set()
        self.join()
        print(self._n_blocks * self._block, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("bundle", help="empty: record only")
    parser.add_argument("hang_s", type=float)
    parser.add_argument("backlog_s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    state = StateFolder(args.state)
    command = [sys.executable, "-m", "edge_probe", "run", str(args.state), "--only", "classify",
               "--bundle", args.bundle, "--backlog", args.backlog_s]  # fmt: skip
    orders = station.Orders(
        Wanted(None, RATE, 1, 4, SEGMENT_S), Limits("all", 2**40, 0), Design(0, SEGMENT_S, 0.1),
        flac=False, gain_db=None, private_margin_s=None,
        classifier=command if args.bundle else None, deployment_id=None,
    )  # fmt: skip
    test = os.getppid()
    chosen = Device(0, "numbered", 0, None), RATE
    supervisor = partial(Supervisor, hang_s=args.hang_s)
    with (
        mock.patch.multiple(
            recorder, choose=lambda _: chosen, InputStream=Microphone, rescan=lambda: None
        ),
        mock.patch.object(station, "Supervisor", supervisor),
        mock.patch.object(monitor, "MINUTE_NS", MINUTE_NS),
        mock.patch.object(status, "EVERY_S", EVERY_S),
        hold(args.state), Interrupted() as interrupted,
    ):  # fmt: skip
        station.Station(state, orders, SystemClock()).run(
            lambda: interrupted() or os.getppid() != test
        )


if __name__ == "__main__":
    main()
