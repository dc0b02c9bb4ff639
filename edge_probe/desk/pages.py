"""Rows of a damaged database by its pages, whatever tree they hung on.

SQLite's own tree ends at a broken page, and of a file that was cut off a page near the root is
often among the last. `.recover` of the program sqlite3 does this too; that of 3.40 gives up on
files that were cut off (https://www.sqlite.org/fileformat2.html).
"""

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_MAGIC, _HEAD_BYTES = b"SQLite format 3\0", 100
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 0x0D, 0x0A, 0x02
_HEADER_BYTES = {_TABLE_LEAF: 8, _INDEX_LEAF: 8, _INDEX_INNER: 12}
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "INTEGER": int,
    "TEXT": str,
    "REAL": (float, int),
    "BLOB": bytes,
}

Row = tuple[Any, ...]


class Shape(NamedTuple):
    """By what the rows of a table are known."""

    table: str
    types: Sequence[str]
    needed: Sequence[bool]
    """Columns that are not NULL."""
    rowid: int | None
    """Column that is the number of the row and not stored; None: a table without them."""

    def takes(self, row: Row, page: int) -> bool:
        """Whether a row can be one of this table."""
        return (
            (page == _TABLE_LEAF) == (self.rowid is not None)
            and len(row) == len(self.types)
            and all(
                not needed if value is None else isinstance(value, _TYPES[kind])
                for value, kind, needed in zip(row, self.types, self.needed, strict=True)
            )
        )


def rows_of_pages(path: Path, shapes: Sequence[Shape]) -> Iterator[tuple[str, Row]]:
    """Rows in all pages that can be of one table only.

    Parameters
    ----------
    path : Path
        A database; its ``-wal`` is not looked at.
    shapes : sequence of Shape
        Its tables.

    Yields
    ------
    table : str
    row : tuple
        Some may stand in several pages, or in pages that are free now.
    """
    page_bytes = _page_bytes(path)
    if not page_bytes:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for begin in range(page_bytes, len(data) - page_bytes + 1, page_bytes):
            page = data[begin : begin + page_bytes]
            if page[0] in _HEADER_BYTES:
                yield from _rows_of_page(page, page_bytes - data[20], shapes)


def drop_half_page(path: Path) -> None:
    """Cut a database off where its last whole page ends.

    SQLite takes what is missing of a page for zeros, and so the end of a row in it.
    """
    page_bytes = _page_bytes(path)
    if page_bytes:
        os.truncate(path, path.stat().st_size // page_bytes * page_bytes)


def _page_bytes(path: Path) -> int:
    """Length of its pages; 0: it is too short, or no database."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES or not head.startswith(_MAGIC):
        return 0
    (page_bytes,) = struct.unpack_from(">H", head, 16)
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    return page_bytes if page_bytes >= 512 else 0


def _rows_of_page(page: bytes, usable: int, shapes: Sequence[Shape]) -> Iterator[tuple[str, Row]]:
    kind = page[0]
    (n_cells,) = struct.unpack_from(">H", page, 3)
    if _HEADER_BYTES[kind] + 2 * n_cells > usable:
        return
    for (at,) in struct.iter_unpack(">H", page[_HEADER_BYTES[kind] :][: 2 * n_cells]):
        try:
            number, row = _cell(page, at + 4 * (kind == _INDEX_INNER), kind, usable)
        except (IndexError, ValueError, struct.error):  # no cell, or one that goes on elsewhere
            continue
        found = []
        for shape in shapes:
            full = row
            if shape.rowid is not None and len(row) > shape.rowid and row[shape.rowid] is None:
                full = (*row[: shape.rowid], number, *row[shape.rowid + 1 :])
            if shape.takes(full, kind):
                found.append((shape.table, full))
        if len(found) == 1:
            yield found[0]


def _cell(page: bytes, at: int, kind: int, usable: int) -> tuple[int, Row]:
    """Number and row."""
    n_bytes, at = _varint(page, at)
    number = 0
    if kind == _TABLE_LEAF:
        number, at = _varint(page, at)
        most = usable - 35
    else:
        most = (usable - 12) * 64 // 255 - 23
    if n_bytes > most or at + n_bytes > usable:
        raise ValueError
    return number, _record(page[at : at + n_bytes])


def _record(data: bytes) -> Row:
    header_bytes, at = _varint(data, 0)
    types = []
    while at < header_bytes:
        kind, at = _varint(data, at)
        types.append(kind)
    row: list[Any] = []
    for kind in types:
        value, at = _value(data, at, kind)
        row.append(value)
    if at != len(data):
        raise ValueError
    return tuple(row)


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 0:
        return None, at
    if kind in _INT_BYTES:
        end = at + _INT_BYTES[kind]
        return int.from_bytes(data[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if kind in {8, 9}:
        return kind - 8, at
    if kind < 12:
        raise ValueError
    end = at + (kind - 12) // 2
    if end > len(data):
        raise ValueError
    return (data[at:end].decode() if kind % 2 else data[at:end]), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        byte = data[at + n]
        if n == 8:
            value = value << 8 | byte
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value - (value >> 63 << 64), at + n + 1
