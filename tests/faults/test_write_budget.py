"""What goes to the card for a second of audio, and for what was found in it."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.conftest import count, needs
from support import ext4
from support.analysed_state import small_bundle
from support.made_results import batch
from support.numbered_source import VirtualClock

from edge_probe.analysis.store import Store as Detections
from edge_probe.analysis.worker import MAX_AT_ONCE
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.source.ring import Ring
from edge_probe.spec import WindowSpec

FORMAT = Format(48_000, 1, 2)
SEGMENT_S = 60
BLOCK = FORMAT.rate_hz // 10
PACE = 10
"""Virtual seconds in a real one; a system writes its own notes by real time."""

MOST = 1.1
"""Bytes written for a byte of audio."""

MOST_KIB = 20
"""For a commit of the classifier, detections and all; 4 KiB blocks, journal and checkpoints too."""

N_COMMITS_BEFORE, N_COMMITS = 300, 100


def test_the_card_is_written_little_more_than_the_audio(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    needs(*ext4.TOOLS)
    duration_s = count("budget_s")
    ext4.make(memory_folder / "image", 2 * duration_s * FORMAT.rate_hz * 2 >> 20)
    with ext4.Mount(memory_folder / "image", memory_folder / "disk") as disk:
        before = bytes_written(disk)
        record(disk / "state", duration_s)
        written = bytes_written(disk) - before
        audio = sum(path.stat().st_size for path in (disk / "state" / "audio").iterdir())
    results["write budget"] = {
        "audio_s": duration_s, "segment_s": SEGMENT_S, "bytes_per_audio_byte": written / audio
    }  # fmt: skip
    assert written / audio <= MOST


@pytest.mark.parametrize("n_chunks", [1, MAX_AT_ONCE])
def test_the_card_is_written_little_for_what_was_found(
    memory_folder: Path, n_chunks: int, results: dict[str, Any]
) -> None:
    """In the long run: before ``-wal`` has its size, its growth goes through the journal."""
    needs(*ext4.TOOLS)
    bundle = small_bundle(memory_folder / "bundle", WindowSpec(3, 2, 0.1))
    ext4.make(memory_folder / "image", 32)
    with ext4.Mount(memory_folder / "image", memory_folder / "disk") as disk:
        store = Detections(disk / "detections.sqlite", bundle)
        at = 0
        for _ in range(N_COMMITS_BEFORE):
            store.commit(*batch(at, n_chunks))
            at += n_chunks
        before = bytes_written(disk)
        for first_n in range(at, at + N_COMMITS * n_chunks, n_chunks):
            store.commit(*batch(first_n, n_chunks))
        kib = (bytes_written(disk) - before) / N_COMMITS / 1024
        store.close()
    results[f"commit of {n_chunks} chunks"] = {"kib": round(kib, 2)}
    assert kib <= MOST_KIB


def bytes_written(disk: Path) -> int:
    """To the device of a mounted file system, with all that waited for it.

    Statistics are in 512 bytes, whatever the device has (Documentation/block/stat.rst of Linux).
    """
    subprocess.run(["sync", "-f", disk], check=True)
    device = disk.stat().st_dev
    statistics = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return 512 * int(statistics.read_text(encoding="ascii").split()[6])


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
