"""Everything that is known of every detection, one JSON object a line."""

import json
from datetime import UTC, datetime
from typing import TextIO

from edge_probe.desk.results.record import Value, record
from edge_probe.desk.results.selection import Selection


def write(selection: Selection, out: TextIO) -> None:
    """Detections of all chosen bundles, suppressed ones included; times in UTC (RFC 3339)."""
    for deployment in selection.deployments():
        for row in selection.all_of(deployment):
            line = {name: _plain(value) for name, value in record(row).items()}
            out.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Value) -> object:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).isoformat(timespec="microseconds")
        return moment.replace("+00:00", "Z")
    return value
