"""Databases of one recorder that each know something the other lost, made one; every row once.

Needed only where a database was damaged or begun anew: of two sound copies the newer one holds all
of the older one.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge_probe.analysis import tables
from edge_probe.capture.ledger import Ledger
from edge_probe.capture.rebuild import adopt_files
from edge_probe.capture.recovery import Remains
from edge_probe.database import connect, transaction
from edge_probe.desk.copies import merge_log

_BUNDLES = (
    "INSERT OR IGNORE INTO bundle (sha256, id, chunk_s, window_chunks, hop_chunks)"
    " SELECT sha256, id, chunk_s, window_chunks, hop_chunks FROM other.bundle ORDER BY bundle",
    "CREATE TEMP TABLE same AS SELECT one.bundle AS theirs, main.bundle.bundle AS ours"
    " FROM other.bundle AS one JOIN main.bundle USING (sha256)",
    "INSERT OR IGNORE INTO label SELECT ours, class_index, label, threshold_on, threshold_off"
    " FROM other.label JOIN same ON bundle = theirs",
)
_HEARD = (
    "run_frame, n, channel, label, first_frame, n_frames, low_hz, high_hz, score, calibrated,"
    " logit, threshold, window_frame, span_frame, span_n_frames, suppressed, private"
)
_SAME_DETECTIONS = (
    f"INSERT OR IGNORE INTO detection (detection, bundle, stream, {_HEARD})"
    f" SELECT detection, ours, stream, {_HEARD} FROM other.detection JOIN same ON bundle = theirs"
)
_OTHER_DETECTIONS = (
    f"INSERT INTO detection (bundle, stream, {_HEARD})"
    f" SELECT ours, stream, {_HEARD} FROM other.detection AS one JOIN same ON bundle = theirs"
    " WHERE NOT EXISTS (SELECT 1 FROM main.chunk WHERE (bundle, stream, run_frame, n, channel)"
    " = (ours, one.stream, one.run_frame, one.n, one.channel) AND state != 'tried')"
    " ORDER BY detection"
)
_RESULTS = (
    "INSERT INTO chunk SELECT ours, stream, run_frame, n, channel, first_frame, n_frames, state,"
    " n_attempts, reason FROM other.chunk JOIN same ON bundle = theirs WHERE true"
    " ON CONFLICT DO UPDATE SET state = excluded.state, reason = excluded.reason"
    " WHERE state = 'tried' AND excluded.state != 'tried'",
    "INSERT OR IGNORE INTO score_cache SELECT ours, stream, run_frame, first_n, channel,"
    " first_frame, n_frames, score, best FROM other.score_cache JOIN same ON bundle = theirs",
)
_SCORES = (
    "INSERT OR IGNORE INTO chunk_scores SELECT ours, stream, run_frame, n, channel, steps, scores"
    " FROM other.chunk_scores JOIN same ON bundle = theirs"
)

_BOOTS = (
    "UPDATE boot SET kernel_id = (SELECT kernel_id FROM other.boot AS one WHERE one.boot ="
    " boot.boot) WHERE kernel_id GLOB 'unknown *' AND EXISTS (SELECT 1 FROM other.boot AS one"
    " WHERE one.boot = boot.boot AND one.kernel_id NOT IN (SELECT kernel_id FROM main.boot))",
    "INSERT OR IGNORE INTO boot SELECT * FROM other.boot",
)
_ADOPTED = "SELECT stream FROM main.stream WHERE device = 'unknown'"
_STREAMS = (
    f"DELETE FROM gap WHERE cause = 'power' AND stream IN ({_ADOPTED})"
    " AND stream IN (SELECT stream FROM other.stream)",
    "UPDATE segment SET began_ns = one.began_ns FROM other.segment AS one"
    " WHERE segment.began_ns = 0 AND (one.stream, one.first_frame, one.name)"
    " = (segment.stream, segment.first_frame, segment.name)",
    "UPDATE stream SET device = one.device, opened_ns = one.opened_ns, drift = one.drift"
    " FROM other.stream AS one WHERE stream.device = 'unknown' AND one.stream = stream.stream",
    "INSERT OR IGNORE INTO stream SELECT * FROM other.stream"
    " WHERE boot IN (SELECT boot FROM main.boot)",
)
_CLASH = (
    "EXISTS (SELECT 1 FROM main.{0} AS ours WHERE ours.stream = one.stream"
    " AND ours.first_frame < one.first_frame + max(one.n_frames, 1)"
    " AND (ours.n_frames IS NULL OR ours.first_frame + ours.n_frames > one.first_frame))"
)
_STRETCHES = tuple(
    f"INSERT OR IGNORE INTO {table} SELECT one.* FROM other.{table} AS one"
    " WHERE n_frames IS NOT NULL AND stream IN (SELECT stream FROM main.stream)"
    f" AND NOT {_CLASH.format('segment')} AND NOT {_CLASH.format('gap')}"
    for table in ("segment", "gap")
)
_NOTES = (
    "INSERT OR IGNORE INTO clock_anchor SELECT * FROM other.clock_anchor"
    " WHERE trust != 'manual' AND boot IN (SELECT boot FROM main.boot)",
    "INSERT OR IGNORE INTO health SELECT * FROM other.health"
    " WHERE boot IN (SELECT boot FROM main.boot)",
    "INSERT OR IGNORE INTO transcode SELECT * FROM other.transcode",
    "INSERT OR IGNORE INTO sample SELECT * FROM other.sample",
    "INSERT OR IGNORE INTO privacy SELECT * FROM other.privacy",
    "INSERT OR IGNORE INTO deletion (stream, first_frame, n_frames, name, n_bytes, reason, held,"
    " boot, monotonic_ns, utc_ns) SELECT stream, first_frame, n_frames, name, n_bytes, reason,"
    " held, boot, monotonic_ns, utc_ns FROM other.deletion ORDER BY deletion",
)
_BY_HAND = (
    "INSERT OR IGNORE INTO clock_anchor SELECT * FROM other.clock_anchor WHERE trust = 'manual'"
    " AND boot IN (SELECT boot FROM main.boot) AND boot NOT IN"
    " (SELECT boot FROM main.clock_anchor WHERE trust = 'manual')",
)


def add_detections(base: Path, other: Path) -> None:
    """Add what another ``detections.sqlite`` knows; numbers of rows that are there stay.

    Where both heard the same audio, what the base heard counts: a database that was begun anew
    hears some of it again.

    Parameters
    ----------
    base, other : Path
        Our own copies, without ``-wal``; the second is not changed.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    with _beside(base, other) as db:
        tables.bring_up_to_date(db, _version(db, "main"))
        ours, theirs = (db.execute(f"PRAGMA {one}.application_id").fetchone()
                        for one in ("main", "other"))  # fmt: skip
        detections = _SAME_DETECTIONS if ours == theirs else _OTHER_DETECTIONS
        for statement in (*_BUNDLES, detections, *_RESULTS):
            db.execute(statement)
        _add_scores(db)


def add_scores(base: Path, other: Path) -> None:
    """Add prototype scores that an older copy has: a recorder drops the oldest when it must.

    Parameters
    ----------
    base, other : Path
        As in `add_detections`.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    with _beside(base, other) as db:
        tables.bring_up_to_date(db, _version(db, "main"))
        for statement in _BUNDLES:
            db.execute(statement)
        _add_scores(db)


def _add_scores(db: sqlite3.Connection) -> None:
    if _version(db, "other") == tables.VERSION:  # older ones have none
        db.execute(_SCORES)


def _version(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}.user_version").fetchone()[0])


def add_ledger(base: Path, other: Path) -> None:
    """Add what another ``capture.sqlite`` knows and the base lost.

    Stretches of the other count where the base knows of none, or only called them lost with the
    ledger.

    Parameters
    ----------
    base, other : Path
        Our own copies, without ``-wal``; the second is not changed.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    with _beside(base, other) as db:
        for statement in (*_BOOTS, *_STREAMS, *_STRETCHES, *_NOTES, *_BY_HAND):
            db.execute(statement)


def add_times_by_hand(base: Path, other: Path) -> None:
    """Take over what `retime` did to another copy, in boots in which nobody did it here.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    with _beside(base, other) as db:
        for statement in _BY_HAND:
            db.execute(statement)


def mend_ledger(path: Path, audio: Path) -> int:
    """Let a ledger that lost rows make sense again, the way a recorder does it.

    Segments of which only the file is left get a row. What is in no stretch is a gap of the cause
    ``power``.

    Parameters
    ----------
    path : Path
        Our own copy.
    audio : Path
        Folder of the segments.

    Returns
    -------
    int
        Rows that were given up: nobody knows any more which stream or boot they are of.

    Raises
    ------
    sqlite3.Error, OSError
        The disk fails.
    """
    ledger = Ledger(path)
    db = ledger.connection
    try:
        db.execute("PRAGMA foreign_keys = OFF")
        with ledger.transaction():
            db.execute(
                "INSERT OR IGNORE INTO boot SELECT DISTINCT boot, 'unknown ' || boot FROM stream"
            )
            adopt_files(audio, ledger, Remains())
            n_lost = 0
            for table, key in _BELONGS:
                n_lost += db.execute(
                    f"DELETE FROM {table} WHERE {key} NOT IN (SELECT {key} FROM {key})"
                ).rowcount
            for (stream,) in db.execute("SELECT stream FROM stream ORDER BY stream").fetchall():
                _close_holes(ledger, stream)
    finally:
        ledger.close()
    merge_log(path)
    return n_lost


_BELONGS = (
    ("segment", "stream"), ("gap", "stream"), ("deletion", "stream"), ("transcode", "stream"),
    ("sample", "stream"), ("privacy", "stream"), ("clock_anchor", "boot"), ("health", "boot"),
)  # fmt: skip


def _close_holes(ledger: Ledger, stream: int) -> None:
    for first_frame, n_frames in ledger.holes(stream):
        ledger.put_gap(stream, first_frame, n_frames, "power")
    last = ledger.last_stretch(stream)
    if last is None or (last.cause is None and last.n_frames is not None):
        ledger.put_gap(stream, ledger.end_frame(stream), None, "power")


@contextmanager
def _beside(base: Path, other: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(base, isolation_level=None)) as db:
        db.execute("ATTACH ? AS other", (os.fsencode(other),))
        with transaction(db):
            yield db
