"""What a schedule means, against a look at every minute; the sun, against other formulas."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from math import asin, atan2, cos, degrees, radians, sin
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from edge_probe.cli import main
from edge_probe.deployment.settings import parse_settings
from edge_probe.errors import DeploymentError
from edge_probe.schedule.calendar import Place, Schedule, schedule_of
from edge_probe.schedule.sun import sun_time_s
from edge_probe.schedule.table import EVENTS, Edge, Span, Table, parse_table

DAY = 86_400
YEARS = (int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) // DAY,
         int(datetime(2060, 1, 1, tzinfo=UTC).timestamp()) // DAY)  # fmt: skip
DIVISORS = [n for n in range(60, DAY + 1, 60) if DAY % n == 0]

clock_edges = st.builds(Edge, st.none(), st.integers(0, 1439))
sun_edges = st.builds(Edge, st.sampled_from(sorted(EVENTS)), st.integers(-720, 720))
edges = clock_edges | sun_edges
spans = st.builds(Span, edges, edges).filter(lambda span: span.begin != span.end)
places = st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))
offsets = st.integers(-48, 56).map(lambda n: timedelta(minutes=15 * n))
moments = st.integers(YEARS[0] * 1440, YEARS[1] * 1440)
"""Minutes since 1970."""


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """With turns of whole minutes, so that a look at every minute sees everything."""
    duty: tuple[int | None, int | None] = (None, None)
    if draw(st.booleans()):
        every = draw(st.sampled_from(DIVISORS[1:]))
        duty = 60 * draw(st.integers(1, every // 60 - 1)), every
    some = st.lists(spans, max_size=3).map(tuple)
    return Table(draw(some), draw(some), *duty)


schedules = st.builds(Schedule, tables(), offsets, places)


def is_on(schedule: Schedule, moment_s: int) -> bool:
    """By the words of the README, for one moment."""
    local_s = moment_s + round(schedule.utc_offset.total_seconds())
    table = schedule.table
    if table.on and not any(covers(schedule, span, moment_s) for span in table.on):
        return False
    if any(covers(schedule, span, moment_s) for span in table.quiet):
        return False
    return table.every_s is None or local_s % DAY % table.every_s < (table.record_s or 0)


def covers(schedule: Schedule, span: Span, moment_s: int) -> bool:
    zone = timezone(schedule.utc_offset)
    today = datetime.fromtimestamp(moment_s, zone).replace(hour=0, minute=0, second=0)
    wraps = usual(schedule, span.end) <= usual(schedule, span.begin)
    for days in range(-4, 5):
        begin = edge(schedule, span.begin, today + timedelta(days))
        end = edge(schedule, span.end, today + timedelta(days + wraps))
        if begin <= moment_s < end:
            return True
    return False


def edge(schedule: Schedule, at: Edge, midnight: datetime) -> float:
    if at.event is None:
        return midnight.timestamp() + 60 * at.minutes
    assert schedule.place is not None
    noon = noon_of(schedule, midnight)
    day = (noon - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    solar_day = round(day - 0.5 + schedule.place.longitude / 360)
    return sun_time_s(*schedule.place, solar_day, at.event) + 60 * at.minutes


def noon_of(schedule: Schedule, midnight: datetime) -> datetime:
    """The mean solar noon that falls on a local day."""
    assert schedule.place is not None
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC) - timedelta(minutes=4 * schedule.place.longitude)
    return noon - timedelta(days=(noon - midnight) // timedelta(days=1))


def usual(schedule: Schedule, at: Edge) -> float:
    if at.event is None:
        return at.minutes
    zone = timezone(schedule.utc_offset)
    midnight = datetime(2000, 1, 1, tzinfo=zone)
    noon_min = (noon_of(schedule, midnight) - midnight) / timedelta(minutes=1)
    return noon_min + EVENTS[at.event] + at.minutes


@settings(max_examples=50, deadline=None)
@given(schedules, moments, st.integers(1, 3000))
def test_periods_are_what_a_look_at_every_minute_finds(
    schedule: Schedule, begin_min: int, n_minutes: int
) -> None:
    begin, end = begin_min * 60, (begin_min + n_minutes) * 60
    found = schedule.periods(begin, end)
    assert all(a < b for a, b in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    assert not found or (found[0][0] >= begin and found[-1][1] <= end)
    step = 60 * max(1, n_minutes // 300)
    moments_s = {*range(begin, end, step), *(t for p in found for t in (p[0], p[1] - 60))}
    for moment_s in moments_s:
        assert is_on(schedule, moment_s) == any(a <= moment_s < b for a, b in found)


@settings(max_examples=50, deadline=None)
@given(schedules, moments)
def test_the_next_turn_is_where_a_look_at_every_minute_sees_one(
    schedule: Schedule, now_min: int
) -> None:
    change = schedule.at(now_min * 60)
    assert change.is_on == is_on(schedule, now_min * 60)
    if change.until_s is not None:
        assert change.until_s > now_min * 60
        assert is_on(schedule, change.until_s) != change.is_on
    most = now_min + 1500
    end = most if change.until_s is None else min(most, change.until_s // 60)
    for minute in range(now_min, end, 7):
        assert is_on(schedule, minute * 60) == change.is_on


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([n for n in range(20, DAY + 1) if DAY % n == 0]), st.data(), offsets, moments
)
def test_a_duty_cycle_is_exact_to_the_second(
    every_s: int, data: st.DataObject, offset: timedelta, day_min: int
) -> None:
    record_s = data.draw(st.integers(10, every_s - 10))
    schedule = Schedule(Table((), (), record_s, every_s), offset)
    offset_s = round(offset.total_seconds())
    midnight = (day_min * 60 + offset_s) // DAY * DAY - offset_s
    found = schedule.periods(midnight, midnight + DAY)
    assert [begin for begin, _ in found] == list(range(midnight, midnight + DAY, every_s))
    assert {end - begin for begin, end in found} == {record_s}
    whole = schedule.periods(midnight + every_s // 2, midnight + every_s // 2 + 3 * DAY)
    assert sum(end - begin for begin, end in whole) == 3 * DAY // every_s * record_s


@settings(max_examples=30, deadline=None)
@given(schedules, moments, st.lists(st.integers(1, 4 * DAY), min_size=1, max_size=4))
def test_a_window_may_be_cut_anywhere(
    schedule: Schedule, begin_min: int, lengths: Sequence[int]
) -> None:
    cuts = [begin_min * 60]
    for length in lengths:
        cuts.append(cuts[-1] + length)
    pieces = [schedule.periods(a, b) for a, b in pairwise(cuts)]
    whole = schedule.periods(cuts[0], cuts[-1])
    length = sum(b - a for piece in pieces for a, b in piece)
    assert length == sum(b - a for a, b in whole)


def elevation(place: Place, moment_s: float) -> float:
    """Of the sun's centre, without refraction, in degrees; good to a hundredth.

    Source: US Naval Observatory, "Computing Approximate Solar Coordinates" and "Computing
    Approximate Sidereal Time".
    """
    d = moment_s / DAY - 10957.5  # days since 2000-01-01 12:00 UT
    g = radians(357.529 + 0.98560028 * d)
    along = radians(280.459 + 0.98564736 * d + 1.915 * sin(g) + 0.020 * sin(2 * g))
    tilt = radians(23.439 - 0.00000036 * d)
    declination = asin(sin(tilt) * sin(along))
    ascension = atan2(cos(tilt) * sin(along), cos(along))
    hour = radians(15 * (18.697375 + 24.065709824279 * d) + place.longitude) - ascension
    latitude = radians(max(-89.8, min(89.8, place.latitude)))  # as astral has it
    return degrees(
        asin(
            sin(latitude) * sin(declination)
            + cos(latitude) * cos(declination) * cos(hour)
        )
    )  # fmt: skip


ELEVATION = {"sunrise": -0.83, "sunset": -0.83, "civil_dawn": -6.05, "civil_dusk": -6.05,
             "nautical_dawn": -12.03, "nautical_dusk": -12.03}  # fmt: skip
"""Of the centre: half the sun's width, and refraction at the horizon."""


@settings(max_examples=200, deadline=None)
@given(places, st.integers(*YEARS), st.sampled_from(sorted(EVENTS)))
@example(Place(90.0, 0.0), YEARS[0] + 170, "sunrise")
@example(Place(-90.0, 180.0), YEARS[0] + 170, "civil_dusk")
@example(Place(-68.0, 72.0), 10_652, "sunrise")  # at midnight UTC
def test_the_sun_is_where_the_event_says(place: Place, day: int, event: str) -> None:
    at_s = sun_time_s(*place, day, event)
    mean_noon_s = day * DAY + DAY / 2 - 240 * place.longitude
    hours = [mean_noon_s + 600 * n for n in range(-72, 73)]
    above = [elevation(place, s) - ELEVATION[event] for s in hours]
    rises = event in ("sunrise", "civil_dawn", "nautical_dawn")
    behind_s = (mean_noon_s - at_s) * (1 if rises else -1)
    if min(above) > 0.3:
        assert behind_s == pytest.approx(DAY / 2, abs=20 * 60)
    elif max(above) < -0.3:
        assert behind_s == pytest.approx(0, abs=20 * 60)
    else:
        assert -20 * 60 <= behind_s <= DAY / 2 + 20 * 60
        assume(min(above) < -0.3 and max(above) > 0.3)
        assert elevation(place, at_s) == pytest.approx(ELEVATION[event], abs=0.3)
        moves = elevation(place, at_s + 600) - elevation(place, at_s - 600)
        assert (moves > 0) == rises or abs(moves) < 0.1


def test_known_times_of_the_sun() -> None:
    """Berlin at midsummer, to two minutes: 4:43 and 21:33 summer time, as printed in almanacs."""
    day = int(datetime(2026, 6, 21, tzinfo=UTC).timestamp()) // DAY
    for event, hours, minutes in (("sunrise", 2, 43), ("sunset", 19, 33)):
        found = sun_time_s(52.52, 13.405, day, event)
        assert found - day * DAY == pytest.approx(hours * 3600 + minutes * 60, abs=120)


POLAR = """
deployment_id = "tromsoe"
latitude = 69.65
longitude = 18.96
utc_offset = "+01:00"
[schedule]
"""


@pytest.mark.parametrize(
    ("span", "june_h", "december_h"),
    [
        ("sunrise to sunset", 24, 0),
        ("sunset to sunrise", 0, 24),
        ("sunrise-00:30 to sunrise+03:00", 3.5, 3.5),
        ("civil_dawn to sunset", 24, pytest.approx(2.4, abs=0.5)),
    ],
)
def test_polar_day_and_night_are_the_seasons_carried_on(
    span: str, june_h: float, december_h: float
) -> None:
    schedule = schedule_of(parse_settings(f'{POLAR}on = ["{span}"]'.encode(), "x"))
    assert schedule is not None
    for month, hours in ((6, june_h), (12, december_h)):
        begin = int(datetime(2026, month, 21, 23, tzinfo=UTC).timestamp())
        on_s = sum(b - a for a, b in schedule.periods(begin, begin + DAY))
        assert on_s / 3600 == hours


@pytest.mark.parametrize(
    ("span", "n_june", "n_december"), [("sunrise to sunset", 1, 0), ("sunset to sunrise", 0, 1)]
)
def test_no_minute_is_left_between_days_of_a_polar_season(
    span: str, n_june: int, n_december: int
) -> None:
    """Solar noons are not a day apart to the second."""
    schedule = schedule_of(parse_settings(f'{POLAR}on = ["{span}"]'.encode(), "x"))
    assert schedule is not None
    for month, n_periods in ((6, n_june), (12, n_december)):
        begin = int(datetime(2026, month, 5, tzinfo=UTC).timestamp())
        end = begin + 30 * DAY
        assert schedule.periods(begin, end) == [(begin, end)] * n_periods


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        ("", "says nothing", "leave it out"),
        ('on = "05:00 to 06:00"', "a list of spans", "[brackets]"),
        ("on = []", "a list of spans", "[brackets]"),
        ('on = ["05:00-06:00"]', "a span, found", "05:00 to 09:30"),
        ("on = [5]", "a span, found 5", "05:00 to 09:30"),
        ('on = ["5:00 to 06:00"]', "a time, or a moment", "05:00 to 09:30"),
        ('on = ["05:00 to 24:01"]', "a time from 00:00 to 24:00", ""),
        ('on = ["05:60 to 24:00"]', "a time from 00:00 to 24:00", ""),
        ('on = ["24:00 to 06:00"]', "begins before it ends", "00:00 to 24:00"),
        ('on = ["sunset to sunset"]', "begins before it ends", "00:00 to 24:00"),
        ('on = ["sundown to 06:00"]', "one of nautical_dawn", ""),
        ('on = ["sunset+12:01 to 06:00"]', "at most 12:00", ""),
        ('on = ["sunset+00:60 to 06:00"]', "at most 12:00", ""),
        ("record_s = 60", "belong together, found record_s alone", "every_s = 600"),
        ("record_s = 60\nevery_s = 420", "a day is a multiple, found 420", "nearest is 432"),
        ("record_s = 60\nevery_s = 0", "a day is a multiple", "nearest is 1"),
        ("record_s = 591\nevery_s = 600", "10 to every_s - 10, which is 590", ""),
        ("record_s = 1.5\nevery_s = 600", "whole seconds", "quotes"),
        ("record_s = true\nevery_s = 600", "whole seconds", "quotes"),
        ("quite = 3", "unknown key quite", "did you mean quiet?"),
    ],
)
def test_what_cannot_be_meant_is_refused(lines: str, message: str, hint: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        parse_settings(f"{POLAR}{lines}".encode(), "x.toml")
    assert caught.value.message.startswith("x.toml: schedule")
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("lacks", "table"),
    [("utc_offset", 'on = ["05:00 to 06:00"]'), ("latitude", 'on = ["sunset to 23:00"]')],
)
def test_what_a_schedule_needs_is_asked_for_at_once(lacks: str, table: str) -> None:
    lines = [line for line in POLAR.splitlines() if not line.startswith(lacks)]
    with pytest.raises(DeploymentError, match=f"{lacks} is missing; a schedule"):
        parse_settings("\n".join([*lines, table]).encode(), "x")


@settings(max_examples=50, deadline=None)
@given(tables())
def test_a_table_is_read_as_it_is_shown(table: Table) -> None:
    written: dict[str, object] = {}
    for key in ("on", "quiet"):
        if spans_ := getattr(table, key):
            written[key] = [str(span) for span in spans_]
    if table.every_s:
        written |= {"record_s": table.record_s, "every_s": table.every_s}
    assume(written)
    assert parse_table("x", written) == table


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(["on", "quiet", "record_s", "every_s"]),
                       st.lists(st.text(max_size=30)) | st.integers() | st.text()))  # fmt: skip
def test_any_values_give_a_table_or_one_kind_of_error(value: dict[str, object]) -> None:
    with suppress(DeploymentError):
        parse_table("x", value)


def test_a_power_board_is_told_when_to_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(f'{POLAR}on = ["05:00 to 09:30", "18:00 to 22:00"]')

    def turns(at: str) -> list[object]:
        for state in (path, tmp_path):  # a file, or the folder of a recorder
            assert main(["schedule", "next", str(state), "--at", at, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
        return [found["is_on"], found["next_on_local"], found["next_off_utc"]]

    assert turns("2026-05-01T03:59:59Z") == [
        False, "2026-05-01T05:00:00+01:00", "2026-05-01T08:30:00Z"
    ]  # fmt: skip
    assert turns("2026-05-01T04:00:00Z") == [
        True, "2026-05-01T18:00:00+01:00", "2026-05-01T08:30:00Z"
    ]  # fmt: skip
    path.write_text(f'{POLAR}on = ["00:00 to 24:00"]')
    assert turns("2026-05-01T04:00:00Z") == [True, None, None]
    path.write_text('deployment_id = "a"')
    assert main(["schedule", "next", str(path)]) == 1
    assert "it has no schedule" in capsys.readouterr().err


def test_a_week_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deployment.toml"
    path.write_text(f'{POLAR}on = ["23:30 to 01:00", "12:00 to 12:15"]')
    assert main(["schedule", "show", str(path), "--at", "2026-05-01T04:00:00Z"]) == 0
    *_, first, _, _, _, _, _, last = capsys.readouterr().out.splitlines()
    bar = "██" + "·" * 22 + "▒" + "·" * 22 + "█"
    assert first == f"2026-05-01 {bar}  1.8 h  00:00-01:00, 12:00-12:15, 23:30-24:00"
    assert last.startswith("2026-05-07 ██·")
