"""Events as lines: strict JSON for programs, a table for people."""

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from edge_probe.classify import Event

Writer = Callable[[Event], None]


def utc_text(moment: datetime | None) -> str | None:
    """RFC 3339 with milliseconds, or None where the time is unknown."""
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_dict(event: Event) -> dict[str, object]:
    """The fields of one JSON line, in order."""
    return {
        "source": event.source,
        "channel": event.channel,
        "start_s": round(event.start_s, 3),
        "end_s": math.floor(event.end_s * 1000) / 1000,  # never past the end of the audio
        "low_hz": event.low_hz,
        "high_hz": event.high_hz,
        "label": event.label.text,
        "scientific_name": event.label.scientific_name,
        "common_name": event.label.common_name,
        "score": round(event.score, 6),
        "calibrated": event.calibrated,
        "logit": event.logit,
        "threshold": event.threshold,
        "window_start_s": round(event.window_start_s, 3),
        "time_utc": utc_text(event.time_utc),
        "clock_trust": event.clock_trust,
        "bundle": event.bundle,
    }


def json_writer(stream: TextIO) -> Writer:
    """Write each event as one JSON object per line, flushed."""

    def write(event: Event) -> None:
        line = json.dumps(as_dict(event), ensure_ascii=False, allow_nan=False)
        print(line, file=stream, flush=True)

    return write


HEADER = "   start_s     end_s        band_hz  score  logit  limit  label"


def row(event: Event) -> str:
    """One line of the table, at most 80 columns for labels up to 24 characters."""
    band = "-"
    if event.low_hz is not None and event.high_hz is not None:
        band = f"{event.low_hz:.0f}-{event.high_hz:.0f}"
    return (
        f"{event.start_s:10.2f}{event.end_s:10.2f}{band:>15}{event.score:7.3f}"
        f"{event.logit:7.2f}{event.threshold:7.2f}  {event.label.common_name}"
    )


def table_writer(stream: TextIO) -> Writer:
    """Write a readable table that grows as events arrive; a line names each new source."""
    last_source = None

    def write(event: Event) -> None:
        nonlocal last_source
        if last_source is None:
            print(HEADER, file=stream)
        if event.source != last_source:
            last_source = event.source
            print(f"{event.source} (channel {event.channel})", file=stream)
        print(row(event), file=stream, flush=True)

    return write
