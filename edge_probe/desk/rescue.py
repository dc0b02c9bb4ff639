"""What can still be read of a database that is damaged, as a sound one.

SQLite reads along a tree of pages. Where one is broken, it is asked for rows ever farther on, until
it finds some again. What hangs on a broken page is lost to it, and looked for in all pages, one by
one.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from edge_probe.database import connect, is_damage
from edge_probe.desk.pages import Shape, drop_half_page, rows_of_pages

_STRIDES = (
    "n", "first_n", "first_frame", "monotonic_ns", "detection", "deletion", "duty", "class_index",
    "stream", "boot", "bundle",
)  # fmt: skip
"""Columns of keys along which rows follow each other, the finest first."""

_FARTHEST = 1 << 62

Row = tuple[Any, ...]


def rescue(damaged: Path, target: Path, tables: str, version: int) -> dict[str, int]:
    """Make a sound database of what can be read of a damaged one.

    Parameters
    ----------
    damaged : Path
        Our own copy; its ``-wal`` is merged.
    target : Path
        Must not exist.
    tables : str
        Statements that make the tables.
    version : int
        The ``user_version`` of these.

    Returns
    -------
    dict
        Rows by table, those of which there are none left out.

    Raises
    ------
    sqlite3.Error, OSError
        The disk fails.
    """
    drop_half_page(damaged)
    with closing(connect(target, isolation_level=None)) as sound:
        sound.execute("PRAGMA foreign_keys = OFF")
        sound.execute("BEGIN")
        for statement in tables.split(";\n"):
            sound.execute(statement)
        sound.execute(f"PRAGMA user_version = {version}")
        query = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid"
        names = [name for (name,) in sound.execute(query)]
        found = Counter(_by_trees(damaged, sound, names))
        for table, row in rows_of_pages(damaged, [_shape(sound, name) for name in names]):
            if table not in _GROWING or None not in row:
                found[table] += _insert(sound, table, row)
        sound.execute("COMMIT")
    return {name: found[name] for name in names if found[name]}


_GROWING = ("segment", "gap")
"""Tables of which rows are taken away again before their end is known; a free page has them yet."""


def _by_trees(damaged: Path, sound: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    """Bring what SQLite reads; the ``-wal`` is merged afterwards, as far as it goes."""
    with closing(connect(damaged, isolation_level=None)) as source:
        source.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            source.execute("PRAGMA writable_schema = ON")  # a file that was cut off opens, too
            (number,) = source.execute("PRAGMA application_id").fetchone()
            sound.execute(f"PRAGMA application_id = {number}")
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        return {
            name: sum(_insert(sound, name, row) for row in _Table(source, sound, name).rows())
            for name in names
        }


def _insert(sound: sqlite3.Connection, table: str, row: Row) -> int:
    """Rows that are new: 1 or 0."""
    try:
        marks = ", ".join("?" * len(row))
        return sound.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
    except sqlite3.IntegrityError:  # tables are strict: no such value belongs there
        return 0


def _columns(sound: sqlite3.Connection, table: str) -> list[tuple[str, str, bool, int]]:
    """Name, type, whether it is never NULL, and place in the key, from 1; 0: not in it."""
    query = f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')"
    return [(name, kind, bool(full), at) for name, kind, full, at in sound.execute(query)]


def _shape(sound: sqlite3.Connection, table: str) -> Shape:
    columns = _columns(sound, table)
    key = [n for n, column in enumerate(columns) if column[3]]
    query = f"SELECT wr FROM pragma_table_list('{table}')"
    (has_no_rowid,) = sound.execute(query).fetchone()
    return Shape(
        table, [kind for _, kind, _, _ in columns], [full for _, _, full, _ in columns],
        None if has_no_rowid else key[0],
    )  # fmt: skip


class _Table:
    """A table of the damaged database, in the order of its key."""

    def __init__(self, db: sqlite3.Connection, sound: sqlite3.Connection, name: str) -> None:
        self._db = db
        columns = _columns(sound, name)
        key = [column for column in sorted(columns, key=lambda one: one[3]) if column[3]]
        self._names, self._key = [one[0] for one in columns], [one[0] for one in key]
        self._least = tuple(-1 if one[1] == "INTEGER" else "" for one in key)
        self._from = f"SELECT {', '.join(self._names)} FROM {name}"
        self._behind = f"{', '.join(self._key)}) > ({', '.join('?' * len(key))}"
        self._stride = next((self._key.index(one) for one in _STRIDES if one in self._key), None)

    def rows(self) -> Iterator[Row]:
        """All that can be read, some of them twice."""
        after, step, damaged_after = self._least, 0, None
        while True:
            try:
                for row in self._rows(after, step):
                    at = tuple(row[self._names.index(name)] for name in self._key)
                    if all(type(a) is type(b) for a, b in zip(at, after, strict=True)):
                        after, step = max(after, at), 0
                    yield row
                return
            except sqlite3.DatabaseError as error:
                _pass_damage(error)
            found = self._over_damage(after, step + 1 if damaged_after == after else 1)
            if found is None:
                break
            step, damaged_after = found, after
        yield from self._backwards()

    def _rows(self, after: Row, step: int) -> sqlite3.Cursor:
        """Those behind a key, or behind one that lies a step farther on."""
        at = list(after)
        if self._stride is not None:
            at[self._stride] += step
        return self._db.execute(
            f"{self._from} WHERE ({self._behind}) ORDER BY {', '.join(self._key)}", at
        )

    def _over_damage(self, after: Row, step: int) -> int | None:
        """The least step, as far as halving finds it, behind which there is a row, or the end."""
        if self._stride is None:
            return None
        too_short = step - 1
        while not self._is_readable(after, step):
            too_short, step = step, 2 * step
            if step > _FARTHEST:
                return None
        while step - too_short > 1:
            middle = (too_short + step) // 2
            if self._is_readable(after, middle):
                step = middle
            else:
                too_short = middle
        return step

    def _is_readable(self, after: Row, step: int) -> bool:
        try:
            self._rows(after, step).fetchone()
        except sqlite3.DatabaseError as error:
            _pass_damage(error)
            return False
        return True

    def _backwards(self) -> Iterator[Row]:
        """From the end to the last damage."""
        order = ", ".join(f"{name} DESC" for name in self._key)
        try:
            yield from self._db.execute(f"{self._from} ORDER BY {order}")
        except sqlite3.DatabaseError as error:
            _pass_damage(error)


def _pass_damage(error: sqlite3.DatabaseError) -> None:
    """Raise it again if it says anything else; a schema that is gone lacks its tables."""
    if not is_damage(error) and "no such" not in str(error):
        raise error
