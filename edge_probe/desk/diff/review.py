"""Where the bundles disagree most: what to listen to."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from edge_probe.desk.diff.pairs import Pair
from edge_probe.desk.diff.stretches import Place

Locate = Callable[[Pair], Place]


@dataclass(frozen=True, slots=True)
class Said:
    """What the bundles say of a class in one window."""

    heard_by: Literal["A", "B"]
    score_a: float
    score_b: float
    logit_a: float
    logit_b: float

    @property
    def apart(self) -> float:
        """Difference of the scores."""
        return abs(self.score_a - self.score_b)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Consecutive windows in which the same bundle alone hears a class."""

    label: str
    n_windows: int
    said: Said
    """In the window in which they are farthest apart."""
    place: Place
    """Of that window."""


@dataclass(slots=True)
class _Open:
    last: int
    n_windows: int
    said: Said
    pair: Pair


class ReviewList:
    """The disagreements of each class in which the bundles are farthest apart.

    Parameters
    ----------
    labels : tuple of str
    per_class : int
        Kept of a class at most.
    """

    def __init__(self, labels: tuple[str, ...], per_class: int) -> None:
        self._labels, self._per_class = labels, per_class
        self._open: dict[int, _Open] = {}
        self._kept: dict[int, list[tuple[float, int, Disagreement]]] = {}
        self._number = count()
        self.n_left_out = 0
        """Disagreements that were not kept."""

    def add(self, pair: Pair, said: dict[int, Said], locate: Locate) -> None:
        """Take the next window of a stretch: what is said of the classes that one alone hears."""
        for index in [one for one in self._open if one not in said]:
            self._close(index, locate)
        for index, words in said.items():
            run = self._open.get(index)
            if run and run.said.heard_by != words.heard_by:
                self._close(index, locate)
                run = None
            if run is None:
                self._open[index] = _Open(pair.index, 1, words, pair)
                continue
            run.last, run.n_windows = pair.index, run.n_windows + 1
            if words.apart > run.said.apart:
                run.said, run.pair = words, pair

    def end(self, locate: Locate) -> None:
        """The stretch ends."""
        for index in list(self._open):
            self._close(index, locate)

    def _close(self, index: int, locate: Locate) -> None:
        run = self._open.pop(index)
        kept = self._kept.setdefault(index, [])
        rank = (run.said.apart, -next(self._number))
        if len(kept) == self._per_class:
            self.n_left_out += 1
            if rank < kept[0][:2]:
                return
            heapq.heappop(kept)
        found = Disagreement(self._labels[index], run.n_windows, run.said, locate(run.pair))
        heapq.heappush(kept, (*rank, found))

    def __iter__(self) -> Iterator[Disagreement]:
        """Of all classes, the farthest apart first."""
        everything = [one for kept in self._kept.values() for one in kept]
        return (found for _, _, found in sorted(everything, key=lambda one: one[:2], reverse=True))
