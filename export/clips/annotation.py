"""One strong label: a span of a recording in which a class is heard."""

from dataclasses import dataclass

from export.clips.clip import ABSENT, BACKGROUND, ClipsError, class_name
from export.clips.text import number


@dataclass(frozen=True, slots=True)
class Annotation:
    """A class and when it is heard; a point in time where start and end are equal."""

    start_s: float
    """From the start of the recording."""
    end_s: float
    label: str
    low_hz: float | None = None
    high_hz: float | None = None
    """None where the annotator drew no band."""


def parse_annotation(where: str, start: str, end: str, label: str) -> Annotation:
    """An annotation from the fields of a table.

    Raises
    ------
    ClipsError
        A field is not what it must be, the end lies before the start, or the label is no class.
    """
    start_s, end_s = number(where, "start", start), number(where, "end", end)
    if end_s < start_s:
        raise ClipsError(
            f"{where}: expected start <= end, found {start_s} and {end_s}",
            hint="times are in seconds from the start of the recording",
        )
    name = label.strip()
    if not name:
        raise ClipsError(f"{where}: the label is empty", hint="name the class, or delete the line")
    if name.startswith(ABSENT) or name.casefold() == BACKGROUND.casefold():
        raise ClipsError(
            f"{where}: expected a class, found {name!r}",
            hint="delete the line: what is not annotated counts as background",
        )
    return Annotation(start_s, end_s, class_name(where, name))


def parse_hertz(where: str, text: str) -> float | None:
    """An edge of an annotation's band; None where the field is empty.

    Raises
    ------
    ClipsError
        It is no frequency.
    """
    return number(where, "the frequency", text, "a number of Hz") if text else None
