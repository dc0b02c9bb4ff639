"""Labelled clips: a folder of folders, or a CSV manifest."""

import csv
import io
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from edge_probe.errors import EdgeProbeError

BACKGROUND = "Background"
"""Folder or label of clips that hold none of the classes."""

SUFFIXES = frozenset({".wav", ".w64", ".flac", ".ogg", ".oga"})
_OTHER_AUDIO = frozenset(
    {".mp3", ".m4a", ".aac", ".aif", ".aiff", ".opus", ".wma", ".mp4", ".caf", ".au"}
)
_COLUMNS = frozenset({"file", "label", "start_s", "end_s", "fold", "group"})


Split = Literal["train", "validation", "test"]


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
    split: Split | None = None
    """Where the user put it; None: the splits are ours to make."""
    absent: tuple[str, ...] = ()
    """Classes that are certainly not heard, from a folder ``-Species``; where this is not empty
    nothing is known of the other classes."""


@dataclass(frozen=True, slots=True)
class ClipSet:
    """The clips and the classes they name, in alphabetical order."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """One line per audio file of a kind that is not read."""
    warnings: tuple[str, ...] = ()

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
        and optionally ``Background``; hidden folders are ignored. Or a CSV file with a header and
        the columns ``file`` and ``label`` (several labels separated by ``;``), optionally
        ``start_s, end_s, fold, group``; ``file`` is relative to the CSV file.
    folds : list of int, optional
        Keep only clips of these folds.

    Raises
    ------
    ClipsError
        Nothing is there, or it contradicts itself.
    """
    left_out: list[str] = []
    warnings: list[str] = []
    if path.is_dir():
        clips, left_out = _from_folder(path)
        clips, warnings = _told_apart(path, clips)
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
    return ClipSet(tuple(clips), tuple(labels), tuple(left_out), tuple(warnings))


def _from_folder(root: Path) -> tuple[list[Clip], list[str]]:
    """Clips of a folder tree, and a line for every audio file of another kind."""
    clips: list[Clip] = []
    left_out = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if folder.name.startswith("."):
            continue
        labels = _labels(str(folder), [_utf8_name(folder)])
        files = [path for path in sorted(folder.rglob("*")) if _is_visible_file(path, folder)]
        usable = [path for path in files if path.suffix.lower() in SUFFIXES]
        others = [path for path in files if path.suffix.lower() in _OTHER_AUDIO]
        if not usable:
            raise ClipsError(
                f"{folder}: holds no {', '.join(sorted(SUFFIXES))} file"
                + (f", but {len(others)} of other kinds" if others else ""),
                hint="convert them, for example with: ffmpeg -i IN OUT.flac"
                if others
                else "put recordings there, or move the folder away",
            )
        clips += [Clip(path, labels, source_recording(path)) for path in usable]
        left_out += [f"{path}: {path.suffix} files are not read" for path in others]
    return clips, left_out


def _is_visible_file(path: Path, root: Path) -> bool:
    folders = path.relative_to(root).parent.parts
    return path.is_file() and not any(name.startswith(".") for name in folders)


def _utf8_name(folder: Path) -> str:
    """The name of a folder, whatever the locale says about file names."""
    try:
        return os.fsencode(folder.name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClipsError(
            f"{str(folder)!a}: the name of this class folder is not UTF-8",
            hint="rename the folder",
        ) from error


def _told_apart(root: Path, clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Clips whose names tell at least two recordings apart, else every file as one of its own."""
    if len(clips) < 2 or len({clip.group for clip in clips}) > 1:
        return clips, []
    warning = (
        f"{root}: by their names all clips were cut from one recording, {clips[0].group!r}; each "
        "now counts as a recording of its own: a CSV file with a column group says it better"
    )
    return [replace(clip, group=str(clip.path)) for clip in clips], [warning]


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
    names = [name for name in header if name]
    if twice := sorted(name for name in set(names) if names.count(name) > 1):
        raise ClipsError(
            f"{table}: the column {twice[0]} stands twice", hint="rename or delete one of them"
        )
    for name in names:
        near = get_close_matches(name, _COLUMNS - set(names), 1)
        if near and name not in _COLUMNS:
            raise ClipsError(f"{table}: unknown column {name!r}", hint=f"did you mean {near[0]}?")
    if missing := {"file", "label"} - set(names):
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
    names = [part.strip() for part in row["label"].split(";") if part.strip()]
    if not row["file"] or not names:
        raise ClipsError(
            f"{table}: line {line} lacks a file or a label",
            hint=f"label clips without any of your classes {BACKGROUND}",
        )
    labels = _labels(f"{table}: line {line}", names)
    start_s, end_s = _seconds(table, line, row, "start_s"), _seconds(table, line, row, "end_s")
    if end_s is not None and (start_s or 0) >= end_s:
        raise ClipsError(
            f"{table}: line {line}: expected start_s < end_s, found {start_s or 0} and {end_s}",
            hint="times are in seconds from the start of the file",
        )
    fold = row.get("fold", "").strip()
    if fold and not re.fullmatch("[0-9]{1,9}", fold):
        raise ClipsError(
            f"{table}: line {line}: fold is {fold!r}, not a whole number",
            hint="number folds 1, 2, ... or leave them empty",
        )
    path = table.parent / os.fsdecode(row["file"].encode("utf-8"))
    return Clip(
        path, labels, row.get("group") or source_recording(path), start_s, end_s,
        int(fold) if fold else None,
    )  # fmt: skip


def _labels(where: str, names: list[str]) -> tuple[str, ...]:
    """The classes that some names mean: none for `BACKGROUND`."""
    for name in names:
        if name != BACKGROUND and name.casefold() == BACKGROUND.casefold():
            raise ClipsError(
                f"{where}: expected {BACKGROUND}, found {name!r}",
                hint=f"what holds none of the classes is spelt {BACKGROUND}",
            )
    if BACKGROUND in names and len(names) > 1:
        raise ClipsError(
            f"{where} is {BACKGROUND} and {names[-1]} at once",
            hint=f"{BACKGROUND} means that no class is heard",
        )
    return () if BACKGROUND in names else tuple(names)


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
