"""The tables of detections.sqlite (`SCHEMA.md` is normative)."""

import sqlite3

VERSION = 2

TABLES = """
CREATE TABLE bundle (
    bundle INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    id TEXT NOT NULL,
    chunk_s REAL NOT NULL,
    window_chunks INTEGER NOT NULL,
    hop_chunks INTEGER NOT NULL
) STRICT;
CREATE TABLE label (
    bundle INTEGER NOT NULL REFERENCES bundle,
    class_index INTEGER NOT NULL,
    label TEXT NOT NULL,
    threshold_on REAL NOT NULL,
    threshold_off REAL NOT NULL,
    PRIMARY KEY (bundle, class_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE duty (
    duty INTEGER PRIMARY KEY,
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    first_frame INTEGER NOT NULL
) STRICT;
CREATE TABLE chunk (
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    n INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('tried','done','skipped','quarantined')),
    n_attempts INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (bundle, stream, run_frame, n, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE stint (
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    first_n INTEGER NOT NULL,
    next_n INTEGER NOT NULL,
    open TEXT NOT NULL,
    PRIMARY KEY (bundle, stream, run_frame, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE detection (
    detection INTEGER PRIMARY KEY,
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    n INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    label TEXT NOT NULL,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    low_hz REAL,
    high_hz REAL,
    score REAL NOT NULL,
    calibrated INTEGER NOT NULL,
    logit REAL NOT NULL,
    threshold REAL NOT NULL,
    window_frame INTEGER NOT NULL,
    span_frame INTEGER NOT NULL,
    span_n_frames INTEGER NOT NULL,
    suppressed INTEGER NOT NULL,
    private INTEGER NOT NULL
) STRICT;
CREATE INDEX detection_span ON detection (stream, span_frame);
CREATE TABLE score_cache (
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    first_n INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    score REAL NOT NULL,
    best BLOB NOT NULL,
    PRIMARY KEY (bundle, stream, run_frame, first_n, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE chunk_scores (
    bundle INTEGER NOT NULL REFERENCES bundle,
    stream INTEGER NOT NULL,
    run_frame INTEGER NOT NULL,
    n INTEGER NOT NULL,
    channel INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    scores BLOB NOT NULL,
    PRIMARY KEY (bundle, stream, run_frame, n, channel)
) STRICT, WITHOUT ROWID;
"""

_NEW_IN_2 = TABLES[TABLES.index("CREATE TABLE chunk_scores") :]

MIGRATIONS = {0: TABLES, 1: _NEW_IN_2}
"""By version: statements that make the newest of it."""


def bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    """Make the tables that a database of an older version lacks, and all of an empty one.

    Parameters
    ----------
    db : sqlite3.Connection
        In a transaction.
    version : int
        Its ``user_version``, at most `VERSION`.
    """
    if version < VERSION:
        for statement in MIGRATIONS[version].split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
