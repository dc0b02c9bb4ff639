"""Wall time put right by hand, after the deployment: by a known offset, or by known moments.

It adds clock readings of the highest trust; names, frames and what the recorder read stay as they
are. The readings of a boot replace those that an earlier `retime` gave it, and an offset counts
from what the recorder read, so doing it twice is doing it once.
"""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from re import fullmatch

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Place
from edge_probe.deployment.wall import TRUST, Anchor, BootClock, Wall, utc_text
from edge_probe.errors import StateError

BY_HAND = TRUST[-1]

MAX_RATE = 1e-3
"""Monotonic clocks are within 200 ppm; two moments that tell more are not both right."""

_LAST_NS = 2**63 - 1
"""In the year 2262."""

New = Mapping[int, Sequence[Anchor]]
"""Readings by hand, by boot."""


@dataclass(frozen=True, slots=True)
class Change:
    """What new readings do to the audio of one boot."""

    boot: int
    trust: str
    """Before."""
    before_ns: tuple[int, int]
    """UTC of its first frame and of the end of its last one."""
    after_ns: tuple[int, int]
    rate: float
    """By which fraction its clock turns out to be too slow."""

    def __str__(self) -> str:
        begin, end = (new - old for old, new in zip(self.before_ns, self.after_ns, strict=True))
        return (
            f"boot {self.boot}: {utc_text(self.before_ns[0])} ({self.trust}) becomes "
            f"{utc_text(self.after_ns[0])}: {begin * 1e-9:+.3f} s at its begin, "
            f"{end * 1e-9:+.3f} s at its end, rate {self.rate * 1e6:+.1f} ppm"
        )


def by_offset(capture: sqlite3.Connection, offset_s: float, boots: Collection[int]) -> New:
    """Readings as the recorder's last best one of each boot, but later by an offset.

    The last one, because that is what somebody compares when collecting the recorder.

    Parameters
    ----------
    capture : sqlite3.Connection
        Open ``capture.sqlite``.
    offset_s : float
        True time minus the recorder's.
    boots : collection of int
        Which; empty: all whose clock was at best an RTC.

    Raises
    ------
    StateError
        There is no such boot, or none to correct.
    """
    best: dict[int, Anchor] = {}
    for boot, *reading in capture.execute(
        "SELECT boot, monotonic_ns, utc_ns, trust FROM clock_anchor"
        " WHERE trust != ? AND boot IN (SELECT boot FROM stream) ORDER BY boot, monotonic_ns",
        (BY_HAND,),
    ):
        anchor = Anchor(*reading)
        if boot not in best or TRUST.index(anchor.trust) >= TRUST.index(best[boot].trust):
            best[boot] = anchor
    for boot in boots:
        if boot not in best:
            raise StateError(
                f"boot {boot}: nothing was recorded in it",
                hint=f"boots with audio: {', '.join(map(str, best)) or 'none'}",
            )
    chosen = boots or [boot for boot, anchor in best.items() if anchor.trust in TRUST[:2]]
    if not chosen:
        raise StateError(
            "no boot to correct: the clock of each was set by network or GPS",
            hint="name those that are wrong all the same with --boot",
        )
    offset_ns = round(offset_s * 1e9)
    return {boot: [_by_hand(best[boot], offset_ns)] for boot in sorted(chosen)}


def _by_hand(anchor: Anchor, offset_ns: int) -> Anchor:
    utc_ns = anchor.utc_ns + offset_ns
    if not 0 <= utc_ns <= _LAST_NS:
        raise StateError(
            f"{utc_text(anchor.utc_ns)} and {offset_ns * 1e-9:g} s: expected a time from 1970"
            " to 2261",
            hint="the offset is true time minus the recorder's, in seconds",
        )
    return Anchor(anchor.monotonic_ns, utc_ns, BY_HAND)


def by_moments(capture: sqlite3.Connection, texts: Sequence[str]) -> New:
    """Readings where somebody knows when a frame was; two in one boot correct the rate as well.

    Parameters
    ----------
    capture : sqlite3.Connection
        Open ``capture.sqlite``.
    texts : sequence of str
        ``PLACE=UTC``; the place is the name of a segment, that and ``+SECONDS``, or
        ``STREAM:FRAME``.

    Raises
    ------
    StateError
        A text means nothing, a place is not in the recording, or moments contradict each other.
    """
    wall = Wall.read(capture)
    found: dict[int, list[Anchor]] = {}
    for text in texts:
        where, _, when = text.rpartition("=")
        stream, frame = _place(capture, where)
        clock = wall.streams[stream]
        anchor = Anchor(clock.monotonic_ns(frame), _moment(text, when), BY_HAND)
        found.setdefault(clock.boot, []).append(anchor)
    for boot, anchors in found.items():
        anchors.sort()
        for a, b in pairwise(anchors):
            _refuse_contradiction(boot, a, b)
    return dict(sorted(found.items()))


def _refuse_contradiction(boot: int, a: Anchor, b: Anchor) -> None:
    passed, told = b.monotonic_ns - a.monotonic_ns, b.utc_ns - a.utc_ns
    if not passed or abs(told - passed) > MAX_RATE * passed:
        raise StateError(
            f"boot {boot}: {passed * 1e-9:.3f} s passed between {utc_text(a.utc_ns)} and "
            f"{utc_text(b.utc_ns)}: no clock is so wrong",
            hint="look at both moments, or give only the one that is sure",
        )


def _place(capture: sqlite3.Connection, where: str) -> tuple[int, int]:
    """Stream and frame that a text means."""
    by_number = fullmatch(r"([0-9]{1,18}):([0-9]{1,18})", where)
    by_file = fullmatch(r"(.+?\.(?:wav|flac))(?:\+([0-9]{1,10}(?:\.[0-9]+)?))?", where)
    place = Place.of(Path(by_file[1]).stem + ".wav") if by_file else None
    if by_number:
        stream, frame, seconds = int(by_number[1]), int(by_number[2]), 0.0
    elif by_file and place:
        stream, frame, seconds = place.stream, place.first_frame, float(by_file[2] or 0)
    else:
        raise StateError(
            f"{where or 'nothing'}: expected the name of a segment, that and +SECONDS, "
            "or STREAM:FRAME",
            hint="for example --anchor 00001-000001-000000000000_unset.wav+12.5="
            "2026-11-24T17:30:00Z",
        )
    row = capture.execute(
        "SELECT rate_hz, coalesce(max(first_frame + n_frames), 0) FROM stream JOIN segment"
        " USING (stream) WHERE stream = ?",
        (stream,),
    ).fetchone()
    rate_hz, end = row
    frame += round(seconds * (rate_hz or 0))
    if rate_hz is None or frame > end:
        found = f"stream {stream} has {end}" if rate_hz else f"nothing is recorded in {stream}"
        raise StateError(
            f"{where}: frame {frame} is not in the recording: {found}",
            hint="is the name from this state folder?",
        )
    return stream, frame


def _moment(text: str, when: str) -> int:
    try:
        since = datetime.fromisoformat(when) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, TypeError):  # TypeError: without an offset from UTC
        since = timedelta(-1)
    utc_ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    if not 0 <= utc_ns <= _LAST_NS:
        raise StateError(
            f"{text}: expected a time from 1970 to 2261 with Z or an offset from UTC, found "
            f"{when or 'none'}",
            hint="for example 2026-11-24T17:30:00Z or 2026-11-24T18:30:00+01:00",
        )
    return utc_ns


def changes(capture: sqlite3.Connection, new: New) -> list[Change]:
    """What new readings would do, by boot."""
    wall = Wall.read(capture)
    found = []
    for boot, anchors in new.items():
        old, fresh = wall.boots[boot], BootClock(anchors)
        first, last, end = capture.execute(
            "SELECT min(stream), max(stream), coalesce((SELECT max(first_frame + n_frames)"
            " FROM segment WHERE stream = (SELECT max(stream) FROM stream WHERE boot = :boot)), 0)"
            " FROM stream WHERE boot = :boot",
            {"boot": boot},
        ).fetchone()
        times = wall.streams[first].monotonic_ns(0), wall.streams[last].monotonic_ns(end)
        before, after = ((c.at(times[0]).utc_ns, c.at(times[1]).utc_ns) for c in (old, fresh))
        found.append(Change(boot, old.trust, before, after, fresh.pieces[0].rate))
    return found


def apply(path: Path, new: New) -> None:
    """Write new readings; all or none. Only whoever holds the lock of the state folder may.

    Parameters
    ----------
    path : Path
        ``capture.sqlite``.
    new : mapping

    Raises
    ------
    sqlite3.Error
        The disk fails, or the database is damaged; nothing has changed.
    """
    ledger = Ledger(path)
    try:
        with ledger.transaction():
            for boot, anchors in new.items():
                ledger.forget_anchors(boot, BY_HAND)
                for anchor in anchors:
                    ledger.add_anchor(boot, anchor.monotonic_ns, anchor.utc_ns, anchor.trust)
    finally:
        ledger.close()
