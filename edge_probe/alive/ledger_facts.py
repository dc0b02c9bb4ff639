"""What the databases of a state folder tell without any word of the recorder itself."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_probe.alive.database import read
from edge_probe.alive.moment import utc_of
from edge_probe.alive.status import LastDetection


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """Of all boots together."""

    n_boots: int
    stream: int | None
    """The newest one; None: none was ever opened."""
    device: str | None
    recorded_s: float
    gap_s: Mapping[str, float]
    """By cause; gaps of unknown length are left out."""
    ended: str | None
    """Cause of the gap after the newest stream; None: it goes on, or ended without a word."""
    growing: str | None
    """Name of the segment that grows, or did when the recorder ended."""
    clock_trust: str | None
    """Of the newest reading of the clock."""


def ledger_facts(state: Path) -> LedgerFacts:
    """What ``capture.sqlite`` tells.

    Raises
    ------
    StateError
        It cannot be read.
    """
    return read(state / "capture.sqlite", _look)


def _look(db: sqlite3.Connection) -> LedgerFacts:
    def one(query: str, *values: object) -> tuple[object, ...] | None:
        row: tuple[object, ...] | None = db.execute(query, values).fetchone()
        return row

    stream, device = one("SELECT stream, device FROM stream ORDER BY stream DESC LIMIT 1") or (
        None, None,
    )  # fmt: skip
    (n_boots,) = one("SELECT count(*) FROM boot") or (0,)
    (recorded_s,) = one(f"SELECT total({_SECONDS}) FROM segment JOIN stream USING (stream)") or (0,)
    gap_s = db.execute(
        f"SELECT cause, sum({_SECONDS}) FROM gap JOIN stream USING (stream)"
        " WHERE n_frames IS NOT NULL GROUP BY cause ORDER BY cause"
    )
    ended = one("SELECT cause FROM gap WHERE stream = ? AND n_frames IS NULL", stream)
    growing = one("SELECT name FROM segment WHERE stream = ? AND n_frames IS NULL", stream)
    trust = one("SELECT trust FROM clock_anchor WHERE trust <> 'manual'"
                " ORDER BY boot DESC, monotonic_ns DESC LIMIT 1")  # fmt: skip
    return LedgerFacts(
        n_boots=n_boots, stream=stream, device=device, recorded_s=recorded_s,
        gap_s=dict(gap_s.fetchall()), ended=ended and ended[0], growing=growing and growing[0],
        clock_trust=trust and trust[0],
    )  # type: ignore[arg-type]  # fmt: skip
