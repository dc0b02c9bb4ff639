"""What a recorder has acknowledged by now, as JSON; to be run as its user, beside it."""

import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

STATE = Path(sys.argv[1])


def rows(name: str, query: str) -> list[Any]:
    """Committed rows; a transaction is visible to others when it is on the disk."""
    if not (STATE / name).exists():
        return []
    with closing(sqlite3.connect(f"file:{STATE / name}?mode=ro", uri=True, timeout=20)) as db:
        try:
            return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # its tables are being made
            return []


def growing() -> dict[str, int]:
    """Names of files that grow, and bytes before the first hole: as far as they were written."""
    found = {}
    for path in (STATE / "audio").glob("*.wav.part"):
        with path.open("rb") as file:
            is_empty = os.fstat(file.fileno()).st_size == 0
            found[path.name.removesuffix(".part")] = (
                0 if is_empty else os.lseek(file.fileno(), 0, os.SEEK_HOLE)
            )
    return found


said = {
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
}
print(json.dumps(said))
