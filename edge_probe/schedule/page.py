"""A schedule as text, for people and for power boards."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

from edge_probe.deployment.spans import Span as Period
from edge_probe.schedule.calendar import Schedule
from edge_probe.schedule.table import DAY_S

_DAYS = 7
_MOST_LISTED = 4
_COLUMNS = 48
"""Half an hour each."""


def next_turns(schedule: Schedule, now_s: int) -> dict[str, object]:
    """What a power board has to know: whether to be on now, when next, and until when.

    Parameters
    ----------
    schedule : Schedule
    now_s : int
        UTC, seconds since 1970.

    Returns
    -------
    dict
        ``next_on_*`` begins the next period that has not begun; ``next_off_*`` ends the one that
        runs, or else that one. RFC 3339, in UTC and in the deployment's offset. None: never.
    """
    now = schedule.at(now_s)
    on_s, off_s = (None, now.until_s) if now.is_on else (now.until_s, None)
    if on_s is None and off_s is not None:
        on_s = schedule.at(off_s).until_s
    elif on_s is not None:
        off_s = schedule.at(on_s).until_s
    found: dict[str, object] = {"is_on": now.is_on}
    for name, at_s in (("now", now_s), ("next_on", on_s), ("next_off", off_s)):
        found[f"{name}_utc"] = None if at_s is None else _text(at_s, UTC)
        found[f"{name}_local"] = None if at_s is None else _text(at_s, _zone(schedule))
    return found


def week(schedule: Schedule, now_s: int) -> Iterator[str]:
    """Seven days from today on, a line each: a bar of half hours, the time on, the periods."""
    offset_s = round(schedule.utc_offset.total_seconds())
    today_s = (now_s + offset_s) // DAY_S * DAY_S - offset_s
    place = f"{schedule.place.latitude:g}, {schedule.place.longitude:g}; " if schedule.place else ""
    yield f"{schedule.table}"
    yield f"{place}all times {_text(now_s, _zone(schedule))[-6:]} from UTC"
    yield f"{'':11}{''.join(f'{hour:<8}' for hour in range(0, 24, 4))}"
    for begin_s in range(today_s, today_s + _DAYS * DAY_S, DAY_S):
        periods = schedule.periods(begin_s, begin_s + DAY_S)
        hours = sum(end - begin for begin, end in periods) / 3600
        bar = "".join(_mark(periods, begin_s + n * DAY_S // _COLUMNS) for n in range(_COLUMNS))
        date = _text(begin_s, _zone(schedule))[:10]
        yield f"{date} {bar} {hours:4.1f} h  {_listed(periods, begin_s)}".rstrip()


def _mark(periods: Sequence[Period], begin_s: int) -> str:
    end_s = begin_s + DAY_S // _COLUMNS
    on_s = sum(max(0, min(end, end_s) - max(begin, begin_s)) for begin, end in periods)
    return "·" if on_s == 0 else "█" if on_s == end_s - begin_s else "▒"


def _listed(periods: Sequence[Period], midnight_s: int) -> str:
    if len(periods) > _MOST_LISTED:
        return f"{len(periods)} times"
    return ", ".join(f"{_clock(a - midnight_s)}-{_clock(b - midnight_s)}" for a, b in periods)


def _clock(seconds: int) -> str:
    """After midnight, which itself is 24:00 at the end of the day."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


def _zone(schedule: Schedule) -> timezone:
    return timezone(schedule.utc_offset)


def _text(moment_s: int, zone: timezone) -> str:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    text = (epoch + timedelta(seconds=moment_s)).astimezone(zone).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z") if zone is UTC else text
