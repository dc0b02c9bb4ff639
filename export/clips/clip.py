"""A clip and what is said about it: heard, certainly not heard, or unknown."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_probe.bundle.labels import LABEL_RULE, Label
from edge_probe.errors import EdgeProbeError

BACKGROUND = "Background"
"""Folder or label of clips that hold none of the classes."""

ABSENT = "-"
"""Before a class, as folder or label: that class is certainly not heard."""

SUFFIXES = frozenset({".wav", ".w64", ".flac", ".ogg", ".oga"})
OTHER_AUDIO = frozenset(
    {".mp3", ".m4a", ".aac", ".aif", ".aiff", ".opus", ".wma", ".mp4", ".caf", ".au"}
)

Split = Literal["train", "validation", "test"]


class ClipsError(EdgeProbeError):
    """Training material that does not say what it must."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One weak-label bag: a file or a part of it, and what is heard in it.

    Of a class that stands neither in `labels` nor in `absent` nor in `unknown`, nothing is known
    if `absent` is not empty; otherwise it is not heard. `holds` says it for one class.
    """

    path: Path
    labels: tuple[str, ...]
    """Classes that are heard; empty for background."""
    group: str
    """Source recording; clips of one group never stand on both sides of a split."""
    start_s: float | None = None
    end_s: float | None = None
    fold: int | None = None
    split: Split | None = None
    """Where the user put it; None: the splits are ours to make."""
    absent: tuple[str, ...] = ()
    """Classes that are certainly not heard, from ``-Species``; nothing is then known of those
    that stand nowhere."""
    unknown: tuple[str, ...] = ()
    """Classes of which nothing is known, because their sound only brushes this clip; those that
    stand nowhere are not heard."""

    def holds(self, label: str) -> bool | None:
        """Whether a class is heard in the clip; None where nobody knows."""
        if label in self.labels:
            return True
        if label in self.unknown or (self.absent and label not in self.absent):
            return None
        return False

    @property
    def is_background(self) -> bool:
        """Whether none of all classes is heard."""
        return not (self.labels or self.absent or self.unknown)


@dataclass(frozen=True, slots=True)
class ClipSet:
    """The clips and the classes they name, in alphabetical order."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """One line per recording that says nothing: of a kind that is not read, or without labels."""
    warnings: tuple[str, ...] = ()

    @property
    def n_background(self) -> int:
        """Clips without any class."""
        return sum(clip.is_background for clip in self.clips)


_RANK = re.compile(r"^[01]\.[0-9]{3}_[0-9]+_(?=.)")
"""Before the name of a recording: score and number of a segment, by BirdNET-Analyzer."""

_SPAN = re.compile(r"(?<=.)[-_][0-9]+(\.[0-9]+)?s[-_][0-9]+(\.[0-9]+)?s$")
"""Behind it: the part that was cut out, by BirdNET-Analyzer and OpenSoundscape."""


def cut_from(path: Path) -> str | None:
    """The name of the recording that a tool cut a clip from, if the clip's name says so.

    That is ``owl_night`` of ``0.913_7_owl_night_3.0s_6.0s.wav`` and ``owl_night_0s_5s.wav``.
    """
    name = _SPAN.sub("", _RANK.sub("", path.stem))
    return None if name == path.stem else name


def source_recording(path: Path) -> str:
    """The recording a clip was cut from, by its name: all before the last ``-`` or ``_``.

    ``1-100032-A`` and ``1-100032-B`` are one recording, and so are ``night3_0010`` and
    ``night3_0020``; a name without a separator is a recording of its own. What a tool put around
    the recording's name (`cut_from`) does not count. Caution costs only some freedom in splitting.
    """
    name = cut_from(path) or path.stem
    cut = max(name.rfind("-"), name.rfind("_"))
    return name[:cut] if cut > 0 else name


def class_name(where: str, text: str) -> str:
    """A class as it is written in a table or on a folder.

    Without outer blanks and composed (Unicode NFC): macOS may give a folder's ``é`` two code
    points where a keyboard gives one, and both are meant.

    Raises
    ------
    ClipsError
        No bundle may hold a class of that name.
    """
    name = unicodedata.normalize("NFC", text.strip())
    if not Label.parse(name).is_clean:
        raise ClipsError(f"{where}: {name[:60]!r} is no name of a class", hint=LABEL_RULE)
    return name


def statement(where: str, names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What some names say of a clip: classes that are heard, and classes that are not.

    Parameters
    ----------
    where : str
        For messages: the folder, or the table and its line.
    names : list of str
        Classes, ``-Class``, or `BACKGROUND` alone, for which both are empty.

    Raises
    ------
    ClipsError
        The names contradict each other, or one of them is no name.
    """
    for name in names:
        if name != BACKGROUND and name.lstrip(ABSENT).strip().casefold() == BACKGROUND.casefold():
            raise ClipsError(
                f"{where}: expected {BACKGROUND}, found {name!r}",
                hint=f"what holds none of the classes is spelt {BACKGROUND}",
            )
        if not name.removeprefix(ABSENT).strip():
            raise ClipsError(
                f"{where}: expected a class after the '-', found {name!r}",
                hint="-Species says that the species is certainly not heard",
            )
    others = [name for name in names if name != BACKGROUND]
    if others and len(others) < len(names):
        raise ClipsError(
            f"{where} is {BACKGROUND} and {others[0]} at once",
            hint=f"{BACKGROUND} means that no class is heard",
        )
    heard, absent = (
        tuple(dict.fromkeys(class_name(where, n.removeprefix(ABSENT)) for n in part))
        for part in (
            [n for n in others if not n.startswith(ABSENT)],
            [n for n in others if n.startswith(ABSENT)],
        )
    )
    if both := sorted({*heard} & {*absent}):
        raise ClipsError(
            f"{where} is {both[0]} and -{both[0]} at once",
            hint=f"-{both[0]} means that it is certainly not heard",
        )
    return heard, absent
