"""A recorder that runs for virtual days and looks at itself every virtual hour.

A program of its own, so that what grows is its. Usage: soak.py FOLDER DAYS SEGMENT_S; it prints a
line of JSON for every hour.
"""

import json
import logging
import os
import random
import sqlite3
import sys
import threading
from pathlib import Path

from support.numbered_source import NumberedSource, VirtualClock

from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.source.ring import Ring

RATE = 100
BLOCK = 30 * RATE
FORMAT = Format(RATE, 1, 4)


def main(state: Path, days: int, segment_s: int) -> None:
    logging.disable()
    chance, clock = random.Random(days), VirtualClock()
    ring = Ring(66 * RATE, FORMAT.frame_bytes)
    source = NumberedSource(ring, clock, RATE, BLOCK)
    fails_until_ns = 0

    def open_store(remains: Remains) -> Store:
        if clock.now_ns < fails_until_ns:
            raise sqlite3.OperationalError("disk I/O error")
        return Store(state, clock, remains)

    writer = Writer(
        ring, FORMAT, "numbered", segment_s=segment_s, open_store=open_store, clock=clock
    )
    for hour in range(24 * days):
        for _ in range(3600 * RATE // BLOCK):
            source.deliver()
            writer.step()
        if hour % 6 == 3:
            source.lose(chance.randrange(RATE, 100 * RATE))
        if hour % 6 == 5:
            fails_until_ns = clock.now_ns + chance.randrange(100 * 10**9)
            writer._give_up()
        print(json.dumps({"frames": source.next_frame} | look(state)), flush=True)
    clock.now_ns = max(clock.now_ns, fails_until_ns) + 2 * 10**9
    assert writer.end("schedule")


def look(state: Path) -> dict[str, int]:
    """What must not grow."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    wal = state / "capture.sqlite-wal"
    return {
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "files": sum(1 for path in state.rglob("*") if path.suffix != ".wav"),
        "wal_kib": wal.stat().st_size // 1024 if wal.exists() else 0,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
