"""Surveys that are worked off in the process of the test."""

from collections.abc import Callable, Iterable, Iterator
from io import StringIO

from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.survey import Request, Summary, Workers, classify_folder
from edge_probe.desk.survey.work import BatchResult, Work, analyse_batch


class Alone:
    """Works in an order of its own."""

    def __init__(self, work: Work, order: Callable[[list[Batch]], list[Batch]] = list) -> None:
        self._work, self._order = work, order

    def results(
        self, batches: Iterable[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        for batch in self._order(list(batches)):
            if stopped():
                return
            yield analyse_batch(self._work, batch)


def alone(work: Work, _pace: Pace) -> Workers:
    """Hires one."""
    return Alone(work)


def classified(request: Request, hire: Callable[[Work, Pace], Workers] = alone) -> Summary:
    """To its end."""
    summary = classify_folder(request, hire, StringIO())
    assert summary is not None
    return summary
