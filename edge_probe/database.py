"""Databases of a state folder: changed all or nothing, read whether anybody writes or not.

One that is damaged is put aside by the process that writes it.
"""

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from edge_probe.errors import StateError

_log = logging.getLogger(__name__)

Found = TypeVar("Found")

_BUSY_S = 5.0
_BLOCK_BYTES = 1 << 16
_READ_BYTES = 1 << 20
_CACHE_KIB = 256
_FRAME_HEADER_BYTES = 24
"""Before each page in the log (https://www.sqlite.org/fileformat2.html, 4.1)."""

_BEAT_OPERATIONS = 100_000
"""Of SQLite's machine or, where it counts them, pages: a fraction of a second."""

LOG_BYTES = 512 << 10
"""Of a ``-wal`` file: some forty transactions of the classifier, or half an hour of the ledger."""

_LOG_SLACK_BYTES = 32 << 10
"""For the transaction that is the last one before SQLite begins the file anew."""


class _Connection(sqlite3.Connection):
    """Python cannot decode what SQLite says of a schema with stray bytes: that is damage, too."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError as error:
            damage = sqlite3.DatabaseError(f"malformed database schema: {error}")
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage from error


def connect(database: Path | str, **settings: Any) -> sqlite3.Connection:
    """As `sqlite3.connect`; all damage is an `sqlite3.DatabaseError`."""
    return sqlite3.connect(database, factory=_Connection, **settings)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; with ``synchronous = FULL`` safe from a power cut at its end."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is no sound database."""
    code = getattr(error, "sqlite_errorcode", 0)  # errors that SQLite did not raise have none
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # above: details


def put_aside_if_damaged(path: Path, beat: Callable[[], object] = lambda: None) -> bool:
    """Rename a database whose damage can be proven to ``NAME.damaged-N``; whether that was so.

    All of it is read, a gigabyte after a year: to be asked once SQLite has met damage. An empty
    file is damage then (SQLite takes one of a single byte for empty, too): it lost what SQLite
    still knew of it.

    Parameters
    ----------
    path : Path
        Nobody has it open to write.
    beat : callable, optional
        Called now and then meanwhile.

    Raises
    ------
    sqlite3.Error, OSError
        The disk fails.
    """
    damage = _damage(path, beat)
    if damage:
        _log.error("%s: damaged: %s; kept as %s", path, damage, put_aside(path).name)
    return damage is not None


def put_aside(path: Path) -> Path:
    """Rename a file that is damaged, with the log of a database; its new name.

    Raises
    ------
    OSError
        The disk fails.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    return path.rename(aside)


def _damage(path: Path, beat: Callable[[], object]) -> str | None:
    """What is wrong with a database, or None.

    Raises
    ------
    OSError
        The disk fails; SQLite calls that damage, too (``SQLITE_IOERR_CORRUPTFS`` of vdbe.c).
    """

    def go_on() -> int:
        beat()
        return 0

    for part in (path, path.with_name(path.name + "-wal")):
        if part.exists():
            _read_through(part, beat)
    db = connect(path, timeout=_BUSY_S)
    try:
        db.set_progress_handler(go_on, _BEAT_OPERATIONS)
        (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if db.execute("PRAGMA page_count").fetchone() == (0,):  # sound, says SQLite
            verdict = "nothing is in it"
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        verdict = str(error)
    finally:
        db.close()
    return None if verdict == "ok" else " ".join(verdict.split())  # it has lines


def _read_through(path: Path, beat: Callable[[], object]) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(_READ_BYTES):
            beat()


def stay_small(db: sqlite3.Connection) -> None:
    """Keep few pages in memory: SQLite's own 2 MiB fill within weeks and never shrink.

    Parameters
    ----------
    db : sqlite3.Connection
        That is open for months.
    """
    db.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")


def bound_log(db: sqlite3.Connection) -> None:
    """Let whoever commits empty the ``-wal`` file before it outgrows `LOG_BYTES`.

    Parameters
    ----------
    db : sqlite3.Connection
        That will write; it is a matter of each connection.
    """
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    n_frames = (LOG_BYTES - _LOG_SLACK_BYTES) // (page_bytes + _FRAME_HEADER_BYTES)
    db.execute(f"PRAGMA wal_autocheckpoint = {n_frames}")


def settle_log(db: sqlite3.Connection, path: Path) -> None:
    """Write the ``-wal`` file once more as it is read, lengthen it to `LOG_BYTES`, and sync it.

    To be called before anything joins it. After a sync that failed, Linux reads from memory what
    never reached the disk and takes it for written (Rebello et al., ATC 2020). Whoever opens the
    database then finds that transaction whole and appends to it; after a power cut SQLite stops
    reading where it misses, and what was appended is lost although its own sync succeeded.

    While the file grows, every commit goes through the journal of the file system, too, which
    writes more than the commit. What lies behind the last commit SQLite does not read, zeros or
    what else was there. A disk without room leaves the file as long as it is.

    Parameters
    ----------
    db : sqlite3.Connection
        Not in a transaction.
    path : Path
        Of its database.

    Raises
    ------
    OSError, sqlite3.Error
        The disk fails.
    """
    log = path.with_name(path.name + "-wal")
    with transaction(db):  # nobody else writes meanwhile
        if not log.exists():
            return
        with log.open("r+b", buffering=0) as file:
            at = 0
            while block := os.pread(file.fileno(), _BLOCK_BYTES, at):
                at += os.pwrite(file.fileno(), block, at)
            _lengthen(file.fileno(), at)
            os.fsync(file.fileno())


def _lengthen(fd: int, n_bytes: int) -> None:
    """With zeros that are written: blocks that are only allocated cost the journal as much."""
    at = n_bytes
    try:
        while at < LOG_BYTES:
            at += os.pwrite(fd, bytes(min(_BLOCK_BYTES, LOG_BYTES - at)), at)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.ftruncate(fd, n_bytes)  # the room is for what has to be written


def open_to_read(path: Path, timeout_s: float = _BUSY_S) -> sqlite3.Connection:
    """A connection that only reads, and stays small however long it is open.

    Parameters
    ----------
    path : Path
    timeout_s : float
        How long to wait for whoever holds a lock.

    Raises
    ------
    sqlite3.Error
        It cannot be read.
    """
    db = connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout_s)
    try:
        stay_small(db)
    except BaseException:
        db.close()
        raise
    return db


def inode(path: Path) -> int:
    """Of a database; 0 where there is none. Another one was begun if it is another number."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def read(path: Path, look: Callable[[sqlite3.Connection], Found], version: int) -> Found:
    """What a function finds in a database; nothing is left behind in its folder.

    While there is a ``-wal`` file, SQLite reads what is committed and waits for nobody. Where there
    is none, nobody has the database open, and SQLite would make the file only to read: a trace in a
    folder that is not ours, and impossible on a medium that is mounted read-only. So it is then
    read as immutable, and read again should somebody have begun to write meanwhile.

    Parameters
    ----------
    path : Path
    look : callable
        Is given the connection, once or several times. It should be quick: the writer cannot
        shorten its ``-wal`` meanwhile.
    version : int
        Newest ``user_version`` that ``look`` understands.

    Raises
    ------
    StateError
        It is missing, of a newer version, damaged, no database, or cannot be read where it is.
    """
    if not path.exists():
        raise StateError(f"{path}: no such file", hint="is this a recorder's state folder?")
    while True:
        before = _signs(path)
        try:
            query = "mode=ro&immutable=1" if before.resting else "mode=ro"
            found = _read(path, query, look, version)
        except sqlite3.Error as error:
            if before.resting and _signs(path) != before:
                continue
            raise StateError(f"{path}: cannot be read: {error}", hint=_way_out(error)) from error
        if not before.resting or _signs(path) == before:
            return found


def _way_out(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_INTERNAL) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "it is damaged: the command .recover of sqlite3 reads what is left of it"
        case sqlite3.SQLITE_ERROR:
            return "it lacks what a recorder writes: was it made by another program?"
        case _:
            return "copy the whole folder to where it can be written, then look at the copy"


def _read(
    path: Path, query: str, look: Callable[[sqlite3.Connection], Found], version: int
) -> Found:
    uri = f"file:{quote(os.fsencode(path.absolute()))}?{query}"
    db = connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S)
    try:
        db.execute("BEGIN")  # one moment for all that is looked at
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found > version:
            raise StateError(
                f"{path}: expected version {version} or older, found {found}",
                hint="it was made by a newer edge-probe: install that one",
            )
        return look(db)
    finally:
        db.close()


class _Signs(NamedTuple):
    resting: bool
    """There is no -wal: nobody has it open."""
    changed_ns: int
    n_bytes: int


def _signs(path: Path) -> _Signs:
    stat = path.stat()
    wal = path.with_name(path.name + "-wal")
    return _Signs(not wal.exists(), stat.st_mtime_ns, stat.st_size)
