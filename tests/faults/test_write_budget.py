"""What goes to the card for a second of audio."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from faults.conftest import count, needs
from support import ext4
from support.numbered_source import VirtualClock

from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.source.ring import Ring

FORMAT = Format(48_000, 1, 2)
SEGMENT_S = 60
BLOCK = FORMAT.rate_hz // 10
PACE = 10
"""Virtual seconds in a real one; a system writes its own notes by real time."""

MOST = 1.1
"""Bytes written for a byte of audio."""


def test_the_card_is_written_little_more_than_the_audio(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    needs(*ext4.TOOLS)
    duration_s = count("budget_s")
    ext4.make(memory_folder / "image", 2 * duration_s * FORMAT.rate_hz * 2 >> 20)
    with ext4.Mount(memory_folder / "image", memory_folder / "disk") as disk:
        statistics = Path(f"/sys/dev/block/{os.major(disk.stat().st_dev)}:"
                          f"{os.minor(disk.stat().st_dev)}/stat")  # fmt: skip
        subprocess.run(["sync", "-f", disk], check=True)
        before = sectors_written(statistics)
        record(disk / "state", duration_s)
        subprocess.run(["sync", "-f", disk], check=True)
        written = 512 * (sectors_written(statistics) - before)
        audio = sum(path.stat().st_size for path in (disk / "state" / "audio").iterdir())
    results["write budget"] = {
        "audio_s": duration_s, "segment_s": SEGMENT_S, "bytes_per_audio_byte": written / audio
    }  # fmt: skip
    assert written / audio <= MOST


def sectors_written(statistics: Path) -> int:
    """Of 512 bytes, whatever the device has (Documentation/block/stat.rst of Linux)."""
    return int(statistics.read_text(encoding="ascii").split()[6])


def record(state: Path, duration_s: int) -> None:
    clock = VirtualClock()
    ring = Ring(33 * FORMAT.rate_hz, FORMAT.frame_bytes)
    writer = Writer(
        ring, FORMAT, "noise", segment_s=SEGMENT_S, clock=clock,
        open_store=lambda safe: Store(state, clock, safe),
    )  # fmt: skip
    noise = np.random.default_rng(0)
    began = time.monotonic()
    for number in range(duration_s * FORMAT.rate_hz // BLOCK):
        clock.now_ns += 10**9 * BLOCK // FORMAT.rate_hz
        ring.push(noise.integers(-99, 99, BLOCK, np.int16).tobytes(), clock.now_ns)
        writer.step()
        due = began + number * BLOCK / FORMAT.rate_hz / PACE
        time.sleep(max(0.0, due - time.monotonic()))
    assert writer.end("schedule")
