"""What is kept of the work: two Parquet files for each batch, whole or not at all.

A batch is done once ``detections/NNNNNN.parquet`` and ``files/NNNNNN.parquet`` are there. Their
bytes follow from the results, so writing them again changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from edge_probe.bundle.publish import publish_file
from edge_probe.classify import Event
from edge_probe.desk.survey.work import BatchResult, FileRow
from edge_probe.errors import StateError

DETECTIONS, FILES = "detections", "files"
"""Names of the folders."""

_MOMENT = pa.timestamp("us", tz="UTC")
_SCHEMAS: Mapping[str, pa.Schema] = {
    DETECTIONS: pa.schema([
        ("file", pa.int64()), ("path", pa.string()), ("channel", pa.int64()),
        ("start_s", pa.float64()), ("end_s", pa.float64()), ("low_hz", pa.float64()),
        ("high_hz", pa.float64()), ("label", pa.string()), ("scientific_name", pa.string()),
        ("common_name", pa.string()), ("score", pa.float64()), ("calibrated", pa.bool_()),
        ("logit", pa.float64()), ("threshold", pa.float64()), ("window_start_s", pa.float64()),
        ("start_utc", _MOMENT), ("end_utc", _MOMENT), ("clock_trust", pa.string()),
        ("bundle", pa.string()), ("bundle_sha256", pa.string()),
    ]),
    FILES: pa.schema([
        ("file", pa.int64()), ("path", pa.string()), ("n_bytes", pa.int64()),
        ("channel", pa.int64()), ("channels", pa.int64()), ("rate_hz", pa.int64()),
        ("n_samples", pa.int64()), ("start_utc", _MOMENT), ("clock_trust", pa.string()),
        ("classified_s", pa.float64()), ("problem", pa.string()),
    ]),
}  # fmt: skip
"""Of a row: a detection, or a file of the list; ``file`` is its number there, and seconds count
from the beginning of the file."""

_ROWS_AT_ONCE = 10_000

Row = dict[str, Any]


class Parts:
    """The results in a folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Make what is missing of the folders, and remove what a kill has left half-written."""
        for name in _SCHEMAS:
            (self.folder / name).mkdir(exist_ok=True)
        for folder in (self.folder, *(self.folder / name for name in _SCHEMAS)):
            for part in folder.glob(".*.new"):
                part.unlink()

    def path(self, name: str, number: int) -> Path:
        """Of one of a batch's two files."""
        return self.folder / name / f"{number:06d}.parquet"

    def is_done(self, number: int) -> bool:
        """Whether the results of a batch are there."""
        return all(self.path(name, number).exists() for name in _SCHEMAS)

    def write(self, result: BatchResult, bundle_sha256: str) -> None:
        """Keep the results of a batch.

        Raises
        ------
        OSError
            The disk fails.
        """
        heard = [
            _detection(one.file.number, event, bundle_sha256)
            for one in result.files
            for event in one.events
        ]
        files = [_file(one.file) for one in result.files]
        self._write(DETECTIONS, result.number, heard)
        self._write(FILES, result.number, files)

    def rows(self, name: str, batches: Iterable[int]) -> Iterator[Row]:
        """Rows of batches that are done, one batch after the other.

        Raises
        ------
        StateError
            One cannot be read.
        """
        for number in batches:
            with self._open(name, number) as file:
                for rows in file.iter_batches(_ROWS_AT_ONCE):
                    yield from rows.to_pylist()

    def count(self, name: str, batches: Iterable[int]) -> int:
        """How many rows there are; does not read them."""
        n_rows = 0
        for number in batches:
            with self._open(name, number) as file:
                n_rows += file.metadata.num_rows
        return n_rows

    def _open(self, name: str, number: int) -> parquet.ParquetFile:
        path = self.path(name, number)
        try:
            return parquet.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise StateError(
                f"{path}: cannot be read: {error}",
                hint="remove it; edge-probe classify with the same options makes it anew",
            ) from error

    def _write(self, name: str, number: int, rows: list[Row]) -> None:
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(rows, schema=_SCHEMAS[name])
        parquet.write_table(table, sink, compression="zstd")
        publish_file(self.path(name, number), sink.getvalue().to_pybytes())


def _detection(file: int, event: Event, bundle_sha256: str) -> Row:
    start = event.time_utc
    length = timedelta(seconds=event.end_s - event.start_s)
    return {
        "file": file, "path": event.source, "channel": event.channel,
        "start_s": event.start_s, "end_s": event.end_s,
        "low_hz": event.low_hz, "high_hz": event.high_hz,
        "label": event.label.text, "scientific_name": event.label.scientific_name,
        "common_name": event.label.common_name, "score": event.score,
        "calibrated": event.calibrated, "logit": event.logit, "threshold": event.threshold,
        "window_start_s": event.window_start_s, "start_utc": start,
        "end_utc": start and start + length, "clock_trust": event.clock_trust,
        "bundle": event.bundle, "bundle_sha256": bundle_sha256,
    }  # fmt: skip


def _file(row: FileRow) -> Row:
    cells = asdict(row)
    return {"file": cells.pop("number"), **cells}
