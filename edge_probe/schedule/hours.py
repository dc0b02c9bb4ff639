"""What a recorder asks of its schedule, by the best that is known of the time in this boot."""

import logging
from collections.abc import Sequence

from edge_probe.clock import Clock
from edge_probe.deployment.wall import TRUST
from edge_probe.schedule.calendar import Change, Schedule

_log = logging.getLogger(__name__)

LOOK_NS = 10**9
"""Between two readings of the clock."""

MOST_NS = 31 * 86_400 * 10**9
"""A silence that is longer is not cut: nobody looks after that deployment."""

OFF = "schedule"
"""Cause of a gap in which nothing was to be recorded."""


class Hours:
    """When to record, and why nothing was recorded.

    Reading and asking may be done in different threads.

    Parameters
    ----------
    schedule : Schedule
    clock : Clock
        As long as it was never set in this boot, all time counts as on: rather too much is
        recorded than nothing. Afterwards the best reading holds, carried by the monotonic clock,
        as in `edge_probe.deployment.wall`.
    """

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._looked_ns = self._began_ns - LOOK_NS
        self._known: tuple[int, int] | None = None  # rank of the trust, UTC minus monotonic
        self._said: tuple[int, Change] = 0, Change(True, 0)  # from when on, what
        self._was_told = False
        self._look()

    @property
    def is_on(self) -> bool:
        """Whether to record now."""
        self._look()
        utc_ns = self.utc_ns(self._clock.monotonic_ns())
        if utc_ns is None:
            if not self._was_told:
                _log.warning("the clock is not set: recording all the time until it is")
            self._was_told = True
            return True
        now_s = utc_ns // 10**9
        from_s, change = self._said
        if now_s < from_s or (change.until_s is not None and now_s >= change.until_s):
            change = self._schedule.at(now_s)
            self._said = now_s, change
        return change.is_on

    @property
    def is_known(self) -> bool:
        """Whether the time is known by now."""
        return self._known is not None

    def utc_ns(self, monotonic_ns: int) -> int | None:
        """UTC of a moment of this boot; None: not known yet."""
        return None if self._known is None else monotonic_ns + self._known[1]

    def parts(self, cause: str, begin_utc_ns: int, end_utc_ns: int) -> Sequence[tuple[int, str]]:
        """A silence, cut where the schedule turned.

        Parameters
        ----------
        cause : str
            Why it began. If it was by the schedule, or in order, then what it lasted longer than
            that is the microphone's fault where this process was there, or else a lack of power.
        begin_utc_ns, end_utc_ns : int

        Returns
        -------
        sequence of (int, str)
            UTC in ns from when on, and cause, of each part.
        """
        if not 0 < end_utc_ns - begin_utc_ns <= MOST_NS:
            return [(begin_utc_ns, cause)]
        found: list[tuple[int, str]] = []
        at_ns = begin_utc_ns
        for begin_s, end_s in self._schedule.periods(
            begin_utc_ns // 10**9, -(-end_utc_ns // 10**9)
        ):
            begin_ns = max(begin_utc_ns, begin_s * 10**9)
            if begin_ns > at_ns:
                found.append((at_ns, OFF))
            found.append((begin_ns, self._missing(begin_ns) if cause == OFF else cause))
            at_ns = end_s * 10**9
        if at_ns < end_utc_ns:
            found.append((at_ns, OFF))
        return found

    def _missing(self, begin_utc_ns: int) -> str:
        began_utc_ns = self.utc_ns(self._began_ns)
        return "device" if began_utc_ns is not None and begin_utc_ns >= began_utc_ns else "power"

    def _look(self) -> None:
        """Read the clock, and keep what is as good as what is known, or better."""
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = now_ns
        rank = TRUST.index(self._clock.trust())
        if rank > 0 and (self._known is None or rank >= self._known[0]):
            self._known = rank, self._clock.utc_ns() - now_ns
