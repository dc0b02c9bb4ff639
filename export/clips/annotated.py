"""Recordings with strong labels, cut into windows of the deployment's length.

Every recording that has labels counts as fully annotated. Of a window and a class,

* the class is heard if at least half of an annotation lies in the window, or an annotation covers
  at least half of the window: so every annotation is heard in some window;
* it is unknown if an annotation only reaches into the window;
* else it is not heard; a window without any annotation is background.
"""

import os
from collections import defaultdict
from pathlib import Path, PureWindowsPath

from edge_probe.errors import AudioError
from edge_probe.source.files import AudioFile
from export.clips.annotation import Annotation
from export.clips.audacity import read_labels
from export.clips.clip import OTHER_AUDIO, SUFFIXES, Clip, ClipsError, source_recording
from export.clips.folder import not_read, visible_files
from export.clips.raven import Selection, read_selections
from export.clips.text import path_of

RAVEN = ".selections.txt"
"""How the name of a Raven table ends: ``NAME.selections.txt``, ``NAME.Table.1.selections.txt``."""

AUDACITY = ".txt"

TABLES = frozenset({".txt", ".tsv"})
"""What the name of a single Raven table may end with."""

ROUNDING_S = 0.01
"""An annotation may end this much behind its recording: programs round times."""

_EXACT_S = 1e-6
"""Less than a sample: what arithmetic with seconds may be wrong by."""

Labelled = dict[Path, list[tuple[str, Annotation]]]
"""Per recording its annotations, each with the table and line it stands in."""


def is_annotated(root: Path) -> bool:
    """Whether any recording below a folder has labels beside it."""
    return bool(_tables(visible_files(root)))


def read_annotated(root: Path, window_s: float | None) -> tuple[list[Clip], list[str]]:
    """Windows of the annotated recordings below a folder, and a line for every other one.

    ``NAME.txt`` holds the Audacity labels of ``NAME.wav`` (or another kind), empty if nothing is
    heard in it; ``NAME.selections.txt`` and ``NAME.ANYTHING.selections.txt`` hold its Raven
    selections. A Raven table of another name tells its recordings in a column.

    Parameters
    ----------
    root : Path
    window_s : float, optional

    Raises
    ------
    ClipsError
        A table is not what it must be, does not fit its recording, or there is no ``window_s``.
    """
    files = visible_files(root)
    recordings = [path for path in files if path.suffix.lower() in SUFFIXES | OTHER_AUDIO]
    beside: dict[Path, list[Path]] = defaultdict(list)
    for path in recordings:
        beside[path.parent].append(path)
    labelled: Labelled = defaultdict(list)
    for table in _tables(files):
        if _is_raven(table):
            _add_selections(labelled, table, beside[table.parent])
        else:
            recording = _only(table, _named(table.stem, beside[table.parent]))
            labelled[recording] += read_labels(table)
    clips, left_out = _cut_all(labelled, window_s)
    left_out += [
        f"{path}: has no labels beside it" if path.suffix.lower() in SUFFIXES else not_read(path)
        for path in recordings
        if path not in labelled
    ]
    return clips, left_out


def read_table(table: Path, window_s: float | None) -> tuple[list[Clip], list[str]]:
    """Windows of the recordings of one Raven table, and a line for each that cannot be read.

    Raises
    ------
    ClipsError
        As `read_annotated`.
    """
    labelled: Labelled = defaultdict(list)
    beside = sorted(path for path in table.parent.iterdir() if path.suffix.lower() in SUFFIXES)
    _add_selections(labelled, table, beside)
    return _cut_all(labelled, window_s)


def _is_raven(table: Path) -> bool:
    return table.name.lower().endswith(RAVEN)


def _tables(files: list[Path]) -> list[Path]:
    """The label files among some files."""
    recordings = {
        path.with_suffix("") for path in files if path.suffix.lower() in SUFFIXES | OTHER_AUDIO
    }
    return [
        path
        for path in files
        if _is_raven(path)
        or (path.suffix.lower() == AUDACITY and path.with_suffix("") in recordings)
    ]


def _named(name: str, recordings: list[Path]) -> list[Path]:
    return [path for path in recordings if path.stem == name]


def _only(table: Path, recordings: list[Path]) -> Path:
    """The one recording a table belongs to."""
    if len(recordings) == 1 and recordings[0].suffix.lower() in SUFFIXES:
        return recordings[0]
    raise _no_recording(table, ", ".join(path.name for path in recordings))


def _no_recording(where: object, found: str) -> ClipsError:
    return ClipsError(
        f"{where}: expected one recording of the table's name beside it, or its file in a column "
        f"Begin File or Begin Path; found {found}",
        hint="put the recording there as WAV, FLAC or Ogg Vorbis, or move the table away",
    )


def _add_selections(labelled: Labelled, table: Path, beside: list[Path]) -> None:
    """Hand the selections of a table to their recordings: those of its column, else of its name."""
    selections = read_selections(table)
    own = _of_that_name(table, beside)
    if own and not any(selection.audio for selection in selections):
        labelled[_only(table, own)] += [(each.where, each.annotation) for each in selections]
        return
    if not selections:
        raise _no_recording(table, "none")
    for selection in selections:
        recording = _named_audio(table, selection, beside)
        labelled[recording].append((selection.where, selection.annotation))


def _of_that_name(table: Path, recordings: list[Path]) -> list[Path]:
    """Recordings whose name, and then a dot, begin that of a table: those of the longest name."""
    fitting = [path for path in recordings if table.name.startswith(f"{path.stem}.")]
    longest = max((len(path.stem) for path in fitting), default=0)
    return [path for path in fitting if len(path.stem) == longest]


def _named_audio(table: Path, selection: Selection, beside: list[Path]) -> Path:
    """The file that a selection names, or what became of it in another format."""
    for name in selection.audio:
        for relative in (name, PureWindowsPath(name).as_posix()):
            path = table.parent / path_of(relative)
            if os.path.isfile(path):  # noqa: PTH113 - False too where the name is none
                return path
    for name in selection.audio:
        if converted := _named(PureWindowsPath(name).stem, beside):
            return _only(table, converted)
    raise _no_recording(selection.where, " and ".join(selection.audio) or "none")


def _cut_all(labelled: Labelled, window_s: float | None) -> tuple[list[Clip], list[str]]:
    clips, left_out = [], []
    for recording, lines in sorted(labelled.items()):
        if window_s is None:
            raise ClipsError(
                f"{recording}: has strong labels, and no window length to cut it by was given",
                hint="strong labels are for commands that know the length of a window",
            )
        try:
            with AudioFile(recording, channel=0) as audio:
                duration_s = audio.n_samples / audio.sample_rate_hz
        except AudioError as error:
            left_out.append(error.message)
            continue
        annotations = [_within(where, each, duration_s) for where, each in lines]
        clips += cut_windows(recording, duration_s, annotations, window_s)
    return clips, left_out


def _within(where: str, annotation: Annotation, duration_s: float) -> Annotation:
    if annotation.end_s > duration_s + ROUNDING_S:
        raise ClipsError(
            f"{where}: ends at {annotation.end_s} s, but the recording is {duration_s:g} s long",
            hint="is it the table of another recording?",
        )
    return annotation


def cut_windows(
    recording: Path, duration_s: float, annotations: list[Annotation], window_s: float
) -> list[Clip]:
    """Consecutive windows of a recording, with what is heard in each.

    A rest shorter than half a window belongs to the window before it.

    Parameters
    ----------
    recording : Path
    duration_s : float
    annotations : list of Annotation
        All of the recording; what lies behind its end counts for the last window.
    window_s : float
    """
    n_windows = max(1, int(duration_s / window_s + 0.5))
    edges = [index * window_s for index in range(n_windows)] + [duration_s]
    heard: list[set[str]] = [set() for _ in range(n_windows)]
    touched: list[set[str]] = [set() for _ in range(n_windows)]
    for annotation in annotations:
        first, last = (
            min(int(time / window_s), n_windows - 1)
            for time in (annotation.start_s, annotation.end_s)
        )
        for index in range(first, last + 1):
            begin_s, end_s = edges[index], edges[index + 1]
            inside_s = min(annotation.end_s, end_s) - max(annotation.start_s, begin_s)
            length_s = min(annotation.end_s - annotation.start_s, end_s - begin_s)
            if first == last or inside_s > max(0.0, length_s / 2 - _EXACT_S):
                heard[index].add(annotation.label)
            elif inside_s > _EXACT_S:
                touched[index].add(annotation.label)
    group = source_recording(recording)
    return [
        Clip(
            recording, tuple(sorted(heard[index])), group, edges[index], edges[index + 1],
            unknown=tuple(sorted(touched[index] - heard[index])),
        )
        for index in range(n_windows)
    ]  # fmt: skip
