"""A folder of audio per class, with ``Background`` and ``-Species``."""

from dataclasses import replace
from pathlib import Path

from export.clips.clip import (
    OTHER_AUDIO,
    SUFFIXES,
    Clip,
    ClipsError,
    cut_from,
    source_recording,
    statement,
)
from export.clips.text import utf8_name


def read_class_folders(root: Path) -> tuple[list[Clip], list[str]]:
    """Clips of a folder tree, and a line for every audio file of another kind."""
    clips: list[Clip] = []
    left_out = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        if folder.name.startswith("."):
            continue
        heard, absent = statement(str(folder), [utf8_name(Path(folder.name))])
        files = visible_files(folder)
        usable = [path for path in files if path.suffix.lower() in SUFFIXES]
        others = [path for path in files if path.suffix.lower() in OTHER_AUDIO]
        if not usable:
            raise ClipsError(
                f"{folder}: holds no {', '.join(sorted(SUFFIXES))} file"
                + (f", but {len(others)} of other kinds" if others else ""),
                hint="convert them, for example with: ffmpeg -i IN OUT.flac"
                if others
                else "put recordings there, or move the folder away",
            )
        clips += [Clip(path, heard, source_recording(path), absent=absent) for path in usable]
        left_out += [not_read(path) for path in others]
    return clips, left_out


def visible_files(root: Path) -> list[Path]:
    """Every file below a folder, in order, but for hidden ones and those in hidden folders.

    Where macOS writes to a disk of another make, ``._NAME`` stands beside every file.
    """
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(name.startswith(".") for name in path.relative_to(root).parts)
    ]


def not_read(path: Path) -> str:
    """The line for an audio file of another kind."""
    return f"{path}: {path.suffix} files are not read"


def told_apart(root: Path, clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Clips whose names tell at least two recordings apart, else every file as one of its own.

    Files that were cut from one recording, by their names, are one also then.
    """
    if len({clip.path for clip in clips}) < 2 or len({clip.group for clip in clips}) > 1:
        return clips, []
    warning = (
        f"{root}: by their names all clips were cut from one recording, {clips[0].group!r}; each "
        "file, or file that several were cut from, now counts as a recording of its own: a CSV "
        "file with a column group says it better"
    )
    apart = [replace(clip, group=cut_from(clip.path) or str(clip.path)) for clip in clips]
    return apart, [warning]
