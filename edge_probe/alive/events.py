"""What happened in a state folder since somebody last looked, each time with a cursor behind it.

A kind of event is a table that only grows at its end, so the key of the last row read is all there
is to remember. Nothing is told before it is safe from a power cut: readers of a WAL see only what
was synced.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edge_probe.alive.cursor import Cursor, Key
from edge_probe.alive.moment import Moment, moment_at, moment_of
from edge_probe.analysis.tables import VERSION as DETECTIONS_VERSION
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.database import read
from edge_probe.errors import StateError

_SKIP = "skip."
"""Kinds of events in a cursor: the number of the bundle is behind it."""

_HEARD = "heard"
"""In a cursor: which ``detections.sqlite`` its keys are of."""

_PUT_ASIDE = "capture.sqlite.damaged-*"
"""A ledger that could not be read."""

_CHUNK = "stream, run_frame, n, channel"

_OPEN = -1
"""Frames of a gap that is open."""

AT_ONCE = 500
"""Rows of a kind that are held in memory."""

_ALARM_GOES_ON_NS = 90 * 10**9
"""An alarm is noted every minute while it lasts, and told when it begins."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    fields: dict[str, object]
    """As they are told, ``kind`` first."""
    cursor: Cursor
    """Behind it."""


def read_events(state: Path, cursor: Cursor | None) -> tuple[Sequence[Event], Cursor]:
    """The next events, and the cursor behind all that was looked at.

    Parameters
    ----------
    state : Path
    cursor : Cursor or None
        Where to begin; None: at the first event.

    Returns
    -------
    events : sequence of Event
        By kind, and in order within each; at most `AT_ONCE` of a kind. Empty: nothing new.
    cursor : Cursor

    Raises
    ------
    StateError
        A database cannot be read, or the cursor belongs to another state folder.
    """
    path = state / "detections.sqlite"
    heard_keys = cursor.keys if cursor else {}
    heard = None
    if path.exists():
        heard = read(path, lambda db: _heard(db, heard_keys), DETECTIONS_VERSION)

    def look(capture: sqlite3.Connection) -> tuple[Sequence[Event], Cursor]:
        at = _own(capture, cursor, rebuilt=any(state.glob(_PUT_ASIDE)))
        if heard:
            at = Cursor(at.state_id, _of_same(heard.database, at.keys))
        keys = at.keys
        events: list[Event] = []

        def tell(kind: str, found: Iterable[Found]) -> None:
            nonlocal at
            for fields, key in found:
                at = at.after(kind, key)
                events.append(Event(fields, at))

        alarms = list(_alarms(capture, keys.get("alarm")))
        tell("gap", _gaps(capture, keys.get("gap")))
        tell("alarm", alarms)
        if len(alarms) < AT_ONCE:  # do not look through quiet months of health again
            at = at.after("alarm", _newest_health(capture))
        if not heard:
            return events, at
        for kind, skips in heard.skips:
            tell(kind, [(_placed(capture, "skip", row), key) for row, key in skips])
        for kind, key in heard.ends.items():
            at = at.after(kind, key)
        tell("detection", [(_placed(capture, "detection", row), k) for row, k in heard.detections])
        return events, at

    return read(state / "capture.sqlite", look, CAPTURE_VERSION)


def newest(state: Path) -> Cursor:
    """The cursor behind everything that has happened so far.

    Raises
    ------
    StateError
        A database cannot be read.
    """
    path = state / "detections.sqlite"
    heard: Mapping[str, Key] = {}
    if path.exists():
        heard = read(path, lambda db: {_HEARD: (_database(db),), **_ends(db)}, DETECTIONS_VERSION)

    def look(capture: sqlite3.Connection) -> Cursor:
        keys = {**heard, "alarm": _newest_health(capture)}
        gap = capture.execute(
            f"SELECT stream, first_frame, coalesce(n_frames, {_OPEN}) FROM gap"
            " ORDER BY stream DESC, first_frame DESC LIMIT 1"
        ).fetchone()
        if gap:
            keys["gap"] = gap
        return Cursor(_state_id(capture), keys)

    return read(state / "capture.sqlite", look, CAPTURE_VERSION)


Found = tuple[dict[str, Any], Key]


def _own(capture: sqlite3.Connection, cursor: Cursor | None, *, rebuilt: bool) -> Cursor:
    """The cursor, if it belongs here; of a ledger that began anew all is told again."""
    state_id = _state_id(capture)
    if cursor is None:
        return Cursor(state_id, {})
    if cursor.state_id == state_id:
        return cursor
    if rebuilt:
        return Cursor(state_id, {k: v for k, v in cursor.keys.items() if k not in ("gap", "alarm")})
    raise StateError(
        f"expected a cursor of this state folder ({state_id}), found one of another"
        f" ({cursor.state_id})",
        hint="without a cursor all of it is told",
    )


def _state_id(capture: sqlite3.Connection) -> str:
    """A state folder is known by its first boot."""
    row = capture.execute("SELECT kernel_id FROM boot ORDER BY boot LIMIT 1").fetchone()
    return str(row[0])[-12:] if row else ""


class _Heard(NamedTuple):
    """Of the classifier."""

    detections: Sequence[Found]
    database: int
    """Its ``application_id``."""
    skips: Sequence[tuple[str, Sequence[Found]]]
    """By kind: one for each bundle."""
    ends: Mapping[str, Key]
    """Kinds of skips that were looked at to their end, and where that is."""


def _heard(db: sqlite3.Connection, keys: Mapping[str, Key]) -> _Heard:
    database = _database(db)
    skips, ends, keys = [], {}, _of_same(database, keys)
    for kind, end in _ends(db).items():
        if kind != "detection":
            found = _skips(db, kind, keys.get(kind))
            skips.append((kind, _joined(found)))
            if len(found) < AT_ONCE:
                ends[kind] = end
    return _Heard(_detections(db, keys.get("detection")), database, skips, ends)


def _database(db: sqlite3.Connection) -> int:
    """Which one it is: it is drawn when one is begun; 0: before that was so."""
    (number,) = db.execute("PRAGMA application_id").fetchone()
    return int(number)


def _of_same(database: int, keys: Mapping[str, Key]) -> Mapping[str, Key]:
    """Keys of a cursor; of one for another ``detections.sqlite`` only what capture wrote.

    Rowids, and numbers of bundles, begin again at 1 when it was damaged and is begun anew.
    """
    if keys.get(_HEARD, (0,)) != (database,):
        keys = {kind: keys[kind] for kind in ("gap", "alarm") if kind in keys}
    return {**keys, _HEARD: (database,)}


def _detections(db: sqlite3.Connection, after: Key | None) -> Sequence[Found]:
    """Rows behind a rowid: a detection is never changed, and its number never used again."""
    row = int(after[0]) if after else 0
    if row > _newest_row(db):
        raise StateError(
            f"detections.sqlite: expected detection {row} of the cursor, found fewer",
            hint="it is another one than the cursor was made for; without a cursor all is told",
        )
    names = ("stream", "channel", "first_frame", "n_frames", "label", "score", "logit", "low_hz",
             "high_hz", "suppressed", "private")  # fmt: skip
    found = db.execute(
        f"SELECT {', '.join(names)}, bundle.id, rowid FROM"
        f" (SELECT rowid, * FROM detection WHERE rowid > ? ORDER BY rowid LIMIT ?)"
        " JOIN bundle USING (bundle) ORDER BY rowid",
        (row, AT_ONCE),
    )
    return [(dict(zip((*names, "bundle"), rest, strict=True)), (n,)) for *rest, n in found]


def _newest_row(db: sqlite3.Connection) -> int:
    (row,) = db.execute("SELECT max(rowid) FROM detection").fetchone()
    return row or 0


def _skips(db: sqlite3.Connection, kind: str, after: Key | None) -> Sequence[Found]:
    """Chunks that were left out; a bundle's chunks get their results in the order of their keys."""
    rows = db.execute(
        "SELECT stream, run_frame, n, channel, first_frame, n_frames, state, reason FROM chunk"
        f" WHERE bundle = ? AND ({_CHUNK}) > (?, ?, ?, ?) AND state IN ('skipped', 'quarantined')"
        " AND reason != 'gated'"
        f" ORDER BY {_CHUNK} LIMIT ?",
        (int(kind.removeprefix(_SKIP)), *(after or (0, 0, -1, 0)), AT_ONCE),
    )
    names = ("stream", "channel", "first_frame", "n_frames", "state", "reason")
    return [(dict(zip(names, (row[0], *row[3:]), strict=True)), row[:4]) for row in rows]


def _joined(skips: Sequence[Found]) -> Sequence[Found]:
    """One event for chunks that follow each other and were left out for one reason."""
    joined: list[Found] = []
    for row, key in skips:
        before = joined[-1][0] if joined else {}
        follows = before and row["first_frame"] == before["first_frame"] + before["n_frames"]
        if follows and all(row[n] == before[n] for n in ("stream", "channel", "state", "reason")):
            joined[-1] = before | {"n_frames": before["n_frames"] + row["n_frames"]}, key
        else:
            joined.append((row, key))
    return joined


def _ends(db: sqlite3.Connection) -> dict[str, Key]:
    """Behind the last detection, and, for each bundle, behind the last chunk that has a result."""
    ends: dict[str, Key] = {"detection": (_newest_row(db),)}
    for (bundle,) in db.execute("SELECT bundle FROM bundle ORDER BY bundle").fetchall():
        row = db.execute(
            f"SELECT {_CHUNK} FROM chunk WHERE bundle = ? AND state != 'tried'"
            " ORDER BY stream DESC, run_frame DESC, n DESC, channel DESC LIMIT 1",
            (bundle,),
        ).fetchone()
        ends[f"{_SKIP}{bundle}"] = row or (0, 0, -1, 0)
    return ends


def _placed(capture: sqlite3.Connection, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """What the classifier knows, with its place in time."""
    placed = _when(capture, kind, row["stream"], row["first_frame"], row["n_frames"]) | row
    return placed | {name: bool(row[name]) for name in ("suppressed", "private") if name in row}


def _gaps(db: sqlite3.Connection, after: Key | None) -> Iterator[Found]:
    """Gaps; one that is open, or still grows, is told at once, and again when its end is known."""
    stream, first_frame, n_told = after or (0, -1, _OPEN)
    rows = db.execute(
        "SELECT stream, first_frame, n_frames, cause FROM gap"
        " WHERE (stream, first_frame) > (:stream, :first) OR (stream, first_frame)"
        " = (:stream, :first) AND n_frames != :told AND (:told = :open OR EXISTS (SELECT 1 FROM gap"
        " AS later WHERE (later.stream, later.first_frame) > (:stream, :first)) OR EXISTS (SELECT 1"
        " FROM segment WHERE (segment.stream, segment.first_frame) > (:stream, :first)))"
        " ORDER BY stream, first_frame LIMIT :most",
        {"stream": stream, "first": first_frame, "told": n_told, "open": _OPEN, "most": AT_ONCE},
    )
    for stream_, first, n_frames, cause in rows.fetchall():
        key = (stream_, first, _OPEN if n_frames is None else n_frames)
        yield _when(db, "gap", stream_, first, n_frames) | {"cause": cause}, key


def _alarms(db: sqlite3.Connection, after: Key | None) -> Iterator[Found]:
    """Alarms that begin; those that go on are rows of health, too, and not told."""
    rows = db.execute(
        "SELECT boot, monotonic_ns, name, text FROM health AS begun"
        " WHERE (boot, monotonic_ns, name) > (?, ?, ?) AND name GLOB 'alarm.*'"
        " AND NOT EXISTS (SELECT * FROM health AS before WHERE before.boot = begun.boot"
        " AND before.monotonic_ns BETWEEN begun.monotonic_ns - ? AND begun.monotonic_ns - 1"
        " AND before.name = begun.name) ORDER BY boot, monotonic_ns, name LIMIT ?",
        (*(after or (0, 0, "")), _ALARM_GOES_ON_NS, AT_ONCE),
    )
    for boot, monotonic_ns, name, text in rows.fetchall():
        fields = _moment(moment_at(db, boot, monotonic_ns))
        told = {"kind": "alarm", **fields, "name": name.removeprefix("alarm."), "text": text}
        yield told, (boot, monotonic_ns, name)


def _newest_health(db: sqlite3.Connection) -> Key:
    row: Key | None = db.execute(
        "SELECT boot, monotonic_ns, name FROM health"
        " ORDER BY boot DESC, monotonic_ns DESC, name DESC LIMIT 1"
    ).fetchone()
    return row or (0, 0, "")


def _when(
    db: sqlite3.Connection, kind: str, stream: int, first_frame: int, n_frames: int | None
) -> dict[str, Any]:
    """Time and place of frames."""
    rate = db.execute("SELECT rate_hz FROM stream WHERE stream = ?", (stream,)).fetchone()
    moment = moment_of(db, stream, first_frame)
    if rate is None or moment is None:
        raise StateError(
            f"capture.sqlite: expected stream {stream} of a {kind}, found none",
            hint="detections.sqlite and capture.sqlite must be of one recorder",
        )
    duration_s = None if n_frames is None else round(n_frames / rate[0], 3)
    return {
        "kind": kind, **_moment(moment), "duration_s": duration_s, "stream": stream,
        "first_frame": first_frame, "n_frames": n_frames,
    }  # fmt: skip


def _moment(moment: Moment) -> dict[str, object]:
    return {
        "time_utc": moment.utc, "clock_trust": moment.trust, "boot": moment.boot,
        "monotonic_ns": moment.monotonic_ns,
    }  # fmt: skip
