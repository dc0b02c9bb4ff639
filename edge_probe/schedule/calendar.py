"""What a schedule means: periods of recording, in UTC seconds since 1970.

Days are those of the deployment's fixed offset. A span whose end comes before its begin on a day of
twelve hours at the deployment's longitude ends on the next day; whether it does is the same all
year, and on a day on which it would end before it begins, it is empty.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from edge_probe.deployment.spans import Span as Period
from edge_probe.deployment.spans import common, merged, without
from edge_probe.schedule.table import DAY_S, EVENTS, Edge, Span, Table

if TYPE_CHECKING:
    from edge_probe.deployment.settings import Settings

HORIZON_DAYS = 512
"""So far ahead the next change is looked for: farther than a year, so that there is none."""

_HALF_DAY_S = DAY_S // 2
_DEGREE_S = 240
_MARGIN_DAYS = 3
"""A span may begin as long before its day, or end as long behind it."""


class Place(NamedTuple):
    """Where the sun is looked at, degrees."""

    latitude: float
    longitude: float


class Change(NamedTuple):
    """What a schedule says at a moment, and until when."""

    is_on: bool
    until_s: int | None
    """None: for all that can be told."""


class Schedule:
    """A table at a place.

    Parameters
    ----------
    table : Table
    utc_offset : timedelta
    place : Place, optional
        Needed where the table asks for the sun.
    """

    def __init__(self, table: Table, utc_offset: timedelta, place: Place | None = None) -> None:
        self.table = table
        self.utc_offset = utc_offset
        self._offset_s = round(utc_offset.total_seconds())
        self.place = place
        longitude = place.longitude if place else 0.0
        local_noon_s = _HALF_DAY_S - _DEGREE_S * longitude + self._offset_s
        self._noon_days, self._noon_s = divmod(local_noon_s, DAY_S)
        self._on = [(span, self._wraps(span)) for span in table.on]
        self._quiet = [(span, self._wraps(span)) for span in table.quiet]

    def periods(self, begin_s: int, end_s: int) -> list[Period]:
        """When to record in [begin_s, end_s): ascending, neither touching nor overlapping."""
        window = [(begin_s, end_s)] if begin_s < end_s else []
        found = common(window, self._spans(self._on, begin_s, end_s)) if self._on else window
        found = without(found, self._spans(self._quiet, begin_s, end_s))
        if self.table.every_s and self.table.record_s:
            turns = self._duty(begin_s, end_s, self.table.record_s, self.table.every_s)
            found = common(found, turns)
        return found

    def at(self, moment_s: int) -> Change:
        """Whether to record at a moment, and until when that holds."""
        for days in (1, 8, 64, HORIZON_DAYS):
            end_s = moment_s + days * DAY_S
            found = self.periods(moment_s, end_s)
            if found and found[0][0] > moment_s:
                return Change(False, found[0][0])
            if found and found[0][1] < end_s:
                return Change(True, found[0][1])
        return Change(bool(found), None)

    def _spans(self, spans: Iterable[tuple[Span, bool]], begin_s: int, end_s: int) -> list[Period]:
        first, last = ((at_s + self._offset_s) // DAY_S for at_s in (begin_s, end_s))
        found = (
            (self._edge_s(span.begin, day), self._edge_s(span.end, day + wraps))
            for span, wraps in spans
            for day in range(first - _MARGIN_DAYS, last + _MARGIN_DAYS)
        )
        return merged(sorted((begin, end) for begin, end in found if begin < end))

    def _duty(self, begin_s: int, end_s: int, record_s: int, every_s: int) -> list[Period]:
        """Turns, counted from local midnight."""
        first_s = (begin_s + self._offset_s) // every_s * every_s - self._offset_s
        return [(at_s, at_s + record_s) for at_s in range(first_s, end_s, every_s)]

    def _edge_s(self, edge: Edge, day: int) -> int:
        """UTC of an edge on a local day, counted since 1970."""
        if edge.event is None:
            return day * DAY_S + edge.minutes * 60 - self._offset_s
        if self.place is None:
            raise ValueError(f"{edge} needs a place")
        from edge_probe.schedule.sun import sun_time_s

        at_s = sun_time_s(*self.place, day - int(self._noon_days), edge.event)
        return at_s + edge.minutes * 60

    def _wraps(self, span: Span) -> bool:
        """Whether a span ends on the day after."""
        return self._usual_min(span.end) <= self._usual_min(span.begin)

    def _usual_min(self, edge: Edge) -> float:
        """Minutes after local midnight of an edge, on a day of twelve hours."""
        if edge.event is None:
            return edge.minutes
        return self._noon_s / 60 + EVENTS[edge.event] + edge.minutes


def schedule_of(settings: "Settings") -> Schedule | None:
    """The schedule of a deployment; None: it records all the time."""
    if settings.schedule is None:
        return None
    offset = settings.require("utc_offset", because="a schedule has to know what 05:00 means")
    place = None
    if settings.schedule.needs_sun:
        place = Place(
            settings.require("latitude", because="a schedule asks for the sun there"),
            settings.require("longitude", because="a schedule asks for the sun there"),
        )
    return Schedule(settings.schedule, offset, place)
