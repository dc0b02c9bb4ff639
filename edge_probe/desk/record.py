"""``collected.json``: what was brought into a folder, when and from where, and what was bad."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge_probe import __version__
from edge_probe.deployment.state import replace_file
from edge_probe.errors import StateError

NAME = "collected.json"

UNFINISHED = "collected.part"
"""Beside it while a folder is not complete: a line for each file that is safe there."""

VERSION = 1


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file that lies in the folder, verified."""

    sha256: str
    n_bytes: int
    mtime_ns: int
    """Of the source; 0: it was made here."""


@dataclass(frozen=True, slots=True)
class Bad:
    """Something that is missing, damaged, or not what the ledger says."""

    what: str
    """A file, as it is called in a state folder."""
    why: str


@dataclass(slots=True)
class Collection:
    """One time that a card was brought."""

    source: str
    begun_utc: str
    ended_utc: str = ""
    was_recording: bool = False
    """A recorder was at work there meanwhile."""
    n_copied: int = 0
    copied_bytes: int = 0
    n_there: int = 0
    """Files that were there already."""
    notes: list[str] = field(default_factory=list)
    """What was decided on the way."""
    bad: list[Bad] = field(default_factory=list)


class Record:
    """Of one folder; it remembers across a kill what is safe there.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    StateError
        ``collected.json`` is not what we wrote.
    OSError
        The disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, FileNote] = {}
        """By name within the folder."""
        self._collections: list[dict[str, Any]] = []
        path = folder / NAME
        if path.exists():
            try:
                told = json.loads(path.read_bytes())
                if told["version"] > VERSION:
                    raise StateError(
                        f"{path}: expected version {VERSION} or older, found {told['version']}",
                        hint="it was made by a newer edge-probe: install that one",
                    )
                self.files = {name: FileNote(**note) for name, note in told["files"].items()}
                self._collections = told["collections"]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise StateError(
                    f"{path}: expected what edge-probe collect writes, found something else:"
                    f" {error}",
                    hint="rename it: every file is then compared with the card again",
                ) from error
        self.files |= dict(self._lines())

    def _lines(self) -> Iterator[tuple[str, FileNote]]:
        path = self._folder / UNFINISHED
        if not path.exists():
            return
        for line in path.read_bytes().splitlines():
            try:
                name, *note = json.loads(line)
            except ValueError:  # cut short by a kill: that file is compared with the card again
                continue
            yield name, FileNote(*note)

    def begin(self) -> None:
        """Say that the folder is not complete."""
        (self._folder / UNFINISHED).touch()

    def add(self, name: str, note: FileNote) -> None:
        """Remember a file."""
        self.files[name] = note
        line = json.dumps([name, note.sha256, note.n_bytes, note.mtime_ns])
        with (self._folder / UNFINISHED).open("ab") as file:
            file.write(line.encode() + b"\n")

    def drop(self, name: str) -> None:
        """Forget a file that another one took the place of."""
        self.files.pop(name, None)

    def finish(self, deployment_id: str, collection: Collection) -> None:
        """Write it; the folder is complete."""
        self._collections.append(asdict(collection))
        told = {
            "version": VERSION,
            "edge_probe": __version__,
            "deployment_id": deployment_id,
            "collections": self._collections,
            "files": {name: asdict(note) for name, note in sorted(self.files.items())},
        }
        text = json.dumps(told, ensure_ascii=False, indent=1) + "\n"
        replace_file(self._folder / NAME, text.encode("utf-8", "backslashreplace"))  # JSON, too
        (self._folder / UNFINISHED).unlink()
