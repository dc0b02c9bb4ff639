"""Databases of a recorder, copied while it writes or lies in a drawer; the source is not changed.

A database that somebody writes is copied by SQLite, page by page at one moment. One that nobody
writes is copied with its ``-wal`` as files: SQLite would have to write beside it only to read, and
cannot on a card that is mounted read-only.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from edge_probe.database import connect, stay_small
from edge_probe.desk.files import Tick, copy_file
from edge_probe.lock import CLASSIFIER_LOCK, LOCK, holder

_BUSY_S = 30.0
_PAGES_AT_ONCE = 4096


def is_written(folder: Path) -> bool:
    """Whether a recorder or a classifier is at work in a state folder.

    Raises
    ------
    OSError
        The disk fails.
    """
    return any(holder(folder, name) is not None for name in (LOCK, CLASSIFIER_LOCK))


def open_copy(path: Path) -> sqlite3.Connection:
    """A database without a ``-wal`` that nobody writes; only read, without a trace.

    Raises
    ------
    sqlite3.Error
        It cannot be read.
    """
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
    db = connect(uri, uri=True, isolation_level=None)
    try:
        stay_small(db)
    except BaseException:
        db.close()
        raise
    return db


def copy_database(source: Path, target: Path, tick: Tick = lambda _: None) -> None:
    """Copy what is committed in a database; the copy has no ``-wal``.

    Parameters
    ----------
    source : Path
        In a state folder.
    target : Path
        Overwritten, with ``-wal`` and ``-shm``.
    tick : callable, optional

    Raises
    ------
    sqlite3.DatabaseError
        It is damaged (`edge_probe.database.is_damage`). Unless somebody writes it, ``target`` and
        its ``-wal`` are then what the source's are, to the byte.
    StateError, OSError
        A disk fails, or the source keeps changing.
    """
    while True:
        for suffix in ("", "-wal", "-shm"):
            _beside(target, suffix).unlink(missing_ok=True)
        if is_written(source.parent):
            _back_up(source, target, tick)
            return
        before = _signs(source)
        copy_as_it_lies(source, target, tick)
        if _signs(source) == before and not is_written(source.parent):
            merge_log(target)
            return


def copy_as_it_lies(source: Path, target: Path, tick: Tick = lambda _: None) -> None:
    """Copy a database that nobody writes, and its ``-wal``, to the byte.

    Raises
    ------
    StateError, OSError
        A disk fails, or the source keeps changing.
    """
    for suffix in ("", "-wal"):
        if _beside(source, suffix).exists():
            copy_file(_beside(source, suffix), _beside(target, suffix), tick)


def merge_log(path: Path) -> None:
    """Bring what a ``-wal`` holds into our own copy of a database, and do without one.

    Raises
    ------
    sqlite3.Error
        It is damaged.
    """
    with closing(connect(path, isolation_level=None, timeout=_BUSY_S)) as db:
        _leave_log(db)
    for suffix in ("-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)  # an empty one SQLite leaves


def _back_up(source: Path, target: Path, tick: Tick) -> None:
    uri = f"file:{quote(os.fsencode(source.absolute()))}?mode=ro"
    with (
        closing(connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S)) as db,
        closing(connect(target, isolation_level=None)) as copy,
    ):
        db.execute("BEGIN")
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("SELECT 1 FROM sqlite_schema").fetchone()  # from here on it is one moment

        def step(_status: int, left: int, total: int) -> None:
            tick(min(_PAGES_AT_ONCE, total - left) * page_bytes)

        db.backup(copy, pages=_PAGES_AT_ONCE, progress=step)
        _leave_log(copy)


def _leave_log(db: sqlite3.Connection) -> None:
    (mode,) = db.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise sqlite3.OperationalError(f"the -wal file cannot be done without: mode {mode}")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _signs(path: Path) -> list[tuple[int, int]]:
    """What changes when somebody writes."""
    stats = [one.stat() for one in (path, _beside(path, "-wal")) if one.exists()]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]
