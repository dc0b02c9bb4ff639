"""The table ``[schedule]`` of a deployment file, as people write it."""

from dataclasses import dataclass
from difflib import get_close_matches
from re import fullmatch

from edge_probe.errors import DeploymentError

EVENTS = {
    "nautical_dawn": -408,
    "civil_dawn": -384,
    "sunrise": -360,
    "sunset": 360,
    "civil_dusk": 384,
    "nautical_dusk": 408,
}
"""Moments of a day, and their minutes from solar noon on a day of twelve hours at the equator."""

DAY_S = 86_400

LEAST_S = 10
"""Opening a microphone takes seconds, until a sound server has settled: shorter is no turn."""

_MOST_SHIFT_MIN = 720
_HINT = 'write "05:00 to 09:30", or "sunset-00:30 to sunrise+01:00"'


@dataclass(frozen=True, slots=True)
class Edge:
    """Begin or end of a span: a time of the clock, or a moment of the sun and minutes after it."""

    event: str | None
    """One of `EVENTS`; None: a time of the clock."""
    minutes: int
    """After the event, negative before it; or after midnight, up to 24:00."""

    def __str__(self) -> str:
        hours, minutes = divmod(abs(self.minutes), 60)
        shift = f"{hours:02}:{minutes:02}"
        if self.event is None:
            return shift
        sign = "-" if self.minutes < 0 else "+"
        return f"{self.event}{sign}{shift}" if self.minutes else self.event


@dataclass(frozen=True, slots=True)
class Span:
    """From one edge to another, every day."""

    begin: Edge
    end: Edge

    def __str__(self) -> str:
        return f"{self.begin} to {self.end}"


@dataclass(frozen=True, slots=True)
class Table:
    """What the table says."""

    on: tuple[Span, ...] = ()
    """When to record; empty: all day."""
    quiet: tuple[Span, ...] = ()
    """When not to, whatever else it says."""
    record_s: int | None = None
    """Of each `every_s`, counted from midnight; None: all of it."""
    every_s: int | None = None

    @property
    def needs_sun(self) -> bool:
        """Whether any edge is a moment of the sun."""
        edges = [edge for span in self.on + self.quiet for edge in (span.begin, span.end)]
        return any(edge.event for edge in edges)

    def __str__(self) -> str:
        parts = [", ".join(map(str, self.on)) or "all day"]
        parts += [f"but not {', '.join(map(str, self.quiet))}"] if self.quiet else []
        parts += [f"{self.record_s} s of every {self.every_s} s"] if self.every_s else []
        return "; ".join(parts)


def parse_table(name: str, value: object) -> Table:
    """Check a table.

    Parameters
    ----------
    name : str
        File and key, for messages.
    value : object
        As TOML gives it.

    Raises
    ------
    DeploymentError
        It cannot mean what it says.
    """
    if not isinstance(value, dict):
        raise _wrong(name, "a table", value, "write [schedule] and its keys below it")
    keys = ("on", "quiet", "record_s", "every_s")
    for key in value:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            raise DeploymentError(
                f"{name}: unknown key {key}",
                hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}",
            )
    if not value:
        raise DeploymentError(f"{name}: it says nothing", hint="leave it out to record all day")
    on, quiet = (
        _spans(f"{name}.{key}", value[key]) if key in value else () for key in ("on", "quiet")
    )
    return Table(on, quiet, *_duty(name, value))


def _spans(name: str, value: object) -> tuple[Span, ...]:
    if not (isinstance(value, list) and value):
        raise _wrong(name, "a list of spans", value, f"{_HINT}, in [brackets]")
    return tuple(_span(name, text) for text in value)


def _span(name: str, value: object) -> Span:
    begin, to, end = value.partition(" to ") if isinstance(value, str) else ("", "", "")
    if not to:
        raise _wrong(name, "a span", value, _HINT)
    span = Span(_edge(name, begin), _edge(name, end))
    if span.begin == span.end or span.begin == Edge(None, 1440):
        raise _wrong(name, "a span that begins before it ends", value,
                     'all day is "00:00 to 24:00"')  # fmt: skip
    return span


def _edge(name: str, text: str) -> Edge:
    text = text.strip()
    if match := fullmatch(r"(\d\d):(\d\d)", text):
        hours, minutes = map(int, match.groups())
        if minutes < 60 and hours * 60 + minutes <= 1440:
            return Edge(None, hours * 60 + minutes)
        raise _wrong(name, "a time from 00:00 to 24:00", text)
    match = fullmatch(r"([a-z_]+)(?: ?([+-]) ?(\d\d):(\d\d))?", text)
    if match is None:
        raise _wrong(name, "a time, or a moment of the sun", text, _HINT)
    event, sign, hours_text, minutes_text = match.groups(default="0")
    if event not in EVENTS:
        raise _wrong(name, f"a time, or one of {', '.join(EVENTS)}", text, _HINT)
    shift = int(hours_text) * 60 + int(minutes_text)
    if int(minutes_text) >= 60 or shift > _MOST_SHIFT_MIN:
        raise _wrong(name, "at most 12:00 before or after a moment of the sun", text)
    return Edge(event, -shift if sign == "-" else shift)


def _duty(name: str, value: dict[str, object]) -> tuple[int | None, int | None]:
    found = {key: value[key] for key in ("record_s", "every_s") if key in value}
    if not found:
        return None, None
    for key, seconds in found.items():
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            raise _wrong(f"{name}.{key}", "whole seconds", seconds, "without quotes")
    if len(found) < 2:
        raise DeploymentError(
            f"{name}: record_s and every_s belong together, found {next(iter(found))} alone",
            hint="record_s = 60 and every_s = 600 record a minute of every ten",
        )
    record_s, every_s = (int(str(found[key])) for key in ("record_s", "every_s"))
    if every_s < 1 or DAY_S % every_s:
        near = min((n for n in range(1, DAY_S + 1) if DAY_S % n == 0),
                   key=lambda n: abs(n - every_s))  # fmt: skip
        raise _wrong(f"{name}.every_s", "seconds of which a day is a multiple", every_s,
                     f"so that every day is the same; the nearest is {near}")  # fmt: skip
    if not LEAST_S <= record_s <= every_s - LEAST_S:
        raise _wrong(f"{name}.record_s", f"{LEAST_S} to every_s - {LEAST_S}, which is "
                     f"{every_s - LEAST_S}", record_s)  # fmt: skip
    return record_s, every_s


def _wrong(name: str, wanted: str, found: object, hint: str | None = None) -> DeploymentError:
    return DeploymentError(f"{name}: expected {wanted}, found {found!r}", hint=hint)
