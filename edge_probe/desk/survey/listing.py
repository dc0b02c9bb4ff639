"""The list of work: which files, in which order, in which batches.

Made in SQLite on the disk, so that a million names take no memory, and sorted by the bytes of the
paths, so that every machine makes the same list of the same files.
"""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_probe.errors import EdgeProbeError, StateError

SUFFIXES = frozenset([
    ".wav", ".wave", ".w64", ".flac", ".ogg", ".oga",
    ".aac", ".aif", ".aiff", ".m4a", ".mp3", ".opus", ".w4v", ".wac", ".wma",
])  # fmt: skip
"""Of names that say that a file is audio, also of a kind that is then told not to be read; others
are none of our business."""

N_BATCHES = 4096
"""A batch is this part of the whole: what a kill costs, and how many result files there are."""

BATCH_BYTES = 16 << 20
"""Of the smallest batch."""

_FILE_BYTES = 1 << 16
"""What opening a file costs, as bytes read."""

_OUT_OF_REACH = {errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Of a name in the folder: it is told, and the others are listed all the same."""

_TABLES = """
CREATE TABLE file (path BLOB PRIMARY KEY, n_bytes INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE batch (
    batch INTEGER PRIMARY KEY, first_path BLOB NOT NULL, first_file INTEGER NOT NULL,
    n_files INTEGER NOT NULL, n_bytes INTEGER NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the list."""

    number: int
    """Counted from 0, in the order of the list."""
    path: str
    """From the folder on, with ``/``."""
    n_bytes: int
    """0, too, where that cannot be told: it will be found out what it is."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that are analysed by one process, and whose results are kept together."""

    number: int
    """Counted from 0."""
    entries: tuple[Entry, ...]

    @property
    def n_bytes(self) -> int:
        """Of all its files."""
        return sum(entry.n_bytes for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Extent:
    """What a list holds; two lists are the same if this is."""

    n_files: int
    n_bytes: int
    n_batches: int
    files_sha256: str
    """Of paths and sizes, in their order."""


def make_list(folder: Path, path: Path, batch_bytes: int = BATCH_BYTES) -> None:
    """List a folder.

    Folders in it are looked into, also through links; hidden names are left out.

    Parameters
    ----------
    folder : Path
    path : Path
        Of the new list; replaced.
    batch_bytes : int
        Of the smallest batch.

    Raises
    ------
    EdgeProbeError
        It cannot be read, or holds no audio.
    StateError
        The list cannot be written.
    """
    path.unlink(missing_ok=True)
    # nolock: there is one writer, and file systems of clusters often have no locks
    db = sqlite3.connect(f"{path.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(_TABLES)
        db.execute("BEGIN")
        db.executemany("INSERT INTO file VALUES (?, ?)", _found(folder))
        n_files, n_bytes = db.execute("SELECT count(*), total(n_bytes) FROM file").fetchone()
        if not n_files:
            raise EdgeProbeError(
                f"{folder}: expected audio files, found none by their names",
                hint="names end with .wav, .w64, .flac or .ogg",
            )
        weight = max(batch_bytes, (n_bytes + n_files * _FILE_BYTES) / N_BATCHES)
        db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", _batches(db, weight))
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise StateError(
            f"{path}: cannot be written: {error}", hint="look at free space and permissions"
        ) from error
    finally:
        db.close()


class Listing:
    """A list that was made; to be closed.

    Parameters
    ----------
    path : Path
        Of the list.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def extent(self) -> Extent:
        """What it holds."""
        told, n_files, n_bytes = hashlib.sha256(), 0, 0
        for path, size in self._db.execute("SELECT path, n_bytes FROM file ORDER BY path"):
            told.update(b"%s\0%d\n" % (path, size))
            n_files += 1
            n_bytes += size
        (n_batches,) = self._db.execute("SELECT count(*) FROM batch").fetchone()
        return Extent(n_files, n_bytes, n_batches, told.hexdigest())

    def batch_bytes(self) -> list[int]:
        """Bytes of the files of each batch."""
        return [n for (n,) in self._db.execute("SELECT n_bytes FROM batch ORDER BY batch")]

    def batch(self, number: int) -> Batch:
        """One of them."""
        first_path, first_file, n_files = self._db.execute(
            "SELECT first_path, first_file, n_files FROM batch WHERE batch = ?", (number,)
        ).fetchone()
        rows = self._db.execute(
            "SELECT path, n_bytes FROM file WHERE path >= ? ORDER BY path LIMIT ?",
            (first_path, n_files),
        )
        entries = (Entry(first_file + i, os.fsdecode(p), n) for i, (p, n) in enumerate(rows))
        return Batch(number, tuple(entries))

    def entries(self) -> Iterator[Entry]:
        """All files, in their order."""
        rows = self._db.execute("SELECT path, n_bytes FROM file ORDER BY path")
        for number, (path, n_bytes) in enumerate(rows):
            yield Entry(number, os.fsdecode(path), n_bytes)

    def difference(self, before: Path) -> str:
        """What is not as in an earlier list, for people: the first file of that kind."""
        try:
            self._db.execute("ATTACH ? AS before", (f"{before.absolute().as_uri()}?immutable=1",))
        except sqlite3.DatabaseError as error:
            return f"which one, {before.name} cannot tell: {error}"
        changes = (
            ("is new, or its size has changed", "main", "before"),
            ("is not there any more", "before", "main"),
        )
        for words, one, other in changes:
            row = self._db.execute(
                f"SELECT path FROM (SELECT * FROM {one}.file EXCEPT SELECT * FROM {other}.file)"
                " ORDER BY path LIMIT 1"
            ).fetchone()
            if row is not None:
                return f"{os.fsdecode(row[0])} {words}"
        return "batches are cut in another way"


def _found(folder: Path) -> Iterator[tuple[bytes, int]]:
    """Path and size of what is named as audio; a folder that cannot be read is told as such."""
    try:
        yield from _inside(os.fspath(folder), "", frozenset())
    except OSError as error:
        raise StateError(
            f"{error.filename or folder}: cannot be listed: {error.strerror}",
            hint="look at its permissions, and that nobody changes the folder meanwhile",
        ) from error


def _inside(
    folder: str, prefix: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[bytes, int]]:
    told = os.stat(folder)  # noqa: PTH116
    here = (told.st_dev, told.st_ino)
    if here in above:  # a link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = prefix + entry.name
            try:
                if entry.is_dir():
                    yield from _inside(entry.path, f"{name}/", above | {here})
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122  Path interns
                    yield os.fsencode(name), entry.stat().st_size if entry.is_file() else 0
            except OSError as error:
                if error.errno not in _OUT_OF_REACH:
                    raise
                yield os.fsencode(name), 0


def _batches(db: sqlite3.Connection, weight: float) -> Iterator[tuple[int, bytes, int, int, int]]:
    """Number, first path, number of that, how many files, and bytes."""
    number = first_file = n_files = total = 0
    first_path = b""
    for path, n_bytes in db.execute("SELECT path, n_bytes FROM file ORDER BY path"):
        if not n_files:
            first_path = path
        n_files, total = n_files + 1, total + n_bytes
        if total + n_files * _FILE_BYTES >= weight:
            yield number, first_path, first_file, n_files, total
            number, first_file, n_files, total = number + 1, first_file + n_files, 0, 0
    if n_files:
        yield number, first_path, first_file, n_files, total
