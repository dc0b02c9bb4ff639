"""When the sun rises and sets; the one module with astral, imported when somebody asks."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from astral import Observer, SunDirection
from astral.sun import SUN_APPARENT_RADIUS, elevation, noon, time_at_elevation

from edge_probe.schedule.table import DAY_S

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HALF_S = DAY_S // 2
_MINUTE_S = 60

_DEGREES = {
    "nautical_dawn": -12.0, "civil_dawn": -6.0, "sunrise": -SUN_APPARENT_RADIUS,
    "sunset": -SUN_APPARENT_RADIUS, "civil_dusk": -6.0, "nautical_dusk": -12.0,
}  # fmt: skip
"""Elevation of the sun's centre, as astral defines its own dawn, sunrise, sunset and dusk."""

_STEP_S = 60
_LEAST_RATE = 1e-4
"""Degrees a second: where the sun moves more slowly its height does not tell the time."""
_MOST_SHIFT_S = 600

_RISING = ("nautical_dawn", "civil_dawn", "sunrise")


@lru_cache(maxsize=4096)
def sun_time_s(latitude: float, longitude: float, day: int, event: str) -> int:
    """UTC of an event around the solar noon of a day, as seconds since 1970, to a whole minute.

    Parameters
    ----------
    latitude, longitude : float
        Degrees.
    day : int
        Days since 1970 of the date at the meridian: its noon is at 12:00 minus 4 min a degree, UTC.
    event : str
        One of `edge_probe.schedule.table.EVENTS`.

    Returns
    -------
    int
        Within half a day of that noon. Where the sun stays above the event's elevation all day it
        is the midnight before or behind the noon; where it stays below, the noon itself: it is
        what the event comes to on the last day on which there is one.
    """
    on = date(1970, 1, 1) + timedelta(day)
    place = Observer(latitude, longitude)
    noon_s = _seconds(noon(place, on))
    sign = -1 if event in _RISING else 1
    found_s = [
        sign * (at_s - noon_s)
        for shift in (0, -1, 1)  # astral counts dates by UTC
        if (at_s := _crossing_s(place, on + timedelta(shift), event)) is not None
    ]
    if not found_s:
        stays_above = _stays_above(place, noon_s, _DEGREES[event])
        to_midnight_s = _to_midnight_s(place, on, noon_s, sign) if stays_above else 0.0
        return _to_minute(noon_s + sign * to_midnight_s)
    from_noon_s = next((s for s in found_s if 0 <= s <= _HALF_S), None)
    if from_noon_s is None:  # of the date beside it: of two on a date astral tells one
        from_noon_s = min(found_s[0] % DAY_S, _HALF_S)
    crossing_s = noon_s + sign * from_noon_s
    return _to_minute(crossing_s + _shift_s(place, crossing_s, event))


def _to_minute(at_s: float) -> int:
    return round(at_s / _MINUTE_S) * _MINUTE_S


def _to_midnight_s(place: Observer, on: date, noon_s: int, sign: int) -> float:
    """Half the way to the noon of the day beside it: both days have one midnight."""
    return abs(_seconds(noon(place, on + timedelta(sign))) - noon_s) / 2


def _crossing_s(place: Observer, on: date, event: str) -> int | None:
    direction = SunDirection.RISING if event in _RISING else SunDirection.SETTING
    try:
        return _seconds(time_at_elevation(place, _DEGREES[event], on, direction))
    except ValueError:  # it never does on that date: so says astral
        return None


def _shift_s(place: Observer, at_s: int, event: str) -> int:
    """What is missing to the event: near midnight UTC astral takes the sun of the day beside it."""
    before, after = (
        elevation(place, _EPOCH + timedelta(seconds=at_s + step)) for step in (-_STEP_S, _STEP_S)
    )
    rate = (after - before) / (2 * _STEP_S)
    if (rate > 0) != (event in _RISING) or abs(rate) < _LEAST_RATE:
        return 0
    shift_s = (_DEGREES[event] - (before + after) / 2) / rate
    return round(max(-_MOST_SHIFT_S, min(_MOST_SHIFT_S, shift_s)))


def _stays_above(place: Observer, noon_s: int, degrees: float) -> bool:
    """Where it never crosses: by the middle between its highest and its lowest place."""
    highest, lowest = (
        elevation(place, _EPOCH + timedelta(seconds=at_s), with_refraction=False)
        for at_s in (noon_s, noon_s + _HALF_S)
    )
    return (highest + lowest) / 2 > degrees


def _seconds(moment: datetime) -> int:
    return round(moment.timestamp())
