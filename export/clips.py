"""Labelled clips: a folder of folders, or a CSV manifest."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_probe.errors import EdgeProbeError

BACKGROUND = "Background"
"""Folder or label of clips that hold none of the classes."""

SUFFIXES = frozenset({".wav", ".w64", ".flac", ".ogg", ".oga"})
_COLUMNS = frozenset({"file", "label", "start_s", "end_s", "fold", "group"})


class ClipsError(EdgeProbeError):
    """Training material that does not say what it must."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One weak-label bag: a file or a part of it, and what is heard in it."""

    path: Path
    labels: tuple[str, ...]
    """Empty for background."""
    group: str
    """Source recording; clips of one group never stand on both sides of a split."""
    start_s: float | None = None
    end_s: float | None = None
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class ClipSet:
    """The clips and the classes they name, in alphabetical order."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]

    @property
    def n_background(self) -> int:
        """Clips without any class."""
        return sum(not clip.labels for clip in self.clips)


def read_clips(path: Path, folds: list[int] | None = None) -> ClipSet:
    """Read training clips.

    Parameters
    ----------
    path : Path
        A folder with one folder of audio files per class, named ``Scientific name_Common name``,
        and optionally ``Background``; or a CSV file with a header and the columns ``file`` and
        ``label`` (several labels separated by ``;``), optionally ``start_s, end_s, fold, group``.
        ``file`` is relative to the CSV file.
    folds : list of int, optional
        Keep only clips of these folds.

    Raises
    ------
    ClipsError
        Nothing is there, or it contradicts itself.
    """
    if path.is_dir():
        clips = list(_from_folder(path))
    elif path.is_file():
        clips = list(_from_csv(path))
    else:
        raise ClipsError(f"{path}: no such folder or CSV file", hint="name a folder of clips")
    if folds:
        clips = [clip for clip in clips if clip.fold in folds]
    labels = sorted({label for clip in clips for label in clip.labels})
    if not labels:
        raise ClipsError(
            f"{path}: no labelled clip found" + (f" in folds {folds}" if folds else ""),
            hint="a folder of audio per class, named 'Scientific name_Common name'",
        )
    return ClipSet(tuple(clips), tuple(labels))


def _from_folder(root: Path) -> Iterator[Clip]:
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        labels = () if folder.name == BACKGROUND else (folder.name,)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() in SUFFIXES:
                yield Clip(path, labels, source_recording(path))


def source_recording(path: Path) -> str:
    """The recording a clip was cut from, by its name: all before the last ``-`` or ``_``.

    ``1-100032-A`` and ``1-100032-B`` are one recording, and so are ``night3_0010`` and
    ``night3_0020``; a name without a separator is a recording of its own. Caution costs only
    some freedom in splitting.
    """
    cut = max(path.stem.rfind("-"), path.stem.rfind("_"))
    return path.stem[:cut] if cut > 0 else path.stem


def _from_csv(table: Path) -> Iterator[Clip]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClipsError(f"{table}: is not UTF-8 ({error})", hint="save it as UTF-8") from error
    if "\0" in text:
        raise ClipsError(f"{table}: holds NUL bytes: not a text file", hint="save it as UTF-8")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_header(table, list(reader.fieldnames or []))
        for row in reader:
            yield _clip_of_row(table, reader.line_num, row)
    except csv.Error as error:
        raise ClipsError(
            f"{table}: line {reader.line_num}: {error}", hint="see RFC 4180"
        ) from error


def _check_header(table: Path, header: list[str]) -> None:
    if len(header) == 1 and ";" in header[0]:
        raise ClipsError(
            f"{table}: the columns are separated by ';'", hint="separate them by commas (RFC 4180)"
        )
    if missing := {"file", "label"} - set(header):
        raise ClipsError(
            f"{table}: expected the columns file and label, found {', '.join(header) or 'none'}",
            hint=f"add {' and '.join(sorted(missing))}; known: {', '.join(sorted(_COLUMNS))}",
        )


def _clip_of_row(table: Path, line: int, row: dict[str, str]) -> Clip:
    if None in row or None in row.values():
        raise ClipsError(
            f"{table}: line {line} has another number of fields than the header",
            hint="quote fields that hold a comma",
        )
    labels = tuple(part.strip() for part in row["label"].split(";") if part.strip())
    if not row["file"] or not labels:
        raise ClipsError(
            f"{table}: line {line} lacks a file or a label",
            hint=f"label clips without any of your classes {BACKGROUND}",
        )
    if BACKGROUND in labels:
        if len(labels) > 1:
            raise ClipsError(
                f"{table}: line {line} is {BACKGROUND} and {labels[-1]} at once",
                hint=f"{BACKGROUND} means that no class is heard",
            )
        labels = ()
    start_s, end_s = _seconds(table, line, row, "start_s"), _seconds(table, line, row, "end_s")
    if end_s is not None and (start_s or 0) >= end_s:
        raise ClipsError(
            f"{table}: line {line}: expected start_s < end_s, found {start_s or 0} and {end_s}",
            hint="times are in seconds from the start of the file",
        )
    fold = row.get("fold", "").strip()
    if fold and not fold.isdecimal():
        raise ClipsError(
            f"{table}: line {line}: fold is {fold!r}, not a whole number",
            hint="number folds 1, 2, ... or leave them empty",
        )
    path = table.parent / row["file"]
    return Clip(
        path, labels, row.get("group") or source_recording(path), start_s, end_s,
        int(fold) if fold else None,
    )  # fmt: skip


def _seconds(table: Path, line: int, row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 <= seconds < math.inf:
        return seconds
    raise ClipsError(
        f"{table}: line {line}: {column} is {text!r}, not a time in seconds",
        hint="write decimals with a point" if "," in text else "give a number or leave it empty",
    )
