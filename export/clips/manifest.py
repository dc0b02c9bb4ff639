"""CSV manifests: one line per clip."""

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from export.clips.clip import (
    ABSENT,
    BACKGROUND,
    Clip,
    ClipsError,
    Split,
    source_recording,
    statement,
)
from export.clips.text import number, path_of, read_text, utf8_name

SPELLINGS = {"labels": "label", "start": "start_s", "end": "end_s"}
"""Second names of columns."""

COLUMNS = frozenset({"file", "label", "start_s", "end_s", "fold", "split", "group"})

SPLITS: tuple[Split, ...] = get_args(Split)

_LIKE_SPLIT = 0.7
"""How near a column must come to be a misspelt ``split``: nearer than ``site`` and ``plot``."""


def read_manifest(table: Path) -> Iterator[Clip]:
    """The clips of a CSV file with a header.

    Columns ``file`` (relative to the table) and ``label``: several separated by ``;``, ``-Class``
    for one that is certainly not heard, or `BACKGROUND`. Optional: ``start_s``, ``end_s``,
    ``fold``, ``split`` and ``group``. Others are ignored.

    Raises
    ------
    ClipsError
        The header or a line is not what it must be, or two lines contradict each other.
    """
    told = _Told()
    reader = csv.reader(io.StringIO(read_text(table), newline=""), strict=True)
    try:
        header = _header(table, next(reader, []))
        for fields in reader:
            if fields:
                where = f"{table}: line {reader.line_num}"
                clip = _clip(table.parent, where, _row(where, header, fields))
                told.take(where, reader.line_num, clip)
                yield clip
    except csv.Error as error:
        raise ClipsError(
            f"{table}: line {reader.line_num}: {error}", hint="see RFC 4180"
        ) from error


class _Told:
    """What the lines so far have said: no audio has two truths, or stands in two groups."""

    def __init__(self) -> None:
        self._same: dict[tuple[str, float, float], tuple[int, Clip]] = {}
        """By file and part of it."""
        self._groups: dict[str, dict[str, list[tuple[int, float, float]]]] = {}
        """By file, then by group: lines and their parts."""

    def take(self, where: str, line: int, clip: Clip) -> None:
        """Refuse a line that contradicts an earlier one."""
        file = os.path.normpath(clip.path)
        begin, end = clip.start_s or 0.0, math.inf if clip.end_s is None else clip.end_s
        earlier, other = self._same.setdefault((file, begin, end), (line, clip))
        heard = {*clip.labels, *other.labels}
        if any({clip.holds(name), other.holds(name)} == {True, False} for name in heard):
            raise ClipsError(
                f"{where}: holds {_label_field(clip)}, but line {earlier}, about the same audio, "
                f"{_label_field(other)}",
                hint="what is heard in a clip stands in one line, the classes separated by ;",
            )
        groups = self._groups.setdefault(file, {})
        for group in groups.keys() - {clip.group}:
            for earlier, first, last in groups[group]:
                if max(begin, first) < min(end, last):
                    raise ClipsError(
                        f"{where}: is of the group {clip.group!r}, but line {earlier}, about some "
                        f"of the same audio, of {group!r}",
                        hint="clips of one recording have one group; empty, it is the file's name",
                    )
        groups.setdefault(clip.group, []).append((line, begin, end))


def write_manifest(clips: Sequence[Clip], table: Path) -> None:
    """Write clips so that `read_manifest` gives them back.

    Parameters
    ----------
    clips : sequence of Clip
    table : Path
        The CSV file; it names files below its folder by where they are from there.

    Raises
    ------
    ClipsError
        A clip says what a manifest cannot say, or two contradict each other.
    """
    told = _Told()
    timed = any(clip.start_s is not None or clip.end_s is not None for clip in clips)
    folded = any(clip.fold is not None for clip in clips)
    header = ["file", "labels", "split", "group"]
    header += ["start_s", "end_s"] * timed + ["fold"] * folded
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for line, clip in enumerate(clips, 2):
        told.take(f"{table}: line {line}", line, clip)
        row = [_file(clip.path, table.parent), _label_field(clip), clip.split, clip.group]
        writer.writerow(row + [clip.start_s, clip.end_s] * timed + [clip.fold] * folded)
    table.write_text(text.getvalue(), encoding="utf-8", newline="")


def _header(table: Path, fields: list[str]) -> list[str]:
    """The columns under their first names."""
    if len(fields) == 1 and (other := next((c for c in ";\t" if c in fields[0]), None)):
        raise ClipsError(
            f"{table}: the columns are separated by {other!r}",
            hint="separate them by commas (RFC 4180)",
        )
    header = [SPELLINGS.get(name, name) for name in fields]
    names = [name for name in header if name]
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        spelt = sorted({field for field in fields if SPELLINGS.get(field, field) == twice[0]})
        raise ClipsError(
            f"{table}: the column {' or '.join(spelt)} stands twice",
            hint="rename or delete one of them",
        )
    for name in names:
        near = None if name in COLUMNS else _misspelt(name, COLUMNS - set(names))
        if near:
            raise ClipsError(f"{table}: unknown column {name!r}", hint=f"did you mean {near}?")
    if missing := {"file", "label"} - set(names):
        raise ClipsError(
            f"{table}: expected the columns file and label, found {', '.join(fields) or 'none'}",
            hint=f"add {' and '.join(sorted(missing))}; known: {', '.join(sorted(COLUMNS))}",
        )
    return header


def _misspelt(name: str, missing: frozenset[str]) -> str | None:
    """The column that a name must have meant, if any."""
    near = get_close_matches(name, missing - {"split"}, 1)
    near += get_close_matches(name, missing & {"split"}, 1, _LIKE_SPLIT)
    return near[0] if near else None


def _row(where: str, header: list[str], fields: list[str]) -> dict[str, str]:
    if len(fields) != len(header):
        raise ClipsError(
            f"{where} has another number of fields than the header",
            hint="quote fields that hold a comma",
        )
    return dict(zip(header, fields, strict=True))


def _clip(folder: Path, where: str, row: dict[str, str]) -> Clip:
    names = [part.strip() for part in row["label"].split(";") if part.strip()]
    if not row["file"] or not names:
        raise ClipsError(
            f"{where} lacks a file or a label",
            hint=f"label clips without any of your classes {BACKGROUND}",
        )
    heard, absent = statement(where, names)
    start_s, end_s = (_seconds(where, row, column) for column in ("start_s", "end_s"))
    if end_s is not None and (start_s or 0) >= end_s:
        raise ClipsError(
            f"{where}: expected start_s < end_s, found {start_s or 0} and {end_s}",
            hint="times are in seconds from the start of the file",
        )
    path = folder / path_of(row["file"])
    group = row.get("group") or source_recording(path)
    return Clip(path, heard, group, start_s, end_s, _fold(where, row), _split(where, row), absent)


def _seconds(where: str, row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "").strip()
    return number(where, column, text) if text else None


def _fold(where: str, row: dict[str, str]) -> int | None:
    fold = row.get("fold", "").strip()
    if fold and not re.fullmatch("[0-9]{1,9}", fold):
        raise ClipsError(
            f"{where}: fold is {fold!r}, not a whole number",
            hint="number folds 1, 2, ... or leave them empty",
        )
    return int(fold) if fold else None


def _split(where: str, row: dict[str, str]) -> Split | None:
    text = row.get("split", "").strip()
    for split in SPLITS:
        if text == split:
            return split
    if not text:
        return None
    raise ClipsError(
        f"{where}: split is {text!r}, not {', '.join(SPLITS)}",
        hint="leave it empty where the split is ours to make",
    )


def _file(path: Path, folder: Path) -> str:
    """A path as the manifest names it: from its folder where it lies below, else from the root."""
    return utf8_name(path.relative_to(folder) if path.is_relative_to(folder) else path.absolute())


def _label_field(clip: Clip) -> str:
    names = [*clip.labels, *(ABSENT + label for label in clip.absent)]
    text = ";".join(names) or BACKGROUND
    try:
        read_back = statement("", [part.strip() for part in text.split(";") if part.strip()])
    except ClipsError:
        read_back = None
    if clip.unknown or read_back != (clip.labels, clip.absent):
        raise ClipsError(
            f"{clip.path}: a manifest cannot say {clip.labels}, absent {clip.absent}, unknown "
            f"{clip.unknown}",
            hint=f"no unknown classes, no ; or spaces around a label, no {ABSENT} before it",
        )
    return text
