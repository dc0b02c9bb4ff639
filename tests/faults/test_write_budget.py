"""What goes to the card for a second of audio, and for what was found in it."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import count, needs
from support import ext4
from support.analysed_state import small_bundle
from support.made_results import batch
from support.paced_station import PacedStation, Parts

from edge_probe.analysis.rows import Piece, Result, Try
from edge_probe.analysis.selection import BLOCK_CHUNKS
from edge_probe.analysis.store import Store as Detections
from edge_probe.analysis.worker import MAX_AT_ONCE
from edge_probe.capture.segment import Format
from edge_probe.spec import WindowSpec

FORMAT = Format(48_000, 1, 2)
SEGMENT_S = 60
CHUNK_S = 3
START_S = 2 * SEGMENT_S
"""Until both logs of SQLite have their size, and the first segment was classified."""

MOST = 1.1
"""Bytes written for a byte of audio."""

MOST_KIB = 20
"""For a commit of the classifier, detections and all; 4 KiB blocks, journal and checkpoints too."""

STATION = 1.083
"""Of `MOST`, what capture and classifier write but scores (`benchmarks/results/faults.json`)."""

N_COMMITS_BEFORE, N_COMMITS = 100, 200

MONTHS = 6 * 30 * 24 * 3600
"""Seconds after which numbers are as long as SQLite will ever store them."""


@pytest.mark.parametrize("parts", ["capture", "station"])
def test_the_card_is_written_little_more_than_the_audio(
    memory_folder: Path, parts: Parts, results: dict[str, Any]
) -> None:
    """At a pace of 1 it is more: ext4 writes some notes of its own by the clock."""
    needs(*ext4.TOOLS)
    duration_s, pace = count("budget_s"), count("budget_pace")
    second = FORMAT.rate_hz * FORMAT.frame_bytes
    ext4.make(memory_folder / "image", 2 * (START_S + duration_s) * second >> 20)
    with ext4.Mount(memory_folder / "image", memory_folder / "disk") as disk:
        station = PacedStation(disk / "state", FORMAT, SEGMENT_S, pace, parts)
        mounted = bytes_written(disk)
        station.run(START_S)
        begun = bytes_written(disk)
        station.run(duration_s)
        written = bytes_written(disk) - begun
        n_detections = station.end()
    ratio = written / (duration_s * second)
    results[f"write budget of {parts}"] = {
        "audio_s": duration_s,
        "pace": pace,
        "segment_s": SEGMENT_S,
        "bytes_per_audio_byte": round(ratio, 4),
        "start_kib": (begun - mounted - START_S * second) >> 10,
        "detections": n_detections,
    }
    assert (n_detections > 0) == (parts == "station")
    assert 1 < ratio <= MOST


@pytest.mark.parametrize("n_chunks", [1, MAX_AT_ONCE])
def test_the_card_is_written_little_for_what_was_found(
    memory_folder: Path, n_chunks: int, results: dict[str, Any]
) -> None:
    kib = kib_of_a_commit(memory_folder, n_chunks, 0)
    results[f"commit of {n_chunks} chunks"] = {"kib": round(kib, 2)}
    assert kib <= MOST_KIB


def test_the_card_is_written_little_for_scores_that_are_kept(
    memory_folder: Path, results: dict[str, Any]
) -> None:
    """Of every chunk, as many as a block may have: what a recorder writes has room for that."""
    second = FORMAT.rate_hz * FORMAT.frame_bytes
    n_scores = CHUNK_S * second // BLOCK_CHUNKS // 2
    with_scores = kib_of_a_commit(memory_folder / "with", MAX_AT_ONCE, n_scores)
    without = kib_of_a_commit(memory_folder / "without", MAX_AT_ONCE, 0)
    share = 1024 * (with_scores - without) / (MAX_AT_ONCE * CHUNK_S * second)
    results["scores of every chunk"] = {
        "prototypes": n_scores,
        "kib": round(with_scores - without, 2),
        "bytes_per_audio_byte": round(share, 4),
    }
    assert 0 < share <= MOST - STATION


def kib_of_a_commit(folder: Path, n_chunks: int, n_scores: int) -> float:
    """Mean of what reaches the card, of a database months old."""
    needs(*ext4.TOOLS)
    folder.mkdir(exist_ok=True)
    bundle = small_bundle(folder / "bundle", WindowSpec(3, 2, 0.1))
    ext4.make(folder / "image", 32)
    with ext4.Mount(folder / "image", folder / "disk") as disk:
        store = Detections(disk / "detections.sqlite", bundle)
        at = 0
        for _ in range(N_COMMITS_BEFORE):
            store.commit(*after_months(*batch(at, n_chunks, n_scores)))
            at += n_chunks
        before = bytes_written(disk)
        for first_n in range(at, at + N_COMMITS * n_chunks, n_chunks):
            store.commit(*after_months(*batch(first_n, n_chunks, n_scores)))
        kib = (bytes_written(disk) - before) / N_COMMITS / 1024
        store.close()
    return kib


def after_months(
    results: Sequence[Result], tries: Sequence[Try]
) -> tuple[Sequence[Result], Sequence[Try]]:
    """The same with the numbers of a run that is months old: SQLite stores them as they need."""
    run_frame = MONTHS * FORMAT.rate_hz

    def piece(one: Piece) -> Piece:
        key, n_frames = one.key, CHUNK_S * FORMAT.rate_hz
        return Piece(key._replace(run_frame=run_frame), run_frame + key.n * n_frames, n_frames)

    def later(result: Result) -> Result:
        at = piece(result.piece)
        end = at.first_frame + at.n_frames
        return replace(
            result, piece=at,
            windows=tuple(replace(w, first_frame=at.first_frame, n_frames=at.n_frames)
                          for w in result.windows),
            detections=tuple(replace(d, first_frame=end, window_frame=end, span_frame=end)
                             for d in result.detections),
        )  # fmt: skip

    return [later(one) for one in results], [replace(t, piece=piece(t.piece)) for t in tries]


def bytes_written(disk: Path) -> int:
    """To the device of a mounted file system, with all that waited for it.

    Statistics are in 512 bytes, whatever the device has (Documentation/block/stat.rst of Linux).
    """
    subprocess.run(["sync", "-f", disk], check=True)
    device = disk.stat().st_dev
    statistics = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    return 512 * int(statistics.read_text(encoding="ascii").split()[6])
