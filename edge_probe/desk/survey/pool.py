"""Processes of this machine that work on batches, one encoder each.

Each has a pipe of its own: one that is killed takes nothing with it but its batch, and it is known
which file it had open. A file over which three of them die is left out, and the rest goes on.
"""

import logging
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait

from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.work import BatchResult, Work, analyse_batch
from edge_probe.errors import EdgeProbeError
from edge_probe.processes import start_worker

DEATHS = 3
"""Of processes over one file until it is left out, or before any file until we give up."""

_LOOK_S = 0.2
"""How often somebody looks whether to stop."""

_LAST_BREATH_S = 5.0
"""From the end of a pipe to the end of its process."""

_log = logging.getLogger(__name__)


class Pool:
    """Works on batches in any order.

    Parameters
    ----------
    work : Work
    n_processes : int
    pace : Pace
    """

    def __init__(self, work: Work, n_processes: int, pace: Pace) -> None:
        self._work, self._n_processes, self._pace = work, n_processes, pace
        self._workers: list[_Worker] = []
        self._again: deque[Batch] = deque()
        self._deaths: Counter[tuple[int, int]] = Counter()
        """By batch, and place of a file in it."""
        self._n_stillborn = 0

    def results(
        self, batches: Iterable[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        """Results as they come, until all are there or somebody says stop.

        Raises
        ------
        EdgeProbeError
            The work cannot be done at all.
        """
        waiting = iter(batches)
        try:
            while not stopped():
                self._hand_out(waiting)
                busy = {one.connection: one for one in self._workers if one.batch is not None}
                if not busy:
                    return
                for connection in wait(list(busy), _LOOK_S):
                    result = self._hear(busy[connection])  # type: ignore[index]
                    if result is not None:
                        yield result
        finally:
            for worker in self._workers:
                worker.end()

    def _hand_out(self, waiting: Iterator[Batch]) -> None:
        """Give batches to who has none, and start who is missing, while there are batches."""
        idle = [worker for worker in self._workers if worker.batch is None]
        while idle or len(self._workers) < self._n_processes:
            batch = self._again.popleft() if self._again else next(waiting, None)
            if batch is None:
                return
            if idle:
                worker = idle.pop()
            else:
                worker = _Worker(self._work)
                self._workers.append(worker)
            places = range(len(batch.entries))
            worker.give(batch, [at for at in places if self._deaths[batch.number, at] >= DEATHS])

    def _hear(self, worker: "_Worker") -> BatchResult | None:
        batch = worker.batch
        assert batch is not None  # noqa: S101  who has no batch is not listened to
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker, batch)
            return None
        match message:
            case BatchResult():
                worker.batch = worker.place = None
                return message
            case EdgeProbeError():
                raise message
            case int(place), None:
                worker.place, self._n_stillborn = place, 0
            case int(place), float(audio_s):
                worker.place = None
                self._pace.file(batch.number, batch.entries[place].n_bytes, audio_s)
        return None

    def _bury(self, worker: "_Worker", batch: Batch) -> None:
        """Have the batch of a dead process done again."""
        self._workers.remove(worker)
        how = worker.end(_LAST_BREATH_S)
        self._pace.lost(batch.number)
        self._again.append(batch)
        if worker.place is None:
            self._n_stillborn += 1
            _log.warning("a process ended (%s): its batch is done again", how)
            if self._n_stillborn >= DEATHS:
                raise EdgeProbeError(
                    f"{DEATHS} processes in a row ended before they opened a file: {how}",
                    hint="is there memory for so many encoders? try --jobs 1",
                )
            return
        self._deaths[batch.number, worker.place] += 1
        _log.warning(
            "a process ended (%s) over %s: its batch is done again",
            how, batch.entries[worker.place].path,
        )  # fmt: skip


class _Worker:
    """A process, seen from outside."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _deaf():
            self._process.start()
        theirs.close()
        self.batch: Batch | None = None
        self.place: int | None = None
        """In the batch, of the file that it has open."""

    def give(self, batch: Batch, left_out: Collection[int]) -> None:
        """Something to do; if it is dead, that is heard when it is listened to."""
        self.batch = batch
        with suppress(OSError):
            self.connection.send((batch, left_out))

    def end(self, patience_s: float = 0.0) -> str:
        """Let it be over, and tell how it ended if it did by itself within so many seconds."""
        self._process.join(patience_s)
        self._process.terminate()
        self._process.join()
        self.connection.close()
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C waits; a process that starts here never hears it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, work: Work) -> None:
    """What a process does: batches in, results out, until nobody is there any more."""
    start_worker()

    def tell(place: int, seconds: float | None) -> None:
        connection.send((place, seconds))

    while True:
        try:
            batch, left_out = connection.recv()
        except EOFError:
            return
        try:
            answer: object = analyse_batch(work, batch, left_out, tell)
        except EdgeProbeError as error:  # some of its kinds cannot be sent
            answer = EdgeProbeError(error.message, hint=error.hint)
        connection.send(answer)
