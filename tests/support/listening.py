"""A classifier to be killed, and what it had acknowledged."""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from support.journal import Journal, Said

from edge_probe.analysis import process
from edge_probe.analysis.rows import Result, Try
from edge_probe.analysis.store import Store
from edge_probe.bundle import Bundle, open_bundle

REST_S = 0.02
"""Its life is too short to rest for a second when there is nothing to do."""

_opened = cache(open_bundle)
"""Once for all lives: verifying a signature takes longer than most of them."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Classify a state folder for ever."""

    state: Path
    bundle: Path
    journal: Path

    def prepare(self) -> None:
        _opened(self.bundle)

    def live(self) -> None:
        logging.disable()  # standard error is no part of the state folder
        journal = Journal(self.journal)
        journal.say(Said.BEGUN)

        def rest(_s: float) -> None:
            journal.say(Said.IDLE)
            time.sleep(REST_S)

        store = partial(TellingStore, journal=journal)
        with mock.patch.multiple(process, open_bundle=_opened, Store=store, sleep=rest):
            process.run_worker(self.state, self.bundle, backlog_s=1e9)


class TellingStore(Store):
    """Says what was acknowledged, after it was."""

    def __init__(
        self, path: Path, bundle: Bundle, beat: Callable[[], object], *, journal: Journal
    ) -> None:
        super().__init__(path, bundle, beat)
        self._journal = journal
        self._n_results = 0

    def commit(self, results: Sequence[Result], tries: Sequence[Try]) -> None:
        super().commit(results, tries)
        self._n_results += len(results)
        (newest,) = self._db.execute("SELECT max(detection) FROM detection").fetchone()
        self._journal.say(Said.COMMITTED, newest or 0, self._n_results)


@dataclass(slots=True)
class Acknowledged:
    """What classifiers that died in a state folder had kept: `check` after each death."""

    state: Path
    n_detections: int = 0
    """That were acknowledged before a death."""
    _detections: list[tuple[Any, ...]] = field(default_factory=list)
    _chunks: dict[tuple[int, ...], tuple[Any, ...]] = field(default_factory=dict)

    def check(self, said: NDArray[np.int64]) -> None:
        """What is there: all that was seen or said before, unchanged, and nothing twice."""
        commits = said[said[:, 1] == Said.COMMITTED, 2:4]
        newest, n_results = commits[-1].tolist() if len(commits) else (0, 0)
        self.n_detections = max(self.n_detections, newest)
        detections, chunks = self._look()
        assert detections[: len(self._detections)] == self._detections
        assert [row[0] for row in detections] == list(range(1, len(detections) + 1))
        assert len(detections) >= newest
        events = {(*row[1:4], *row[5:7], row[16]) for row in detections}
        assert len(events) == len(detections), "a detection is there twice"
        assert self._chunks.items() <= chunks.items()
        assert len(chunks) >= len(self._chunks) + n_results
        self._detections, self._chunks = detections, chunks

    def _look(self) -> tuple[list[tuple[Any, ...]], dict[tuple[int, ...], tuple[Any, ...]]]:
        """Detections by number; chunks with a result by key."""
        path = self.state / "detections.sqlite"
        if not path.exists():
            return [], {}
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            if db.execute("PRAGMA user_version").fetchone() == (0,):
                return [], {}
            detections = db.execute("SELECT * FROM detection ORDER BY detection").fetchall()
            chunks = db.execute("SELECT * FROM chunk WHERE state != 'tried'").fetchall()
        return detections, {row[:5]: row[5:] for row in chunks}
