"""Where studies are kept so that several processes, on one machine or many, can join them.

A file of one JSON record per line by default: it is only ever appended to, by whoever holds a
lock that works on network file systems as well. Or a database by its URL.
"""

import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from edge_probe.errors import EdgeProbeError

SQLITE_WAIT_S = 60
"""How long a process waits for the others to let go of an SQLite file."""

CREATION_ATTEMPTS, CREATION_PAUSE_S = 3, 0.5


class StudyError(EdgeProbeError):
    """A study that cannot be opened, or that is about something else."""


def open_storage(where: str) -> BaseStorage:
    """Open or create the storage of studies.

    Parameters
    ----------
    where : str
        File, or URL of a database as SQLAlchemy reads it.

    Raises
    ------
    StudyError
        It is no storage of studies, or the database cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _open_database(where) if "://" in where else _open_journal(Path(where))


def _open_journal(path: Path) -> JournalStorage:
    lock = JournalFileOpenLock(str(path))
    try:
        if path.exists():
            lock.acquire()
            try:
                _drop_torn_record(path)
            finally:
                lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock))
    except OSError as error:
        raise StudyError(
            f"{path}: {error.strerror}", hint="name a file of a folder that is there for --study"
        ) from error
    except (ValueError, KeyError) as error:
        raise StudyError(
            f"{path}: expected a file of studies, found something else",
            hint="choose a new file for --study",
        ) from error


def _drop_torn_record(path: Path) -> None:
    """Cut off a last line that was never finished: the power failed before it was confirmed.

    Left there, it would make one unreadable line with the next record.
    """
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.startswith(b'{"op_code":'):
            raise ValueError("this is no record of Optuna's")
        file.truncate(content.rfind(b"\n") + 1)


def _open_database(url: str) -> RDBStorage:
    try:
        target = make_url(url)
        waits = {"timeout": SQLITE_WAIT_S} if target.get_backend_name() == "sqlite" else {}
        storage = _with_tables(url, {"connect_args": waits})
    except (SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(
            f"the database of --study cannot be opened: {reason}",
            hint="see https://docs.sqlalchemy.org/core/engines.html for URLs and drivers",
        ) from error
    if target.get_backend_name() == "sqlite":
        _lock_from_the_start(storage.engine)
    return storage


def _with_tables(url: str, engine_kwargs: dict[str, Any]) -> RDBStorage:
    """The database; where two processes create its tables at once, one of them must try again."""
    for _ in range(CREATION_ATTEMPTS - 1):
        try:
            return RDBStorage(url, engine_kwargs=dict(engine_kwargs))
        except DBAPIError:
            time.sleep(CREATION_PAUSE_S)
    return RDBStorage(url, engine_kwargs=dict(engine_kwargs))


def _lock_from_the_start(engine: Engine) -> None:
    """Let every SQLite transaction begin with the lock that it will need for writing.

    Optuna reads a trial's state and then writes it. SQLite knows no ``SELECT ... FOR UPDATE``:
    without this two processes are given the same trial (measured: 5 of 91).
    """

    @event.listens_for(engine, "connect")
    def _leave_transactions_to_us(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before
