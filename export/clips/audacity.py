r"""Audacity label tracks: ``start<TAB>end<TAB>label``, then perhaps ``\<TAB>low<TAB>high``.

Source of the format: the Audacity manual, "Importing and Exporting Labels".
"""

from dataclasses import replace
from pathlib import Path

from export.clips.annotation import Annotation, parse_annotation, parse_hertz
from export.clips.clip import ClipsError
from export.clips.text import lines_of


def read_labels(table: Path) -> list[tuple[str, Annotation]]:
    """The labels of a track, each with the table and line it stands in.

    Raises
    ------
    ClipsError
        A line is not what it must be.
    """
    found: list[tuple[str, Annotation]] = []
    band_may_follow = False
    for line_number, line in enumerate(lines_of(table), 1):
        where = f"{table}: line {line_number}"
        match line.split("\t"):
            case ["\\", low, high] if band_may_follow:
                found[-1] = (found[-1][0], _with_band(where, found[-1][1], low, high))
                band_may_follow = False
            case ["\\", _, _]:
                raise ClipsError(
                    f"{where}: expected a label before this band", hint="delete the line"
                )
            case [start, end, *label] if len(label) < 2 and start != "\\":
                name = "".join(label)  # an empty one may have lost its tab
                found.append((where, parse_annotation(where, start.strip(), end.strip(), name)))
                band_may_follow = True
            case [blank] if not blank.strip():
                continue
            case _:
                raise _malformed(where, line)
    return found


def _with_band(where: str, annotation: Annotation, low: str, high: str) -> Annotation:
    """An annotation with its band; an edge that was not selected is a negative number."""
    low_hz, high_hz = (
        None if edge.strip().startswith("-") else parse_hertz(where, edge.strip())
        for edge in (low, high)
    )
    return replace(annotation, low_hz=low_hz, high_hz=high_hz)


def _malformed(where: str, line: str) -> ClipsError:
    return ClipsError(
        f"{where}: expected start, end and label separated by tabs, found {line[:60]!r}",
        hint="a .txt file beside a recording of its name is an Audacity label track; a Raven "
        "table is named NAME.selections.txt",
    )
