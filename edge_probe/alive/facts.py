"""What the databases of a state folder tell without any word of the recorder itself."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_probe.alive.moment import moment_of
from edge_probe.alive.status import LastDetection
from edge_probe.analysis.tables import VERSION as DETECTIONS_VERSION
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.database import read

_SECONDS = "1.0 * n_frames / rate_hz"


@dataclass(frozen=True, slots=True)
class Facts:
    """Of all boots together."""

    n_boots: int
    stream: int | None
    """The newest one; None: none was ever opened."""
    device: str | None
    recorded_s: float
    gap_s: Mapping[str, float]
    """By cause; gaps whose length nobody knows yet are left out."""
    ended: str | None
    """Cause of the gap after the newest stream; None: it goes on, or ended without a word."""
    growing: str | None
    """Name of the segment that grows, or grew when the recorder went down."""
    clock_trust: str | None
    """Of the newest reading of the clock."""
    last_detection: LastDetection | None


def facts(state: Path) -> Facts:
    """What ``capture.sqlite`` and, if there is one, ``detections.sqlite`` tell.

    Sums go over all of it: not to be asked every few seconds.

    Raises
    ------
    StateError
        One of them cannot be read.
    """
    newest = last_detection(state)
    return read(state / "capture.sqlite", lambda capture: _facts(capture, newest), CAPTURE_VERSION)


def last_detection(state: Path) -> LastDetection | None:
    """The newest one that was not suppressed; None: there is none.

    It costs the same after a year: a recorder asks for it all the time.

    Raises
    ------
    StateError
        A database cannot be read.
    """
    detections = state / "detections.sqlite"
    newest = (
        read(detections, _newest_detection, DETECTIONS_VERSION) if detections.exists() else None
    )
    if newest is None:
        return None
    label, score, *place = newest
    moment = read(
        state / "capture.sqlite", lambda capture: moment_of(capture, *place), CAPTURE_VERSION
    )
    return LastDetection(label, score, moment.utc if moment else None)


def _newest_detection(detections: sqlite3.Connection) -> tuple[str, float, int, int] | None:
    found: tuple[str, float, int, int] | None = detections.execute(
        "SELECT label, score, stream, first_frame FROM detection"
        " WHERE NOT suppressed ORDER BY rowid DESC LIMIT 1"
    ).fetchone()
    return found


def _facts(capture: sqlite3.Connection, newest: LastDetection | None) -> Facts:
    def one(query: str, *values: object) -> Any:
        row = capture.execute(query, values).fetchone()
        return row[0] if row else None

    stream = one("SELECT max(stream) FROM stream")
    gap_s = capture.execute(
        f"SELECT cause, sum({_SECONDS}) FROM gap JOIN stream USING (stream)"
        " WHERE n_frames IS NOT NULL GROUP BY cause ORDER BY cause"
    ).fetchall()
    return Facts(
        n_boots=one("SELECT count(*) FROM boot"),
        stream=stream,
        device=one("SELECT device FROM stream WHERE stream = ?", stream),
        recorded_s=one(f"SELECT total({_SECONDS}) FROM segment JOIN stream USING (stream)"),
        gap_s=dict(gap_s),
        ended=one("SELECT cause FROM gap WHERE stream = ? AND n_frames IS NULL", stream),
        growing=one("SELECT name FROM segment WHERE stream = ? AND n_frames IS NULL", stream),
        clock_trust=one(
            "SELECT trust FROM clock_anchor WHERE trust <> 'manual'"
            " ORDER BY boot DESC, monotonic_ns DESC LIMIT 1"
        ),
        last_detection=newest,
    )
