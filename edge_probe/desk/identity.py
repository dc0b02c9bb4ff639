"""Whose ledger is it: two recorders may have been given one deployment file.

Every boot of a machine has a random number of its own, given by the kernel. Two copies of one
ledger have boots in common, and no two boots of one place differ; those of two recorders have none.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge_probe.desk.copies import open_copy


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one recorder's ledger from another's."""

    boots: Mapping[int, str]
    """Numbers of the kernel; those that were lost with a ledger are left out."""
    is_anew: bool
    """The ledger was begun anew, so that numbers of boots may have been given twice."""
    progress: tuple[int, int]
    """Last boot, and newest time in it, in ns: how far it has come."""

    def differs(self, other: "Identity") -> str | None:
        """Why these cannot be ledgers of one recorder; None: they can."""
        if not (self.boots and other.boots):
            return None
        if not set(self.boots.values()) & set(other.boots.values()):
            return "no boot in common"
        apart = [n for n in self.boots.keys() & other.boots.keys()
                 if self.boots[n] != other.boots[n]]  # fmt: skip
        if apart and not (self.is_anew or other.is_anew):
            return f"in common until boot {min(apart) - 1}, then two went on"
        return None


def identify(capture: Path, *, is_anew: bool = False) -> Identity:
    """Identity of a ledger.

    Parameters
    ----------
    capture : Path
        Our own copy, without ``-wal``.
    is_anew : bool
        It was, or has a damaged one beside it.

    Raises
    ------
    sqlite3.Error
        It cannot be read.
    """
    with closing(open_copy(capture)) as db:
        boots = dict(db.execute("SELECT boot, kernel_id FROM boot").fetchall())
        known = {n: kernel for n, kernel in boots.items() if not kernel.startswith("unknown ")}
        return Identity(known, is_anew or known != boots, _progress(db))


def _progress(db: sqlite3.Connection) -> tuple[int, int]:
    found = db.execute(
        "SELECT boot, monotonic_ns FROM clock_anchor WHERE trust != 'manual'"
        " ORDER BY boot DESC, monotonic_ns DESC LIMIT 1"
    ).fetchone()
    return found or (0, 0)
