"""Labelled clips: folders of classes, CSV manifests, recordings with strong labels."""

from difflib import get_close_matches
from pathlib import Path

from export.clips.annotated import TABLES, is_annotated, read_annotated, read_table
from export.clips.clip import (
    ABSENT,
    BACKGROUND,
    SUFFIXES,
    Clip,
    ClipsError,
    ClipSet,
    Split,
    source_recording,
)
from export.clips.folder import read_class_folders, told_apart
from export.clips.manifest import read_manifest, write_manifest

__all__ = [
    "ABSENT",
    "BACKGROUND",
    "SUFFIXES",
    "Clip",
    "ClipSet",
    "ClipsError",
    "Split",
    "read_clips",
    "source_recording",
    "write_manifest",
]


def read_clips(
    path: Path,
    folds: list[int] | None = None,
    window_s: float | None = None,
    *,
    without_test: bool = False,
) -> ClipSet:
    """Read training clips.

    Parameters
    ----------
    path : Path
        A folder with one folder of audio files per class (`folder`), a folder of recordings with
        Raven or Audacity labels beside them or one Raven table, a ``.txt`` file, that names its
        audio (`annotated`), or a CSV manifest (`manifest`).
    folds : list of int, optional
        Keep only clips of these folds.
    window_s : float, optional
        Length of the deployment window; recordings with strong labels are cut by it.
    without_test : bool
        Leave out the clips that were put into the test by hand, with a warning.

    Raises
    ------
    ClipsError
        Nothing is there, it contradicts itself, or strong labels come without ``window_s``.
    """
    left_out: list[str] = []
    warnings: list[str] = []
    if path.is_dir():
        if is_annotated(path):
            clips, left_out = read_annotated(path, window_s)
        else:
            clips, left_out = read_class_folders(path)
        clips, warnings = told_apart(path, clips)
    elif path.suffix.lower() in TABLES and path.is_file():
        clips, left_out = read_table(path, window_s)
        clips, warnings = told_apart(path, clips)
    elif path.is_file():
        clips = list(read_manifest(path))
    else:
        raise ClipsError(f"{path}: no such folder or table", hint="name a folder of clips")
    if folds:
        clips = [clip for clip in clips if clip.fold in folds]
    among = f" in folds {folds}" if folds else ""
    if without_test and (for_test := [clip for clip in clips if clip.split == "test"]):
        clips = [clip for clip in clips if clip.split != "test"]
        warnings.append(f"{path}: {len(for_test)} clips are for the test: nothing is learned there")
        among += " outside the test"
    labels = _classes(path, clips, among)
    return ClipSet(tuple(clips), labels, tuple(left_out), tuple(warnings))


def _classes(path: Path, clips: list[Clip], among: str) -> tuple[str, ...]:
    """The classes that some clip holds, in alphabetical order."""
    labels = sorted({label for clip in clips for label in clip.labels})
    if not labels:
        raise ClipsError(
            f"{path}: no labelled clip found{among}",
            hint="a folder of audio per class, named 'Scientific name_Common name'",
        )
    for absent in sorted({label for clip in clips for label in clip.absent} - set(labels)):
        near = get_close_matches(absent, labels, 1)
        raise ClipsError(
            f"{path}: {ABSENT}{absent} is there, but no clip of {absent}{among}",
            hint=f"did you mean {ABSENT}{near[0]}?" if near else f"add clips of {absent}",
        )
    return tuple(labels)
