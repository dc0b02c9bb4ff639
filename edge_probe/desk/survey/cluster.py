"""The same work on Dask distributed: any cluster that has a scheduler, dask-jobqueue's included.

The scheduler has the batch of a worker that dies done by another one. Workers need edge-probe, and
the recordings and the bundle by the same paths; results come back here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from distributed import CancelledError, Client, Future, KilledWorker, wait

from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.work import (
    DEADLY,
    BatchResult,
    FileResult,
    Work,
    analyse_batch,
    unheard,
)
from edge_probe.errors import EdgeProbeError, first_line

_CONNECT_S = 30.0
_LOOK_S = 0.5
"""How often somebody looks whether to stop, and for workers that came."""

_IN_HAND = 2
"""Batches for each thread of the cluster, so that none waits for work."""


class Cluster:
    """Works on batches in any order.

    Parameters
    ----------
    work : Work
    scheduler : str
        Its address, such as tcp://10.0.0.1:8786.
    pace : Pace
    """

    def __init__(self, work: Work, scheduler: str, pace: Pace) -> None:
        self._work, self._scheduler, self._pace = work, scheduler, pace
        self._again: deque[Batch] = deque()
        self._pieces: dict[int, tuple[int, list[FileResult]]] = {}
        """Of batches that killed their workers, and are done file by file: how many, and which."""

    def results(
        self, batches: Iterable[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        """Results as they come, until all are there or somebody says stop.

        Raises
        ------
        EdgeProbeError
            There is no scheduler at the address, or the work cannot be done at all.
        """
        try:
            with Client(self._scheduler, timeout=_CONNECT_S) as client:
                yield from self._results(client, iter(batches), stopped)
        except (OSError, ValueError, CancelledError) as error:
            raise EdgeProbeError(
                f"{self._scheduler}: no Dask scheduler answers there: {first_line(error)}",
                hint="start one: dask scheduler, and workers: dask worker ADDRESS --nthreads 1;"
                " the same command goes on",
            ) from error

    def _results(
        self, client: Client, waiting: Iterator[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        sent: dict[Future, Batch] = {}
        while not stopped():
            n_threads = sum(client.nthreads().values())
            while len(sent) < max(1, _IN_HAND * n_threads):
                batch = self._again.popleft() if self._again else next(waiting, None)
                if batch is None:
                    break
                sent[client.submit(_analyse, self._work, batch, pure=False)] = batch
            if not sent:
                return
            for future in _done(sent):
                result = self._hear(future, sent.pop(future))
                if result is not None:
                    yield result

    def _hear(self, future: Future, batch: Batch) -> BatchResult | None:
        """The result of a batch, if it is whole now."""
        try:
            result: BatchResult | EdgeProbeError = future.result()
        except KilledWorker:
            if len(batch.entries) > 1:  # which file was it?
                self._pieces[batch.number] = (len(batch.entries), [])
                self._again += [Batch(batch.number, (entry,)) for entry in batch.entries]
                return None
            result = BatchResult(batch.number, (unheard(batch.entries[0], DEADLY),))
        if isinstance(result, EdgeProbeError):
            raise result
        for found in result.files:
            self._pace.file(batch.number, found.file.n_bytes, found.file.classified_s)
        if batch.number not in self._pieces:
            return result
        n_files, pieces = self._pieces[batch.number]
        pieces += result.files
        if len(pieces) < n_files:
            return None
        del self._pieces[batch.number]
        return BatchResult(batch.number, tuple(sorted(pieces, key=lambda one: one.file.number)))


def _done(sent: Iterable[Future]) -> Iterable[Future]:
    """Those that have ended, after a while at most."""
    try:
        return set(wait(list(sent), _LOOK_S, "FIRST_COMPLETED").done)
    except TimeoutError:
        return ()


def _analyse(work: Work, batch: Batch) -> BatchResult | EdgeProbeError:
    """On a worker; some kinds of our errors cannot be sent."""
    try:
        return analyse_batch(work, batch)
    except EdgeProbeError as error:
        return EdgeProbeError(error.message, hint=error.hint)
