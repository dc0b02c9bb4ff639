"""What recorder and classifier tell of themselves; only read."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_probe.alive.report import STALE_S
from edge_probe.alive.status import read_status
from edge_probe.analysis.tables import VERSION as DETECTIONS_VERSION
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.clock import Clock
from edge_probe.commands.bench import DEFAULT_RATE_HZ
from edge_probe.database import read
from edge_probe.errors import StateError

Found = TypeVar("Found")

CAPTURE, DETECTIONS = "capture.sqlite", "detections.sqlite"

_VERSIONS = {CAPTURE: CAPTURE_VERSION, DETECTIONS: DETECTIONS_VERSION}
"""Newest ``user_version`` that is understood here."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a bundle has done since it is on duty."""

    classified_s: float = 0.0
    """Audio of the first channel in chunks that are done, or that the gate found too quiet: where
    hardly anything is heard, a bundle proves as well that it keeps up."""
    n_quarantined: int = 0
    """Chunks that killed the classifier again and again."""


def recorded_s(state: Path, clock: Clock) -> float | None:
    """Seconds that the recorder has recorded since it began; None: it does not say so just now.

    Parameters
    ----------
    state : Path
    clock : Clock
    """
    try:
        written = read_status(state)
    except (StateError, OSError):
        return None
    age_s = written.age_s(clock) if written else None
    is_fresh = age_s is not None and age_s <= STALE_S
    return written.status.recorded_s if written and is_fresh else None


def rate_hz(state: Path) -> int:
    """Of the newest microphone; without one, a usual one."""
    newest = "SELECT rate_hz FROM stream ORDER BY stream DESC LIMIT 1"
    found = _one(state / CAPTURE, newest)
    return found if isinstance(found, int) else DEFAULT_RATE_HZ


def on_duty(state: Path) -> str | None:
    """sha256 of the manifest of the bundle that a classifier opened last; None: not known."""
    newest = "SELECT sha256 FROM bundle JOIN duty USING (bundle) ORDER BY duty DESC LIMIT 1"
    found = _one(state / DETECTIONS, newest)
    return None if found is None else str(found)


def heard(state: Path, sha256: str) -> Heard:
    """What a bundle has done since it is on duty; nothing if another one is.

    Parameters
    ----------
    state : Path
    sha256 : str
        Of the bundle's manifest.
    """

    def look(db: sqlite3.Connection) -> Heard:
        duty = db.execute(
            "SELECT bundle, sha256, chunk_s, stream, run_frame, first_frame"
            " FROM duty JOIN bundle USING (bundle) ORDER BY duty DESC LIMIT 1"
        ).fetchone()
        if duty is None or duty[1] != sha256:
            return Heard()
        bundle, _, chunk_s, *place = duty
        n_done, n_quarantined = db.execute(
            "SELECT count(*) FILTER (WHERE (state = 'done' OR reason = 'gated') AND channel = 0),"
            " count(*) FILTER (WHERE state = 'quarantined') FROM chunk"
            " WHERE bundle = ? AND (stream, run_frame) >= (?, ?)"
            " AND (stream, first_frame) >= (?, ?)",
            (bundle, place[0], place[1], place[0], place[2]),
        ).fetchone()
        return Heard(n_done * chunk_s, n_quarantined)

    return _look(state / DETECTIONS, look) or Heard()


def _one(path: Path, query: str) -> object:
    def look(db: sqlite3.Connection) -> object:
        found = db.execute(query).fetchone()
        return found[0] if found else None

    return _look(path, look)


def _look(path: Path, look: Callable[[sqlite3.Connection], Found]) -> Found | None:
    """None where there is nothing, or nothing that can be read now: its writer mends it or not."""
    try:
        return read(path, look, _VERSIONS[path.name])
    except (StateError, OSError):
        return None
