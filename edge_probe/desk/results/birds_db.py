"""BirdNET-Pi's ``birds.db``, as a view over all that is known: for the dashboards that read it.

Source of the view's columns: BirdNET-Pi, ``scripts/createdb.sh``. Date and time are those of the
beginning of the detection in the fixed offset of its deployment.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path

from edge_probe.desk.files import WriteError
from edge_probe.desk.results.selection import (
    NO_TIME,
    Selection,
    audio_path,
    local,
    placed,
    samples_in_file,
)
from edge_probe.desk.told import Told

_TABLES = """
CREATE TABLE detection (
    deployment_id TEXT NOT NULL,
    bundle TEXT NOT NULL,
    bundle_sha256 TEXT NOT NULL,
    start_utc TEXT NOT NULL,
    date TEXT NOT NULL,
    time TEXT NOT NULL,
    week INTEGER NOT NULL,
    label TEXT NOT NULL,
    scientific_name TEXT NOT NULL,
    common_name TEXT NOT NULL,
    score REAL NOT NULL,
    calibrated INTEGER NOT NULL,
    lowest_score REAL,
    latitude REAL,
    longitude REAL,
    file TEXT NOT NULL,
    start_s REAL NOT NULL,
    end_s REAL NOT NULL,
    low_hz REAL,
    high_hz REAL
) STRICT;
CREATE VIEW detections AS SELECT
    date AS Date, time AS Time, scientific_name AS Sci_Name, common_name AS Com_Name,
    score AS Confidence, latitude AS Lat, longitude AS Lon, lowest_score AS Cutoff, week AS Week,
    CAST(NULL AS REAL) AS Sens, CAST(NULL AS REAL) AS Overlap, file AS File_Name
FROM detection;
"""
_INDICES = """
CREATE INDEX detection_date ON detection (date DESC, time DESC);
CREATE INDEX detection_name ON detection (common_name);
"""


def write(selection: Selection, path: Path) -> None:
    """A database with a table ``detection`` and the view ``detections``."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(_TABLES)
            db.execute("BEGIN")
            for deployment in selection.deployments():
                rows = _rows(selection, deployment)
                db.executemany(f"INSERT INTO detection VALUES ({','.join('?' * 20)})", rows)
            db.execute("COMMIT")
            db.executescript(_INDICES)
    except sqlite3.Error as error:  # those of the archive are none any more
        raise WriteError(
            f"the database cannot be written: {error}", hint="look at free space and permissions"
        ) from error


def _rows(selection: Selection, deployment: Told) -> Iterator[tuple[object, ...]]:
    settings = deployment.settings
    for row, segment in placed(selection, selection.one_bundle(deployment)):
        if row.start_utc is None:
            selection.leave_out(NO_TIME)
            continue
        began = local(row.start_utc, settings)
        start, end = samples_in_file(row, segment)
        yield (
            row.deployment_id, row.bundle, row.bundle_sha256,
            row.start_utc.astimezone(UTC).isoformat(), began.strftime("%Y-%m-%d"),
            began.strftime("%H:%M:%S"), began.isocalendar().week, row.label, row.scientific_name,
            row.common_name, row.score, row.calibrated,
            None if row.calibrated else (1 + math.tanh(row.threshold / 2)) / 2,
            settings.latitude, settings.longitude, audio_path(deployment, segment).name,
            start / row.rate_hz, end / row.rate_hz, row.low_hz, row.high_hz,
        )  # fmt: skip
