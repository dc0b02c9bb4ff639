"""What a card brings and what the folder has: which of the two counts, and where both do."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from edge_probe.desk.copies import open_copy
from edge_probe.desk.databases import CAPTURE, Brought
from edge_probe.desk.identity import identify
from edge_probe.desk.merge import (
    add_detections,
    add_ledger,
    add_scores,
    add_times_by_hand,
    mend_ledger,
)
from edge_probe.desk.record import Bad, Collection


def join_detections(heard: Brought | None, old: Path | None) -> Path | None:
    """What the folder is to have.

    Parameters
    ----------
    heard : Brought or None
        What the card has.
    old : Path or None
        Our own copy of what the folder has.

    Returns
    -------
    Path or None
        None: what the folder has stays.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    if heard is None or old is None:
        return heard.path if heard else None
    theirs, ours = _extent(heard.path), _extent(old)
    if heard.is_whole and theirs.database == ours.database:
        if theirs.covers(ours):
            add_scores(heard.path, old)
            return heard.path
        if ours.covers(theirs):
            return None
    add_detections(old, heard.path)
    return old


def join_ledgers(captured: Brought, old: Path | None, audio: Path, told: Collection) -> Path:
    """What the folder is to have.

    Parameters
    ----------
    captured : Brought
        What the card has.
    old : Path or None
        Our own copy of what the folder has.
    audio : Path
        Segments of the folder, the new ones included.
    told : Collection
        Is told what is given up.

    Raises
    ------
    sqlite3.Error, OSError
        The disk fails.
    """
    newer, older, is_whole = captured.path, old, captured.is_whole
    if older is not None:
        if identify(newer).progress < identify(older).progress:
            told.notes.append("older than what was there")
            newer, older, is_whole = older, newer, False
        if is_whole:
            add_times_by_hand(newer, older)
        else:
            add_ledger(newer, older)
    if not is_whole:
        n_lost = mend_ledger(newer, audio)
        if n_lost:
            why = f"{n_lost} rows of streams or boots that nobody knows any more"
            told.bad.append(Bad(CAPTURE.name, why))
    return newer


class _Extent(NamedTuple):
    """How much a ``detections.sqlite`` knows."""

    database: int
    detection: int
    n_results: int

    def covers(self, other: "_Extent") -> bool:
        """Whether the other, an older or newer copy of the same, knows nothing that this lacks."""
        return self.detection >= other.detection and self.n_results >= other.n_results


_QUERIES = (
    "PRAGMA application_id",
    "SELECT coalesce(max(detection), 0) FROM detection",
    "SELECT count(*) FROM chunk WHERE state != 'tried'",
)


def _extent(path: Path) -> _Extent:
    with closing(open_copy(path)) as db:
        return _Extent(*(db.execute(query).fetchone()[0] for query in _QUERIES))
