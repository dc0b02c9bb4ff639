"""Effort: how long was to be recorded, was recorded, and was listened to, by UTC hour.

Everything is counted in frames; seconds appear only in the file. In every row

    scheduled = recorded + gap          recorded = classified + gated + skipped + private

and each column, summed over the hours of a stream, is the total of the stream.
"""

import csv
import io
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from edge_probe.analysis.tables import VERSION as DETECTIONS_VERSION
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.clock import Clock
from edge_probe.database import read
from edge_probe.deployment.spans import Span, add, common, counts, merged, without
from edge_probe.deployment.state import StateFolder, replace_file
from edge_probe.deployment.wall import Moment, Piece, StreamClock, Wall, utc_text

Found = TypeVar("Found")

COLUMNS = (
    "deployment_id", "stream", "channel", "bundle_sha256", "start_utc", "end_utc", "clock_trust",
    "scheduled_s", "recorded_s", "gap_s", "private_s", "unhealthy_s", "gated_s",
    "skipped_s", "classified_s",
)  # fmt: skip

HOUR_NS = 3600 * 10**9

UNHEALTHY = {
    "": ("dead_microphone", "rerouted", "rate", "format", "gain"),
    ".CHANNEL": ("flat_line", "clipping", "dc", "stuck_bits", "resampled"),
    ".CONTROL": ("muted", "agc"),
}
"""Alarms that say that audio is not what it should be, by what their names end with; others concern
board and disk."""

_TOLD_NS = 61 * 10**9
"""An alarm is told once a minute, for the minute before it, a little late."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of a row; None where nobody can know."""

    scheduled: int | None
    recorded: int
    gap: int | None
    private: int
    unhealthy: int
    """Of the recorded ones; they may be in any of the other three kinds."""
    gated: int
    """Recorded, not private, and too quiet to be encoded."""
    skipped: int
    """Recorded, not private, and none of the others: skipped, quarantined, or not yet looked at."""
    classified: int


@dataclass(frozen=True, slots=True)
class Row:
    """One stream, channel, bundle and UTC hour."""

    stream: int
    channel: int
    bundle_sha256: str
    """Empty where no bundle listened."""
    start_utc_ns: int
    end_utc_ns: int | None
    """None: a gap that ends nobody knows when."""
    clock_trust: str
    frame_s: float
    """UTC seconds from one frame to the next."""
    frames: Frames

    def cells(self) -> list[object]:
        """What stands in the file, from the second column on."""
        seconds = (
            "" if frames is None else f"{frames * self.frame_s:.6f}"
            for frames in astuple(self.frames)
        )
        end = "" if self.end_utc_ns is None else utc_text(self.end_utc_ns)
        start = utc_text(self.start_utc_ns)
        return [
            self.stream, self.channel, self.bundle_sha256, start, end, self.clock_trust, *seconds
        ]  # fmt: skip


def write_effort(state: StateFolder, deployment_id: str, clock: Clock | None) -> None:
    """Make ``effort.csv`` anew from the databases.

    Parameters
    ----------
    state : StateFolder
    deployment_id : str
    clock : Clock or None
        Of a recorder that runs: a gap that goes on is counted until now. Without it such a gap
        ends nobody knows when.

    Raises
    ------
    StateError
        There is nothing that was recorded, or it is of a newer version.
    OSError, sqlite3.Error
        The disk fails; the old file is still there.
    """

    def found(capture: sqlite3.Connection, detections: sqlite3.Connection | None) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        now = _now(capture, clock) if clock else None
        writer.writerows([deployment_id, *row.cells()] for row in rows(capture, detections, now))
        return text.getvalue()

    replace_file(state.effort, read_both(state, found).encode("utf-8"))


def read_both(
    state: StateFolder, look: Callable[[sqlite3.Connection, sqlite3.Connection | None], Found]
) -> Found:
    """As `edge_probe.database.read`, both databases; None where no classifier ever listened."""
    if not state.detections.exists():
        return read(state.capture, lambda capture: look(capture, None), CAPTURE_VERSION)
    return read(
        state.capture,
        lambda capture: read(
            state.detections, lambda detections: look(capture, detections), DETECTIONS_VERSION
        ),
        CAPTURE_VERSION,
    )


def rows(
    capture: sqlite3.Connection, detections: sqlite3.Connection | None, now: Moment | None
) -> Iterator[Row]:
    """Effort of all streams, in their order.

    Parameters
    ----------
    capture, detections : sqlite3.Connection
        Open ``capture.sqlite``; ``detections.sqlite``, if there is one.
    now : Moment or None
        Until which a gap lasts that still goes on.
    """
    wall = Wall.read(capture)
    streams = capture.execute(
        "SELECT stream, n_channels, lead(stream) OVER (ORDER BY stream),"
        " lead(boot) OVER (ORDER BY stream), lead(opened_ns) OVER (ORDER BY stream) FROM stream"
    ).fetchall()
    for stream, n_channels, following, boot, opened_ns in streams:
        until = Moment(boot, opened_ns) if following else now
        sets = _sets(capture, wall, stream, until)
        done = _done(detections, stream) if detections else {}
        for channel in range(n_channels):
            unhealthy = _unhealthy(capture, wall.streams[stream], channel, sets.recorded)
            bundles = {bundle: done[at, bundle] for at, bundle in done if at == channel}
            for bundle, results in sorted(bundles.items()) or [("", _Results([], []))]:
                heard = _Heard(stream, channel, bundle, results, unhealthy)
                yield from _stream_rows(wall.streams[stream], sets, heard)


class _Sets(NamedTuple):
    """What all channels of a stream have in common."""

    recorded: list[Span]
    gap: list[Span]
    private: list[Span]
    unknown_from: int | None
    """First frame of a gap that ends nobody knows when."""


class _Results(NamedTuple):
    """What a bundle made of the chunks of a channel."""

    done: list[Span]
    gated: list[Span]


class _Heard(NamedTuple):
    """What one channel and bundle have of their own."""

    stream: int
    channel: int
    bundle: str
    results: _Results
    unhealthy: list[Span]


class _Cell(NamedTuple):
    """Frames [begin, end) in one UTC hour and between two steps of the wall clock."""

    begin: int
    end: int
    start_utc_ns: int
    end_utc_ns: int


def _stream_rows(clock: StreamClock, sets: _Sets, heard: _Heard) -> Iterator[Row]:
    end = max((spans[-1][1] for spans in (sets.recorded, sets.gap) if spans), default=0)
    cells = list(_cells(clock, end))
    private = common(sets.private, sets.recorded)
    classified, gated = (without(common(spans, sets.recorded), private) for spans in heard.results)
    unhealthy = common(heard.unhealthy, sets.recorded)
    kinds = (sets.recorded, sets.gap, private, unhealthy, gated, classified)
    spans = [(cell.begin, cell.end) for cell in cells]
    hours: dict[int, list[tuple[_Cell, tuple[int, ...]]]] = {}
    for cell, *found in zip(cells, *(counts(kind, spans) for kind in kinds), strict=True):
        hours.setdefault(cell.start_utc_ns // HOUR_NS, []).append((cell, tuple(found)))
    for parts in hours.values():
        row = _row(clock, heard, parts)
        if row.frames.scheduled:
            yield row
    if sets.unknown_from is not None:
        begin = clock.at(sets.unknown_from)
        yield Row(
            heard.stream, heard.channel, heard.bundle, begin.utc_ns, None, begin.trust, 0.0,
            Frames(None, 0, None, 0, 0, 0, 0, 0),
        )  # fmt: skip


def _row(clock: StreamClock, heard: _Heard, parts: Sequence[tuple[_Cell, tuple[int, ...]]]) -> Row:
    """One hour, in several parts if the wall clock was stepped in it."""
    cells = [cell for cell, _ in parts]
    found = zip(*(numbers for _, numbers in parts), strict=True)
    recorded, gap, private, unhealthy, gated, classified = map(sum, found)
    n_frames = sum(cell.end - cell.begin for cell in cells)
    return Row(
        heard.stream, heard.channel, heard.bundle,
        min(cell.start_utc_ns for cell in cells), max(cell.end_utc_ns for cell in cells),
        clock.clock.trust,
        sum(cell.end_utc_ns - cell.start_utc_ns for cell in cells) * 1e-9 / n_frames,
        Frames(
            recorded + gap, recorded, gap, private, unhealthy, gated,
            recorded - classified - gated - private, classified,
        ),
    )  # fmt: skip


def _cells(clock: StreamClock, end_frame: int) -> Iterator[_Cell]:
    """Frames [0, end_frame) in order."""
    for begin, end, piece in clock.steady(end_frame):
        utc = partial(_utc, clock, piece)
        start_utc = utc(begin)
        while begin < end:
            hour_ns = (start_utc // HOUR_NS + 1) * HOUR_NS
            cut = bisect_left(range(end), hour_ns, begin, key=utc)
            yield _Cell(begin, cut, start_utc, min(hour_ns, utc(cut)))
            begin, start_utc = cut, hour_ns


def _utc(clock: StreamClock, piece: Piece, frame: int) -> int:
    return piece.utc(clock.monotonic_ns(frame))


def _sets(capture: sqlite3.Connection, wall: Wall, stream: int, until: Moment | None) -> _Sets:
    recorded = capture.execute(
        "SELECT first_frame, first_frame + n_frames FROM segment"
        " WHERE stream = ? AND n_frames NOT NULL ORDER BY first_frame",
        (stream,),
    )
    gaps = capture.execute(
        "SELECT first_frame, n_frames FROM gap WHERE stream = ? AND cause != 'schedule'"
        " ORDER BY first_frame",
        (stream,),
    )
    gap: list[Span] = []
    unknown_from = None
    for first_frame, known in gaps:
        n_frames = known
        if known is None and until:
            n_frames = wall.open_gap(stream, first_frame, until)
        if n_frames is None:
            unknown_from = first_frame
        else:
            add(gap, (first_frame, first_frame + n_frames))
    private = _query(
        capture, "privacy",
        "SELECT first_frame, first_frame + n_frames FROM privacy"
        " WHERE stream = ? ORDER BY first_frame", stream,
    )  # fmt: skip
    return _Sets(merged(recorded), gap, merged(private), unknown_from)


def _done(detections: sqlite3.Connection, stream: int) -> Mapping[tuple[int, str], _Results]:
    """Frames that have a result, by channel and hash of the bundle."""
    found: dict[tuple[int, str], _Results] = {}
    for bundle, sha256 in list(_query(detections, "bundle", "SELECT bundle, sha256 FROM bundle")):
        # In the order of the key: SQLite would sort in a file outside the state folder.
        chunks = detections.execute(
            "SELECT channel, first_frame, first_frame + n_frames, state, reason FROM chunk"
            " WHERE bundle = ? AND stream = ? ORDER BY run_frame, n",
            (bundle, stream),
        )
        for channel, begin, end, state, reason in chunks:
            results = found.setdefault((channel, sha256), _Results([], []))
            if state == "done":
                add(results.done, (begin, end))
            elif reason == "gated":
                add(results.gated, (begin, end))
    return found


def _unhealthy(
    capture: sqlite3.Connection, clock: StreamClock, channel: int, recorded: Sequence[Span]
) -> list[Span]:
    """Frames of minutes in which an alarm said that this channel is not what it should be."""
    if not recorded:
        return []
    names = [f"alarm.{name}" for name in UNHEALTHY[""]]
    names += [f"alarm.{name}.{channel}" for name in UNHEALTHY[".CHANNEL"]]
    controls = [f"alarm.{name}.*" for name in UNHEALTHY[".CONTROL"]]
    found = _query(
        capture, "health",
        "SELECT monotonic_ns FROM health WHERE boot = ? AND monotonic_ns BETWEEN ? AND ?"
        f" AND (name IN ({','.join('?' * len(names))}) OR name GLOB ? OR name GLOB ?)"
        " ORDER BY monotonic_ns",
        clock.boot, clock.monotonic_ns(0), clock.monotonic_ns(recorded[-1][1]) + _TOLD_NS,
        *names, *controls,
    )  # fmt: skip
    return merged((clock.frame(told - _TOLD_NS), clock.frame(told)) for (told,) in found)


def _query(db: sqlite3.Connection, table: str, query: str, *values: object) -> Iterator[Any]:
    """Rows of a table that its process may not have made yet."""
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
        yield from db.execute(query, values)


def _now(capture: sqlite3.Connection, clock: Clock) -> Moment | None:
    found = capture.execute("SELECT boot FROM boot WHERE kernel_id = ?", (clock.boot(),)).fetchone()
    return found and Moment(found[0], clock.monotonic_ns())
