"""A detection with all that is known of it; names are those of `edge-probe classify --json`."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Literal

from edge_probe.desk.rows import DetectionRow

Kind = Literal["text", "integer", "number", "truth", "moment"]
Value = str | int | float | bool | datetime | None

KINDS: Mapping[str, Kind] = {
    "deployment_id": "text",
    "detection": "integer",
    "bundle": "text",
    "bundle_sha256": "text",
    "boot": "integer",
    "stream": "integer",
    "channel": "integer",
    "start_sample": "integer",
    "end_sample": "integer",
    "rate_hz": "integer",
    "start_utc": "moment",
    "end_utc": "moment",
    "clock_trust": "text",
    "label": "text",
    "scientific_name": "text",
    "common_name": "text",
    "score": "number",
    "calibrated": "truth",
    "logit": "number",
    "threshold": "number",
    "low_hz": "number",
    "high_hz": "number",
    "window_start_sample": "integer",
    "suppressed": "truth",
    "file": "text",
    "start_s": "number",
    "end_s": "number",
    "has_audio": "truth",
}
"""Columns in their order. Samples count from the beginning of the stream; ``file`` lies in
``audio/`` of the deployment, or in the folder that was classified; ``start_s`` and ``end_s`` count
from its beginning, and ``end_s`` may lie in the next one."""


def record(row: DetectionRow) -> dict[str, Value]:
    """The columns of `KINDS`; None where something is not known."""
    path = row.segment.path if row.segment else None
    name = row.segment.name if row.segment else None
    if path and name:  # of a segment that was transcoded since
        name = PurePosixPath(name).with_name(path.name).as_posix()
    placed: dict[str, Value] = {"file": name, "has_audio": path is not None}
    return {name: placed[name] if name in placed else getattr(row, name) for name in KINDS}
