"""What a recorder has acknowledged by now, as JSON; to be run as its user, beside it."""

import json
import os
import sqlite3
import sys
import time
from contextlib import closing

STATE = sys.argv[1]


def rows(name: str, query: str) -> list:
    """Committed rows; a transaction is visible to others when it is on the disk."""
    if not os.path.exists(f"{STATE}/{name}"):
        return []
    with closing(sqlite3.connect(f"file:{STATE}/{name}?mode=ro", uri=True, timeout=20)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are being made
            return []


def growing() -> dict:
    """Frames of files that grow, as far as they were written: name to bytes before the first hole."""
    found = {}
    for entry in os.scandir(f"{STATE}/audio"):
        if entry.name.endswith(".wav.part"):
            with open(entry.path, "rb") as file:
                end = os.lseek(file.fileno(), 0, os.SEEK_HOLE) if os.path.getsize(entry.path) else 0
                found[entry.name.removesuffix(".part")] = end
    return found


print(json.dumps({
    "monotonic_s": time.monotonic(),
    "growing": growing(),
    "streams": rows("capture.sqlite", "SELECT stream, boot, rate_hz FROM stream"),
    "segments": rows("capture.sqlite", "SELECT stream, first_frame, n_frames, name FROM segment"),
    "gaps": rows("capture.sqlite", "SELECT stream, first_frame, n_frames, cause FROM gap"),
    "chunks": rows("detections.sqlite", "SELECT state, count(*) FROM chunk GROUP BY state"),
    "detections": rows(
        "detections.sqlite",
        "SELECT detection, stream, run_frame, label, first_frame, n_frames, logit FROM detection",
    ),
}))
