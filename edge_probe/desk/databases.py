"""Databases of a card, brought to a folder of our own: sound, whatever they were."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_probe.analysis import tables as heard
from edge_probe.capture import tables as captured
from edge_probe.database import is_damage
from edge_probe.desk.copies import copy_as_it_lies, copy_database, is_written, open_copy
from edge_probe.desk.files import Tick
from edge_probe.desk.merge import add_detections, add_ledger
from edge_probe.desk.record import Bad, Collection
from edge_probe.desk.rescue import rescue
from edge_probe.errors import StateError

AS_FOUND = ".as-found"
"""Behind the name of a damaged database that is kept."""


class Kind(NamedTuple):
    """One of the two databases."""

    name: str
    tables: str
    version: int
    add: Callable[[Path, Path], None]
    is_oldest_first: bool
    """Of several, rows are added to the oldest one: numbers of detections stay what they were."""


DETECTIONS = Kind("detections.sqlite", heard.TABLES, heard.VERSION, add_detections, True)
CAPTURE = Kind("capture.sqlite", captured.TABLES, captured.VERSION, add_ledger, False)


@dataclass(frozen=True, slots=True)
class Brought:
    """A database that lies in our own folder, without ``-wal``."""

    path: Path
    is_whole: bool
    """Nothing was ever lost from it; a newer one holds all that an older one does."""


def bring(kind: Kind, state: Path, scratch: Path, told: Collection, tick: Tick) -> Brought | None:
    """Bring a database and what of it was put aside; None: the card has none.

    Parameters
    ----------
    kind : Kind
    state : Path
        State folder.
    scratch : Path
        Our own folder.
    told : Collection
        Is told what is bad.
    tick : callable

    Raises
    ------
    StateError
        It is of a newer version, or damaged while somebody writes it.
    sqlite3.Error, OSError
        A disk fails.
    """
    pieces = [
        found for aside in put_aside(kind, state)
        if (found := _rescue_aside(kind, aside, scratch, told, tick))
    ]  # fmt: skip
    is_sound = True
    if (state / kind.name).exists():
        is_sound = _bring_newest(kind, state / kind.name, scratch, told, tick)
        if has_tables(scratch / kind.name):  # otherwise somebody is about to make them
            pieces.append(scratch / kind.name)
    if not pieces:
        return None
    base, *others = pieces if kind.is_oldest_first else pieces[::-1]
    for other in others:
        kind.add(base, other)
    return Brought(base, is_sound and not others and base.name == kind.name)


def put_aside(kind: Kind, state: Path) -> list[Path]:
    """Databases that the recorder found damaged, the oldest first."""
    found = [path for path in state.glob(f"{kind.name}.damaged-*") if path.suffix[9:].isdigit()]
    return sorted(found, key=lambda path: int(path.suffix[9:]))


def _bring_newest(
    kind: Kind, source: Path, scratch: Path, told: Collection, tick: Tick
) -> bool:  # fmt: skip
    """Whether it is sound; if not, it is rescued, and kept as it was found."""
    target = scratch / kind.name
    damage = _copy_damage(kind, source, target, tick)
    if damage is None:
        return True
    if is_written(source.parent):
        raise StateError(
            f"{source}: damaged while it is written: {damage}",
            hint="stop the recorder, then collect again: what can be read is rescued",
        )
    copy_as_it_lies(source, scratch / f"{source.name}{AS_FOUND}", tick)
    broken = target.rename(target.with_name(target.name + ".broken"))
    log = target.with_name(target.name + "-wal")
    if log.exists():
        log.rename(broken.with_name(broken.name + "-wal"))
    rows = rescue(broken, target, kind.tables, kind.version)
    told.bad.append(Bad(kind.name, f"damaged: {damage}; rescued {_counted(rows)}"))
    return False


def has_tables(path: Path) -> bool:
    """Whether our own copy of a database is one yet."""
    with closing(open_copy(path)) as db:
        return db.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None


def _copy_damage(kind: Kind, source: Path, target: Path, tick: Tick) -> str | None:
    """Copy it; what is wrong with it, or None."""
    try:
        copy_database(source, target, tick)
        with closing(open_copy(target)) as db:
            (n_pages,) = db.execute("PRAGMA page_count").fetchone()
            (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        verdict, version, n_pages = str(error), 0, 1
    if n_pages == 0 and not is_written(source.parent):
        return "nothing is in it"
    if verdict != "ok":
        return " ".join(verdict.split())
    if version > kind.version:
        raise StateError(
            f"{source}: expected version {kind.version} or older, found {version}",
            hint="it was made by a newer edge-probe: install that one",
        )
    return None


def _rescue_aside(
    kind: Kind, aside: Path, scratch: Path, told: Collection, tick: Tick
) -> Path | None:
    """What can be read of a database that the recorder put aside; None: nothing."""
    broken = scratch / aside.name
    copy_as_it_lies(aside, broken, tick)
    rescued = scratch / f"{aside.name}.rescued"
    rows = rescue(broken, rescued, kind.tables, kind.version)
    told.notes.append(f"{aside.name}: rescued {_counted(rows)}")
    return rescued if rows else None


def _counted(rows: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in rows.items()) or "nothing"
