"""The classifier's work: which chunk is next, what is too much, what is too dangerous."""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from time import sleep

from edge_probe.analysis.listener import Listener, Tools
from edge_probe.analysis.rows import Key, Result, State, Try
from edge_probe.analysis.store import Store
from edge_probe.clock import Clock
from edge_probe.database import is_damage

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Deaths after which a chunk is quarantined."""

COMMIT_S = 4.0
"""Work between two commits."""

MAX_AT_ONCE = 8
"""Chunks between two commits: together they cost the card less than 20 KiB (ext4, measured: 18)."""

_MAX_SKIPPED_AT_ONCE = 256
RETRY_S = 1.0


class Worker:
    """Classifies what a state folder holds, in the order it was recorded.

    Deaths at any moment are harmless: what is not committed is done again by the next worker,
    with the same result. A store that turns out to be damaged is begun anew, with as much audio as
    may wait.

    Parameters
    ----------
    tools : Tools
    store : Store
    backlog_s : float
        Seconds of audio that may wait, the newest segment apart; of more, the oldest whole
        windows are skipped.
    clock : Clock
    is_wanted : callable
        Asked while the disk fails: whether to go on waiting for it.
    """

    def __init__(
        self,
        tools: Tools,
        store: Store,
        *,
        backlog_s: float,
        clock: Clock,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._tools = tools
        self._store = store
        self._backlog_s = backlog_s
        self._clock = clock
        self._is_wanted = is_wanted
        bundle = tools.analyser.bundle
        self._window_chunks = bundle.windows.window_chunks
        self._window_s = self._window_chunks * bundle.encoder.chunk_s
        self._chunk_s = COMMIT_S  # that a chunk takes
        self._whatever_is_damaged(self._begin)

    def _begin(self) -> None:
        """At what the store says, with nothing in memory."""
        recording = self._tools.recording
        self._duty, self._place = self._store.begin(lambda: recording.newest(self._backlog_s))
        self._listeners: list[Listener] = []
        self._results: list[Result] = []
        self._tries: dict[Key, Try] = {}
        self.is_idle = False
        """Whether the last step found nothing to do."""

    def _whatever_is_damaged(self, work: Callable[[], None]) -> None:
        """Do something, or, if the store is damaged, begin anew instead."""
        try:
            work()
        except sqlite3.DatabaseError as error:
            if not is_damage(error) or not self._store.begin_anew():
                raise  # the ledger is damaged, which is not ours to mend
            self._begin()

    def forgive(self) -> None:
        """As the store does it; before the first step."""
        self._whatever_is_damaged(self._store.forgive)

    def step(self) -> None:
        """Do what takes a chunk's time at most."""
        self._whatever_is_damaged(self._step)

    def rest(self) -> None:
        """Keep what is done, and take back the tries that were not made."""
        self._whatever_is_damaged(self._rest)

    def _step(self) -> None:
        listener = self._next()
        self.is_idle = listener is None
        if listener is None:
            if self._results:
                self._commit(())
        elif listener.key(listener.next_n) in self._tries:
            self._classify(listener)
        elif n_skipped := self._n_to_skip(listener):
            self._skip(n_skipped)
        else:
            self._plan(listener)

    def _rest(self) -> None:
        not_made = [Try(one.piece, one.n_attempts - 1) for one in self._tries.values()]
        self._commit(not_made)
        self._tries = {}

    def _next(self) -> Listener | None:
        """The listener whose chunk is the oldest one that is due."""
        while True:
            if not self._listeners and not self._begin_run():
                return None
            if not self._due():
                run = self._tools.recording.grown(self._listeners[0].run)
                for listener in self._listeners:
                    listener.run = run
            if due := self._due():
                return min(due, key=lambda one: one.key(one.next_n))
            if not all(listener.is_done for listener in self._listeners):
                return None
            run = self._listeners[0].run
            self._place = run.stream, run.first_frame + run.n_frames
            self._listeners = []

    def _due(self) -> list[Listener]:
        return [one for one in self._listeners if one.is_due(one.next_n)]

    def _begin_run(self) -> bool:
        run = self._tools.recording.next_run(*self._place)
        if run is None:
            return False
        first_n, duty = 0, self._duty
        if (run.stream, run.first_frame) == (duty.stream, duty.run_frame):
            grid = self._tools.analyser.grid(run.rate_hz)
            first_n = grid.chunk_at(duty.first_frame - duty.run_frame)
        for channel in range(run.n_channels):
            key = Key(run.stream, run.first_frame, 0, channel)
            next_n = max(first_n, self._store.next_n(key))
            listener = Listener(self._tools, run, channel, next_n, self._store.stint(key))
            self._listeners.append(listener)
        return True

    def _classify(self, listener: Listener) -> None:
        began_ns = self._clock.monotonic_ns()
        key = listener.key(listener.next_n)
        self._results.append(listener.classify())
        del self._tries[key]
        took_s = (self._clock.monotonic_ns() - began_ns) * 1e-9
        self._chunk_s += (took_s - self._chunk_s) / 4

    def _plan(self, first: Listener) -> None:
        """Note which chunks are tried next, before one of them can kill.

        A chunk that was being tried when a worker died is tried by itself.
        """
        key = first.key(first.next_n)
        n_before = self._store.n_attempts(key)
        if n_before >= MAX_ATTEMPTS:
            _log.error("a chunk killed the classifier %d times: left out: %s", n_before, key)
            self._leave_out(first, "quarantined", "crashed")
            return
        tries = [Try(first.piece(first.next_n), n_before + 1)]
        if n_before == 0:
            tries += self._tries_behind(first)
        self._commit(tries)

    def _tries_behind(self, first: Listener) -> Iterator[Try]:
        """Chunks to try in one go with the next one: as many as fill the time of a commit."""
        n_at_once = min(MAX_AT_ONCE, int(COMMIT_S / max(self._chunk_s, 1e-3)))
        n_first, key = first.next_n, first.key(first.next_n)
        for n in range(n_first, n_first + max(1, n_at_once // len(self._listeners))):
            for listener in self._listeners:
                other = listener.key(n)
                if other <= key or n < listener.next_n:
                    continue
                if not listener.is_due(n) or self._store.n_attempts(other):
                    return
                yield Try(listener.piece(n), 1)

    def _n_to_skip(self, listener: Listener) -> int:
        """Chunks of each channel to leave out: whole windows, as far as too much audio waits."""
        if self._tries or len({one.next_n for one in self._listeners}) > 1:
            return 0
        if any(0 < one.n_in_stint < self._window_chunks for one in self._listeners):
            return 0
        recording, piece = self._tools.recording, listener.piece(listener.next_n)
        waiting_s = recording.waiting_s(piece.key.stream, piece.first_frame)
        excess_s = waiting_s - recording.newest_s() - self._backlog_s
        if excess_s <= 0:
            return 0
        at_once = _MAX_SKIPPED_AT_ONCE // (self._window_chunks * len(self._listeners))
        n = min(ceil(excess_s / self._window_s), max(1, at_once)) * self._window_chunks
        n_due = next((i for i in range(1, n) if not listener.is_due(listener.next_n + i)), n)
        return n_due if listener.run.is_finished else n_due - n_due % self._window_chunks

    def _skip(self, n: int) -> None:
        for _ in range(n):
            for listener in self._listeners:
                self._leave_out(listener, "skipped", "behind")
        self._commit(())

    def _leave_out(self, listener: Listener, state: State, reason: str) -> None:
        """Leave a chunk out; where that encodes chunks before it again, it is a try like others."""
        recall = listener.must_recall
        if recall:
            piece = listener.piece(listener.next_n)
            n_before = self._store.n_attempts(piece.key)
            recall = n_before <= MAX_ATTEMPTS
            if recall:
                self._commit([Try(piece, n_before + 1)])
        self._results.append(listener.leave_out(state, reason, recall=recall))
        self._tries = {}

    def _commit(self, tries: Sequence[Try]) -> None:
        """Keep what is done and what is tried next; a disk that fails is waited for."""
        fails = False
        while True:
            try:
                if fails:
                    self._store.reopen()
                self._store.commit(self._results, tries)
                break
            except (OSError, sqlite3.OperationalError) as error:
                if not self._is_wanted():
                    raise
                if not fails:
                    _log.error("the disk fails, detections wait in memory: %s", error)
                fails = True
                sleep(RETRY_S)
        self._results = []
        self._tries = {one.piece.key: one for one in tries}
