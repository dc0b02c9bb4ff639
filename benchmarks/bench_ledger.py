"""What capture.sqlite weighs after so many days, and what it costs to open it and go on.

``bench_ledger.py 30 365``: one microphone, 48 kHz, 16 bits, mono, files of 60 s, rows of health as
the recorder itself makes them on this machine.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from machine import machine

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format, Place
from edge_probe.capture.store import Store
from edge_probe.clock import SystemClock
from edge_probe.health.board import Board
from edge_probe.health.row import Row
from edge_probe.health.signal import Signal
from edge_probe.measure import rss_mib

FORMAT = Format(48_000, 1, 2)
SEGMENT_S = 60
DAY_S = 86_400


def measure(days: int) -> dict[str, Any]:
    """Make a ledger of so many days and open it."""
    with TemporaryDirectory(prefix="edge-probe-") as folder:
        state = Path(folder)
        (state / "audio").mkdir()
        rows = _minute(state)
        _make(state / "capture.sqlite", days, rows)
        before_mib = rss_mib() or 0.0
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        store = Store(state, SystemClock())
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        sizes = dict(store._ledger.connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat WHERE name IN ('segment', 'health',"
            " 'clock_anchor', 'sqlite_autoindex_segment_1') GROUP BY name"
        ))  # fmt: skip
        store.close()
        return {
            "days": days,
            "segments": days * DAY_S // SEGMENT_S,
            "health_rows_a_minute": len(rows),
            "bytes": (state / "capture.sqlite").stat().st_size,
            "bytes_by_table": sizes,
            "open_cpu_s": cpu_s,
            "open_wall_s": wall_s,
            "rss_growth_mib": (rss_mib() or 0.0) - before_mib,
        }


def _minute(state: Path) -> list[Row]:
    signal = Signal(FORMAT, SystemClock())
    noise = np.random.default_rng(0).normal(0, 300, 60 * FORMAT.rate_hz).astype("<i2")
    for second in noise.reshape(60, -1):
        signal.feed(second.tobytes())
    return [*signal.minute(0)[0], *Board(state).look(0)[0]]


def _make(path: Path, days: int, rows: list[Row]) -> None:
    ledger = Ledger(path)
    ledger.connection.execute("PRAGMA synchronous = OFF")
    boot = ledger.boot("bench")
    n_frames = SEGMENT_S * FORMAT.rate_hz
    stream = ledger.add_stream(boot, "usb:0d8c:0014", FORMAT, 10**9)
    for day in range(days):
        with ledger.transaction():
            for at_s in range(day * DAY_S, (day + 1) * DAY_S, SEGMENT_S):
                place = Place(boot, stream, at_s * FORMAT.rate_hz)
                at_ns = 10**9 * (at_s + 1)
                ledger.begin_segment(place, at_ns, place.file_name("20261124T173000Z"))
                ledger.close_segment(place, n_frames)
                ledger.add_anchor(boot, at_ns, 1_764_000_000 * 10**9 + at_ns, "ntp")
                ledger.add_health(boot, (replace(row, monotonic_ns=at_ns) for row in rows))
    ledger.put_gap(stream, days * DAY_S * FORMAT.rate_hz, None, "schedule")
    ledger.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("days", type=int, nargs="+")
    found = [measure(days) for days in parser.parse_args().days]
    print(json.dumps({"machine": machine(), "rows": found}, indent=1))
