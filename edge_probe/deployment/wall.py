"""Wall time of what was recorded: UTC, and how far it may be trusted.

Frames and the monotonic clock are facts; UTC is a reading that may be wrong and that may become
better later. So it is never stored with a record but worked out from `clock_anchor`, readings of
both clocks at one moment:

* within a boot the monotonic clock carries the best readings backwards and forwards: what was
  recorded before the network came gets its right time too;
* where readings of equal trust differ, the clock was stepped: the nearest reading counts;
* readings by hand (`retime`) are points of a line, so two of them correct the rate as well;
* nothing is carried from one boot to another.

Durations are frames, never differences of wall times. There is no local time and no summer time.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import NamedTuple, Self

TRUST = ("unset", "rtc", "ntp", "gps", "manual")
"""Levels, rising."""

STEP_NS = 10_000_000
"""Readings that agree this well are one clock that was not stepped: two clocks cannot be read at
the same instant by a busy processor, and NTP daemons step by more (from 0.1 s)."""

KNOT_S = 600
"""Times of segments are off by milliseconds and need not be followed each; sound cards drift
slowly enough for a straight line over this long."""

_EVER_NS = -(2**63)


class WallTime(NamedTuple):
    """A moment."""

    utc_ns: int
    """Since 1970."""
    trust: str
    """One of `TRUST`; ``unset`` means that the time is worth nothing."""


class Anchor(NamedTuple):
    """Both clocks at one moment of a boot."""

    monotonic_ns: int
    utc_ns: int
    trust: str


class Piece(NamedTuple):
    """A part of a boot in which UTC goes with the monotonic clock along one line."""

    from_ns: int
    """Monotonic time from which it holds, until the next piece does."""
    monotonic_ns: int
    utc_ns: int
    """At `monotonic_ns`."""
    rate: float = 0.0
    """By which fraction UTC runs faster than the monotonic clock."""

    def utc(self, monotonic_ns: int) -> int:
        """UTC in ns."""
        passed = monotonic_ns - self.monotonic_ns
        return self.utc_ns + passed + round(passed * self.rate)

    def monotonic(self, utc_ns: int) -> int:
        """Monotonic time in ns at which it is ``utc_ns`` on this line."""
        passed = utc_ns - self.utc_ns
        return self.monotonic_ns + passed - round(passed * self.rate / (1 + self.rate))


class BootClock:
    """UTC in one boot.

    Parameters
    ----------
    anchors : iterable of Anchor
        In the order of their monotonic times; without any, the boot began in 1970.
    """

    def __init__(self, anchors: Iterable[Anchor]) -> None:
        runs: dict[str, list[_Run]] = {}
        for anchor in anchors:
            known = runs.setdefault(anchor.trust, [])
            if not (known and known[-1].takes(anchor)):
                known.append(_Run(anchor))
        if not runs:
            runs[TRUST[0]] = [_Run(Anchor(0, 0, TRUST[0]))]
        self.trust = max(runs, key=TRUST.index)
        best = runs[self.trust]
        by_hand = self.trust == TRUST[-1] and len(best) > 1
        self.pieces = list(_lines(best) if by_hand else _steps(best))

    def piece(self, monotonic_ns: int) -> Piece:
        """The piece that holds at a moment."""
        return self.pieces[bisect_right(self.pieces, monotonic_ns, key=lambda p: p.from_ns) - 1]

    def at(self, monotonic_ns: int) -> WallTime:
        """Wall time of a moment of the boot."""
        return WallTime(self.piece(monotonic_ns).utc(monotonic_ns), self.trust)


class _Run:
    """Readings of equal trust between which the clock was not stepped."""

    def __init__(self, first: Anchor) -> None:
        self.first = first
        self.last_ns = first.monotonic_ns

    def takes(self, anchor: Anchor) -> bool:
        """Whether a later reading belongs to it."""
        went = anchor.utc_ns - self.first.utc_ns
        passed = anchor.monotonic_ns - self.first.monotonic_ns
        if anchor.trust == TRUST[-1] or abs(went - passed) > STEP_NS:
            return False
        self.last_ns = anchor.monotonic_ns
        return True


def _steps(runs: list[_Run]) -> Iterator[Piece]:
    """The nearest reading counts: from the middle between two runs on it is the later one."""
    from_ns = _EVER_NS
    for n, run in enumerate(runs):
        if n:
            from_ns = (runs[n - 1].last_ns + run.first.monotonic_ns) // 2
        yield Piece(from_ns, run.first.monotonic_ns, run.first.utc_ns)


def _lines(points: list[_Run]) -> Iterator[Piece]:
    """Through each two neighbours; the outer lines go on."""
    from_ns = _EVER_NS
    for run, following in pairwise(points):
        a, b = run.first, following.first
        rate = (b.utc_ns - a.utc_ns) / (b.monotonic_ns - a.monotonic_ns) - 1
        yield Piece(from_ns, a.monotonic_ns, a.utc_ns, rate)
        from_ns = b.monotonic_ns


class Knot(NamedTuple):
    """A frame whose time is known."""

    frame: int
    monotonic_ns: int


class StreamClock:
    """When the frames of a stream were: straight lines through frames whose time is known.

    Parameters
    ----------
    boot : int
        Number of its boot.
    clock : BootClock
        Of that boot.
    knots : iterable of Knot
        Ascending; the first is frame 0. Of any within `KNOT_S` the first one counts, and none
        that is no later than the one before (a ledger that was rebuilt has times of 0).
    frame_s : float
        Seconds from one frame to the next, behind the last knot.
    """

    def __init__(self, boot: int, clock: BootClock, knots: Iterable[Knot], frame_s: float) -> None:
        self.boot = boot
        self.clock = clock
        self._frame_ns = frame_s * 1e9
        self.rate_hz = 1 / frame_s
        """By the clock."""
        self._knots: list[Knot] = []
        for knot in knots:
            last = self._knots[-1] if self._knots else None
            if last is None or (
                (knot.frame - last.frame) * frame_s >= KNOT_S
                and knot.monotonic_ns > last.monotonic_ns
            ):
                self._knots.append(knot)

    def monotonic_ns(self, frame: int) -> int:
        """Monotonic time of a frame."""
        n = max(1, bisect_right(self._knots, frame, key=lambda k: k.frame))
        begin = self._knots[n - 1]
        return begin.monotonic_ns + round((frame - begin.frame) * self._ns_per_frame(n))

    def frame(self, monotonic_ns: int) -> int:
        """The frame nearest to a moment; negative before the stream."""
        n = max(1, bisect_right(self._knots, monotonic_ns, key=lambda k: k.monotonic_ns))
        begin = self._knots[n - 1]
        return begin.frame + round((monotonic_ns - begin.monotonic_ns) / self._ns_per_frame(n))

    def _ns_per_frame(self, n: int) -> float:
        """Between knot n - 1 and knot n."""
        if n == len(self._knots):
            return self._frame_ns
        begin, end = self._knots[n - 1], self._knots[n]
        return (end.monotonic_ns - begin.monotonic_ns) / (end.frame - begin.frame)

    def at(self, frame: int) -> WallTime:
        """Wall time of a frame."""
        return self.clock.at(self.monotonic_ns(frame))

    def steady(self, end_frame: int) -> Iterator[tuple[int, int, Piece]]:
        """Frames [0, end_frame) cut where the wall clock was stepped: begin, end, piece."""
        begin = 0
        for n, piece in enumerate(self.clock.pieces, 1):
            end = end_frame
            if n < len(self.clock.pieces):
                end = min(end, self.frame(self.clock.pieces[n].from_ns))
            if end > begin:
                yield begin, end, piece
                begin = end


class Moment(NamedTuple):
    """A moment by a clock that never jumps."""

    boot: int
    monotonic_ns: int


class Wall:
    """The clocks of a whole state folder.

    Parameters
    ----------
    boots : mapping of the number of a boot to its clock
    streams : mapping of the number of a stream to its clock
    """

    def __init__(self, boots: dict[int, BootClock], streams: dict[int, StreamClock]) -> None:
        self.boots = boots
        self.streams = streams

    @classmethod
    def read(cls, capture: sqlite3.Connection) -> Self:
        """From an open ``capture.sqlite``."""
        boots = {}
        for (boot,) in capture.execute("SELECT boot FROM boot").fetchall():
            anchors = capture.execute(
                "SELECT monotonic_ns, utc_ns, trust FROM clock_anchor WHERE boot = ?"
                " ORDER BY monotonic_ns",
                (boot,),
            )
            boots[boot] = BootClock(map(Anchor._make, anchors))
        streams = {}
        for stream, boot, rate_hz, opened_ns, drift in capture.execute(
            "SELECT stream, boot, rate_hz, opened_ns, drift FROM stream ORDER BY stream"
        ).fetchall():
            segments = capture.execute(
                "SELECT first_frame, began_ns FROM segment WHERE stream = ? ORDER BY first_frame",
                (stream,),
            )
            knots = chain([Knot(0, opened_ns)], map(Knot._make, segments))
            frame_s = 1 / (rate_hz * (1 - drift))
            streams[stream] = StreamClock(boot, boots[boot], knots, frame_s)
        return cls(boots, streams)

    def open_gap(self, stream: int, first_frame: int, end: Moment) -> int | None:
        """Frames of a gap that lasts until a moment, or None if nobody can know.

        Parameters
        ----------
        stream : int
            The one the gap belongs to.
        first_frame : int
        end : Moment
            In a later boot it is found by the wall clocks of both, if both may be trusted and do
            not contradict each other.
        """
        clock = self.streams[stream]
        end_ns: int | None = end.monotonic_ns
        if end.boot != clock.boot:
            end_ns = self._carried(clock.clock, end)
        if end_ns is None:
            return None
        n_frames = clock.frame(end_ns) - first_frame
        if n_frames < 0:
            # Within a boot a part of the drift's error; more than that, and the clocks are wrong,
            # or times were lost with a ledger.
            return 0 if end.boot == clock.boot and n_frames > -clock.rate_hz else None
        return n_frames

    def _carried(self, clock: BootClock, moment: Moment) -> int | None:
        """A moment of another boot by this boot's monotonic clock, had it gone on."""
        other = self.boots[moment.boot]
        if "unset" in (clock.trust, other.trust):
            return None
        return clock.pieces[-1].monotonic(other.at(moment.monotonic_ns).utc_ns)


def utc_text(utc_ns: int) -> str:
    """RFC 3339 with milliseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=utc_ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
