"""The tables of capture.sqlite (`SCHEMA.md` is normative)."""

VERSION = 1
"""``user_version`` of what is written here."""

# Key columns come first: quick_check of SQLite 3.40 misreads tables without rowid otherwise.
TABLES = """
CREATE TABLE boot (
    boot INTEGER PRIMARY KEY,
    kernel_id TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE stream (
    stream INTEGER PRIMARY KEY,
    boot INTEGER NOT NULL REFERENCES boot,
    device TEXT NOT NULL,
    rate_hz INTEGER NOT NULL,
    n_channels INTEGER NOT NULL,
    sample_bytes INTEGER NOT NULL,
    opened_ns INTEGER NOT NULL,
    drift REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE segment (
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER,
    began_ns INTEGER NOT NULL,
    name TEXT NOT NULL UNIQUE,
    PRIMARY KEY (stream, first_frame)
) STRICT, WITHOUT ROWID;
CREATE TABLE gap (
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER,
    cause TEXT NOT NULL CHECK (cause IN ('overflow','stall','device','disk','power','schedule')),
    PRIMARY KEY (stream, first_frame)
) STRICT, WITHOUT ROWID;
CREATE TABLE clock_anchor (
    boot INTEGER NOT NULL REFERENCES boot,
    monotonic_ns INTEGER NOT NULL,
    trust TEXT NOT NULL CHECK (trust IN ('unset','rtc','ntp','gps','manual')),
    utc_ns INTEGER NOT NULL,
    PRIMARY KEY (boot, monotonic_ns, trust)
) STRICT, WITHOUT ROWID;
CREATE TABLE deletion (
    deletion INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    name TEXT NOT NULL,
    n_bytes INTEGER NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('quota','floor')),
    held TEXT NOT NULL CHECK (held IN ('nothing','detections','unknown','sample')),
    boot INTEGER NOT NULL REFERENCES boot,
    monotonic_ns INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL,
    UNIQUE (stream, first_frame)
) STRICT;
CREATE TABLE transcode (
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    n_bytes INTEGER,
    PRIMARY KEY (stream, first_frame)
) STRICT, WITHOUT ROWID;
CREATE TABLE sample (
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('random','stratified')),
    n_frames INTEGER NOT NULL,
    score_from REAL,
    probability REAL NOT NULL,
    PRIMARY KEY (stream, first_frame, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE privacy (
    stream INTEGER NOT NULL REFERENCES stream,
    first_frame INTEGER NOT NULL,
    n_frames INTEGER NOT NULL,
    PRIMARY KEY (stream, first_frame)
) STRICT, WITHOUT ROWID;
CREATE TABLE progress (
    chore TEXT PRIMARY KEY CHECK (chore IN ('random','stratified','privacy')),
    stream INTEGER NOT NULL,
    first_frame INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE health (
    boot INTEGER NOT NULL REFERENCES boot,
    monotonic_ns INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (boot, monotonic_ns, name)
) STRICT, WITHOUT ROWID;
"""
