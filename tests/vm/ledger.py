"""Whether a state folder that was copied out of the machine is whole, and holds what was said."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.numbered_source import stretches

from edge_probe.source.wav import HEADER_BYTES

SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a state folder says of itself, and what is wrong with it."""

    recorded_s: float
    gaps: list[tuple[int, int, float | None, str]]
    """Stream, first frame, seconds (None: of unknown length) and cause."""
    problems: list[str]


def read_ledger(state: Path) -> Ledger:
    """Look at every row and every file."""
    problems: list[str] = []
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        if (found := db.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            problems.append(f"capture.sqlite: {found}")
        streams = db.execute("SELECT stream, rate_hz FROM stream ORDER BY stream").fetchall()
        names = {name for (name,) in db.execute("SELECT name FROM segment")}
    if strangers := {path.name for path in (state / "audio").iterdir()} ^ names:
        problems.append(f"files without a row, or rows without a file: {sorted(strangers)}")
    recorded_s, gaps = 0.0, []
    for stream, rate_hz in streams:
        end = 0
        for first_frame, n_frames, cause, name in stretches(state, stream):
            if first_frame != end:
                problems.append(f"stream {stream}: hole or overlap at {end}")
            end = first_frame + (n_frames or 0)
            if cause is not None:
                seconds = None if n_frames is None else n_frames / rate_hz
                gaps.append((stream, first_frame, seconds, cause))
            elif n_frames is None:
                problems.append(f"{name}: still grows")
            else:
                recorded_s += n_frames / rate_hz
                path = state / "audio" / str(name)
                n_bytes = path.stat().st_size if path.exists() else 0
                if n_bytes != HEADER_BYTES + n_frames * SAMPLE_BYTES:
                    problems.append(f"{name}: {n_bytes} bytes for {n_frames} frames")
    return Ledger(recorded_s, gaps, problems)


def lost(said: Mapping[str, Any], state: Path) -> list[str]:
    """What was acknowledged before a fault and is not there after it.

    Parameters
    ----------
    said : mapping
        As `guest/look.py` printed it.
    state : Path
        State folder, copied out afterwards.
    """
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        rows = db.execute("SELECT stream, first_frame, n_frames FROM segment")
        segments = {(stream, first): n_frames for stream, first, n_frames in rows}
        rows = db.execute("SELECT stream, first_frame, n_frames, cause FROM gap")
        gaps = {(stream, first): (n_frames, cause) for stream, first, n_frames, cause in rows}
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        heard = set(db.execute(
            "SELECT detection, stream, run_frame, label, first_frame, n_frames, logit"
            " FROM detection"
        ))  # fmt: skip
    missing = []
    for stream, first_frame, n_frames, name in said["segments"]:
        acknowledged = n_frames
        if n_frames is None:
            n_bytes = said["growing"].get(name, 0)
            acknowledged = max(0, n_bytes - HEADER_BYTES) // SAMPLE_BYTES
        found = segments.get((stream, first_frame)) or 0
        if found < acknowledged:
            missing.append(f"{name}: {found} of {acknowledged} frames")
    for stream, first_frame, n_frames, cause in said["gaps"]:
        gap = gaps.get((stream, first_frame))
        if gap is None or gap[1] != cause or n_frames not in (None, gap[0]):
            missing.append(f"gap {stream}, {first_frame}: said {n_frames} {cause}, found {gap}")
    missing += [f"detection {row}" for row in said["detections"] if tuple(row) not in heard]
    return missing
