"""Everything that is known of every detection, as one Parquet table."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from edge_probe.desk.results.record import KINDS, Kind, Value, record
from edge_probe.desk.results.selection import Selection

_TYPES: Mapping[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "truth": pa.bool_(),
    "moment": pa.timestamp("us", tz="UTC"),
}
SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in KINDS.items()])

ROWS_AT_ONCE = 20_000
"""Rows of a group: what is held in memory."""


def write(selection: Selection, path: Path) -> None:
    """Detections of all chosen bundles, suppressed ones included."""
    with path.open("xb") as out, ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        records = _records(selection)
        while rows := list(islice(records, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))


def _records(selection: Selection) -> Iterator[dict[str, Value]]:
    for deployment in selection.deployments():
        yield from map(record, selection.all_of(deployment))
