"""Raven selection tables: tab-separated, columns found by their names.

Source of the format: the Raven Pro 1.6 User's Manual, chapters "Selection Tables" and
"Measurements": one row per selection and view; in a sound of several files ``Begin Time (s)``
counts from the start of the first and ``File Offset (s)`` from the start of the row's own.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from export.clips.annotation import Annotation, parse_annotation, parse_hertz
from export.clips.clip import ClipsError
from export.clips.text import lines_of, number

BEGIN, END, OFFSET = "Begin Time (s)", "End Time (s)", "File Offset (s)"
LOW, HIGH = "Low Freq (Hz)", "High Freq (Hz)"
BEGIN_PATH, BEGIN_FILE = "Begin Path", "Begin File"

LABELS = ("Annotation", "Species", "Label", "Species Name", "Common Name", "Type", "Call Type")
"""Columns that may hold the label; the first that is there does."""


@dataclass(frozen=True, slots=True)
class Selection:
    """One selection of a table."""

    where: str
    """The table and its line, for messages."""
    annotation: Annotation
    """Times from the start of the file it lies in."""
    audio: tuple[str, ...]
    """That file as the table names it: path, then name; empty where the table does not."""


def read_selections(table: Path) -> list[Selection]:
    """The selections of a table, each once.

    Raises
    ------
    ClipsError
        A required column is missing or a row is not what it must be.
    """
    lines = lines_of(table)
    header = [name.strip() for name in lines[0].split("\t")]
    label_column = _label_column(table, header)
    found: dict[tuple[object, ...], Selection] = {}
    for line_number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        where, fields = f"{table}: line {line_number}", line.split("\t")
        if len(fields) != len(header):
            raise ClipsError(
                f"{where}: expected {len(header)} fields as in the header, found {len(fields)}",
                hint="separate them by tabs",
            )
        row = dict(zip(header, (field.strip() for field in fields), strict=True))
        selection = _selection(where, row, label_column)
        key = _same_in_every_view(row, selection) or (line_number,)
        found.setdefault(key, selection)
    selections = list(found.values())
    if OFFSET not in header and len({selection.audio for selection in selections}) > 1:
        raise ClipsError(
            f"{table}: names several audio files, but has no column {OFFSET}",
            hint=f"add that measurement in Raven: {BEGIN} counts from the first file",
        )
    return selections


def _label_column(table: Path, header: list[str]) -> str:
    """The column that holds the label, of a header that has all that is needed."""
    if len(header) == 1 and header[0].count(";") > 1:
        raise ClipsError(f"{table}: the columns are separated by ';'", hint="separate them by tabs")
    if twice := sorted(name for name in {*header} if name and header.count(name) > 1):
        raise ClipsError(
            f"{table}: the column {twice[0]} stands twice", hint="rename or delete one of them"
        )
    label = next((name for name in LABELS if name in header), None)
    if label is None or not {BEGIN, END} <= {*header}:
        raise ClipsError(
            f"{table}: expected the columns {BEGIN}, {END} and one of {', '.join(LABELS)}; "
            f"found {', '.join(name[:40] for name in header if name) or 'none'}",
            hint="save it in Raven as a selection table, with these columns shown",
        )
    return label


def _selection(where: str, row: dict[str, str], label_column: str) -> Selection:
    annotation = parse_annotation(where, row[BEGIN], row[END], row[label_column])
    if OFFSET in row:
        start_s = number(where, OFFSET, row[OFFSET])
        end_s = annotation.end_s + (start_s - annotation.start_s)
        annotation = replace(annotation, start_s=start_s, end_s=max(start_s, end_s))
    low_hz, high_hz = (parse_hertz(where, row.get(column, "")) for column in (LOW, HIGH))
    audio = tuple(row[column] for column in (BEGIN_PATH, BEGIN_FILE) if row.get(column))
    return Selection(where, replace(annotation, low_hz=low_hz, high_hz=high_hz), audio)


def _same_in_every_view(row: dict[str, str], selection: Selection) -> tuple[object, ...] | None:
    """What the rows of one selection share; None where the table does not number selections."""
    if not row.get("Selection"):
        return None
    annotation = selection.annotation
    times = (annotation.start_s, annotation.end_s)
    return (row["Selection"], *times, annotation.label, selection.audio)
