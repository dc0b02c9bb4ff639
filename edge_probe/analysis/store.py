"""detections.sqlite: what was classified, what was not and why (`SCHEMA.md` is normative).

Only the classifier process writes it; others attach it read-only.
"""

import json
import logging
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from edge_probe.analysis.rows import (
    DetectionRow,
    Duty,
    Key,
    Result,
    ScoresRow,
    Stint,
    Try,
    WindowRow,
)
from edge_probe.analysis.selection import BLOCK_CHUNKS
from edge_probe.analysis.tables import VERSION, bring_up_to_date
from edge_probe.bundle import Bundle
from edge_probe.database import (
    bound_log,
    connect,
    is_damage,
    put_aside_if_damaged,
    settle_log,
    stay_small,
    transaction,
)
from edge_probe.detect import Box, OpenDetection
from edge_probe.errors import StateError

_log = logging.getLogger(__name__)

QUOTA_BYTES = 64 << 20
"""Of prototype scores that are kept; beyond that the oldest go, those of older bundles first."""

_PAGE_BYTES = 512
"""A commit touches a dozen places; smaller pages, fewer bytes to the card."""

_NEWEST = 256
"""Chunks among which all those are that have no result: they were begun last, a few at once."""


class Store:
    """The open database, seen by one bundle; one that is damaged is put aside and begun anew.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    bundle : Bundle
    beat : callable, optional
        Called now and then while much is read.

    Raises
    ------
    StateError
        It is of a newer version.
    OSError, sqlite3.Error
        From any method: the disk failed, nothing is acknowledged then; `reopen` it. If SQLite
        speaks of damage (`is_damage`), `begin_anew`.
    """

    def __init__(self, path: Path, bundle: Bundle, beat: Callable[[], object] = bool) -> None:
        self._path = path
        self._bundle = bundle
        self._beat = beat
        self._n_score_bytes: int | None = None
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error) or not put_aside_if_damaged(path, beat):
                raise
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = connect(self._path, isolation_level=None, timeout=5)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        stay_small(db)
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StateError(
                f"{self._path}: expected version {VERSION} or older, found {version}",
                hint="it was made by a newer edge-probe: install that one",
            )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        bound_log(db)
        settle_log(db, self._path)
        with transaction(db):
            bring_up_to_date(db, version)
            if version == 0:
                db.execute(f"PRAGMA application_id = {random.getrandbits(31)}")
            self._number = self._register(db)

    def _register(self, db: sqlite3.Connection) -> int:
        """Number of the bundle; a new one is noted with its labels."""
        bundle = self._bundle
        query = "SELECT bundle FROM bundle WHERE sha256 = ?"
        if known := db.execute(query, (bundle.sha256,)).fetchone():
            return int(known[0])
        windows = bundle.windows
        (number,) = db.execute(
            "INSERT INTO bundle (sha256, id, chunk_s, window_chunks, hop_chunks)"
            " VALUES (?, ?, ?, ?, ?) RETURNING bundle",
            (bundle.sha256, bundle.id, bundle.encoder.chunk_s, windows.window_chunks,
             windows.hop_chunks),
        ).fetchone()  # fmt: skip
        thresholds = zip(bundle.threshold_on.tolist(), bundle.threshold_off.tolist(), strict=True)
        db.executemany(
            "INSERT INTO label VALUES (?, ?, ?, ?, ?)",
            [(number, index, label.text, on, off) for index, (label, (on, off))
             in enumerate(zip(bundle.labels, thresholds, strict=True))],
        )  # fmt: skip
        return int(number)

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def reopen(self) -> None:
        """Begin anew after the disk failed; a transaction whose end is unknown may be there."""
        self._db.close()
        self._db = self._open()

    def begin_anew(self) -> bool:
        """Put the database aside and make an empty one, if it is damaged; whether it was.

        If not, it stays closed: what SQLite met was something else.
        """
        self._db.close()
        if not put_aside_if_damaged(self._path, self._beat):
            return False
        self._db = self._open()
        return True

    def commit(self, results: Sequence[Result], tries: Sequence[Try]) -> None:
        """Keep results, and which chunks are tried next, in one transaction.

        What is there already stays as it is: a commit may be done again.
        """
        counted, self._n_score_bytes = self._n_score_bytes, None  # if this fails: to be counted
        with transaction(self._db):
            new = [result for result in results if self._put(result)]
            for attempt in tries:
                self._db.execute(
                    "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, 'tried', ?, NULL)"
                    " ON CONFLICT DO UPDATE SET n_attempts = excluded.n_attempts"
                    " WHERE state = 'tried'",
                    (self._number, *attempt.piece.key, attempt.piece.first_frame,
                     attempt.piece.n_frames, attempt.n_attempts),
                )  # fmt: skip
            rows = [(one.piece.key, row) for one in new for row in one.scores]
            if rows:
                counted = self._put_scores(rows, counted)
        self._n_score_bytes = counted

    def _put(self, result: Result) -> bool:
        """Whether it was not there yet."""
        piece = result.piece
        new = self._db.execute(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
            " ON CONFLICT DO UPDATE SET state = excluded.state, reason = excluded.reason"
            " WHERE state = 'tried'",
            (self._number, *piece.key, piece.first_frame, piece.n_frames, result.state,
             result.reason),
        )  # fmt: skip
        if new.rowcount == 0:
            return False
        for detection in result.detections:
            self._put_detection(piece.key, detection)
        for window in result.windows:
            self._put_window(piece.key, window)
        self._put_stint(piece.key, result.stint)
        return True

    def _put_detection(self, key: Key, row: DetectionRow) -> None:
        values = (self._number, *key, *astuple(row))
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO detection VALUES (NULL, {marks})", values)

    def _put_window(self, key: Key, row: WindowRow) -> None:
        self._db.execute(
            "INSERT INTO score_cache VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._number, key.stream, key.run_frame, row.first_n, key.channel, row.first_frame,
             row.n_frames, row.score, row.best),
        )  # fmt: skip

    def _put_scores(self, rows: Sequence[tuple[Key, ScoresRow]], n_bytes: int | None) -> int:
        """Keep prototype scores, as far as they are wanted; bytes that are kept altogether."""
        if n_bytes is None:
            query = "SELECT coalesce(sum(length(scores)), 0) FROM chunk_scores"
            (n_bytes,) = self._db.execute(query).fetchone()
        for key, row in rows:
            if row.most is not None and self._n_in_block(key, row.n) >= row.most:
                continue
            added = self._db.execute(
                "INSERT OR IGNORE INTO chunk_scores VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._number, *key._replace(n=row.n), row.steps, row.scores),
            ).rowcount
            n_bytes += added * len(row.scores)
            while n_bytes > QUOTA_BYTES:
                n_bytes -= self._drop_oldest_scores()
        return n_bytes

    def _n_in_block(self, key: Key, n: int) -> int:
        """Chunks of the block of a chunk whose scores are kept."""
        first = n - n % BLOCK_CHUNKS
        (found,) = self._db.execute(
            "SELECT count(*) FROM chunk_scores WHERE (bundle, stream, run_frame) = (?, ?, ?)"
            " AND n BETWEEN ? AND ? AND channel = ?",
            (self._number, key.stream, key.run_frame, first, first + BLOCK_CHUNKS - 1, key.channel),
        ).fetchone()
        return int(found)

    def _drop_oldest_scores(self) -> int:
        """Bytes that are gone."""
        (n_bytes,) = self._db.execute(
            "DELETE FROM chunk_scores WHERE (bundle, stream, run_frame, n, channel) ="
            " (SELECT bundle, stream, run_frame, n, channel FROM chunk_scores"
            "  ORDER BY bundle, stream, run_frame, n, channel LIMIT 1) RETURNING length(scores)"
        ).fetchone()
        return int(n_bytes)

    def _put_stint(self, key: Key, stint: Stint | None) -> None:
        place = (self._number, key.stream, key.run_frame, key.channel)
        if stint is None:
            self._db.execute(f"DELETE FROM stint WHERE {_STINT}", place)
            return
        self._db.execute(
            "INSERT OR REPLACE INTO stint VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*place, stint.first_n, stint.next_n, _open_text(stint.open)),
        )

    def stint(self, key: Key) -> Stint | None:
        """The stint that may go on in the run and channel of a chunk."""
        found = self._db.execute(
            f"SELECT first_n, next_n, CAST(open AS BLOB) FROM stint WHERE {_STINT}",
            (self._number, key.stream, key.run_frame, key.channel),
        ).fetchone()
        try:
            return found and Stint(found[0], found[1], _open_of(found[2]))
        except (TypeError, ValueError):  # SQLite does not look into what a long text holds
            _log.error("stream %d: detections that were open are lost by damage", key.stream)
            return None

    def n_attempts(self, key: Key) -> int:
        """How often a chunk was tried without a result."""
        found = self._db.execute(
            "SELECT n_attempts FROM chunk WHERE (bundle, stream, run_frame, n, channel)"
            " = (?, ?, ?, ?, ?) AND state = 'tried'",
            (self._number, *key),
        ).fetchone()
        return int(found[0]) if found else 0

    def forgive(self) -> None:
        """Take one try back from every chunk without a result: no worker is known to have died."""
        with transaction(self._db):
            self._db.execute(
                "UPDATE chunk SET n_attempts = n_attempts - 1 WHERE state = 'tried'"
                " AND n_attempts > 0 AND (bundle, stream, run_frame, n, channel) IN"
                " (SELECT bundle, stream, run_frame, n, channel FROM chunk WHERE bundle = ?"
                "  ORDER BY stream DESC, run_frame DESC, n DESC, channel DESC LIMIT ?)",
                (self._number, _NEWEST),
            )

    def next_n(self, key: Key) -> int:
        """The chunk behind the last one that has a result, in the run and channel of a chunk."""
        found = self._db.execute(
            "SELECT n FROM chunk WHERE (bundle, stream, run_frame) = (?, ?, ?) AND channel = ?"
            " AND state != 'tried' ORDER BY n DESC LIMIT 1",
            (self._number, key.stream, key.run_frame, key.channel),
        ).fetchone()
        return int(found[0]) + 1 if found else 0

    def begin(self, after_loss: Callable[[], Duty]) -> tuple[Duty, tuple[int, int]]:
        """Go on duty.

        Parameters
        ----------
        after_loss : callable
            Where duty begins in a database that was begun anew: nobody answers any more for what
            lies before.

        Returns
        -------
        duty : Duty
            Since when this bundle is answerable. After another bundle that is since the last
            chunk the other has a result for.
        place : (int, int)
            Stream and first frame of the run to go on with.
        """
        with transaction(self._db):
            duty = self._duty(after_loss)
        own = self._last(self._number)
        mine = (own.stream, own.run_frame) if own else (0, 0)
        return duty, max(mine, (duty.stream, duty.run_frame))

    def _duty(self, after_loss: Callable[[], Duty]) -> Duty:
        found = self._db.execute(
            "SELECT bundle, stream, run_frame, first_frame FROM duty ORDER BY duty DESC LIMIT 1"
        ).fetchone()
        if found and found[0] == self._number:
            return Duty(*found[1:])
        duty = Duty(0, 0, 0)
        if found:
            places = [Duty(*found[1:]), self._last(found[0]) or duty]
            duty = max(places, key=lambda one: (one.stream, one.first_frame))
        elif any(self._path.parent.glob(f"{self._path.name}.damaged-*")):
            duty = after_loss()
        self._db.execute(
            "INSERT INTO duty VALUES (NULL, ?, ?, ?, ?)",
            (self._number, duty.stream, duty.run_frame, duty.first_frame),
        )
        return duty

    def _last(self, bundle: int) -> Duty | None:
        """Where the last chunk with a result of a bundle begins; all before it are complete."""
        found = self._db.execute(
            "SELECT stream, run_frame, first_frame FROM chunk WHERE bundle = ?"
            " AND state != 'tried' ORDER BY stream DESC, run_frame DESC, n DESC LIMIT 1",
            (bundle,),
        ).fetchone()
        return found and Duty(*found)


_STINT = "(bundle, stream, run_frame, channel) = (?, ?, ?, ?)"


def _open_text(found: Mapping[int, OpenDetection]) -> str:
    """JSON; Python's floats come back from it to the bit."""
    return json.dumps(
        [
            (index, one.first, one.last, one.below, *((one.best, one.logit, *astuple(one.box))
                                                      if one.box else ()))
            for index, one in found.items()
        ],
        allow_nan=False,
    )  # fmt: skip


def _open_of(text: bytes) -> dict[int, OpenDetection]:
    return {
        index: OpenDetection(first, last, below, best[0], best[1], Box(*best[2:]))
        if best
        else OpenDetection(first, last, below)
        for index, first, last, below, *best in json.loads(text)
    }
