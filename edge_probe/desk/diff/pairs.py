"""Windows of two bundles over the same audio, side by side.

The longer window is the measure (with equal ones the smaller hop is). The other bundle has the
highest of its windows that lie wholly within; where none does, the one whose middle is nearest. One
that lies wholly within none counts where the middle is nearest, so none is lost. Bundles with the
same windows are compared window by window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle

Logits = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Timing:
    """Windows of a bundle, in exact seconds."""

    window_s: Fraction
    hop_s: Fraction

    @classmethod
    def of(cls, bundle: Bundle) -> "Timing":
        """Of a bundle."""
        chunk_s = Fraction(bundle.encoder.chunk_samples, bundle.encoder.sample_rate_hz)
        windows = bundle.windows
        return cls(chunk_s * windows.window_chunks, chunk_s * windows.hop_chunks)


@dataclass(frozen=True, slots=True)
class Pair:
    """What both bundles say of one stretch of time."""

    index: int
    """Of the window of the measure, in its run."""
    start_s: Fraction
    end_s: Fraction
    """Of that window; the end of the run may cut it."""
    logits: tuple[Logits, Logits]
    """Of A and B, (n,) each."""


def measure_of(timings: tuple[Timing, Timing]) -> int:
    """Whose windows are the measure: 0 for A, 1 for B."""
    a, b = timings
    return int((b.window_s, -b.hop_s) > (a.window_s, -a.hop_s))


class Pairing:
    """Logits of the windows of one run in, in the order of each bundle; pairs out, in theirs.

    Parameters
    ----------
    timings : (Timing, Timing)
        Of A and B.
    """

    def __init__(self, timings: tuple[Timing, Timing]) -> None:
        self._measure = measure_of(timings)
        spans = [n for one in timings for n in (one.window_s, one.hop_s)]
        self._ticks = lcm(*(n.denominator for n in spans))  # a second
        own, other = timings[self._measure], timings[1 - self._measure]
        self._window, self._hop = (int(n * self._ticks) for n in (own.window_s, own.hop_s))
        self._short, self._step = (int(n * self._ticks) for n in (other.window_s, other.hop_s))
        self._held: tuple[dict[int, Logits], dict[int, Logits]] = ({}, {})
        self._n = [0, 0]
        self._next = 0

    def push(self, side: int, logits: Logits) -> None:
        """Take the next window of A (0) or B (1)."""
        self._held[side][self._n[side]] = logits
        self._n[side] += 1

    def ready(self) -> Iterator[Pair]:
        """Pairs that no window to come changes."""
        while (
            self._next < self._n[self._measure] - 1  # the last one may be the last of the run
            and self._last_near(self._next) < self._n[1 - self._measure]
        ):
            yield self._give(None)

    def finish(self, duration_s: Fraction) -> Iterator[Pair]:
        """The rest; none where one bundle had no window at all."""
        while self._n[1 - self._measure] and self._next < self._n[self._measure]:
            yield self._give(duration_s)

    def _give(self, duration_s: Fraction | None) -> Pair:
        cell, self._next = self._next, self._next + 1
        own = self._held[self._measure].pop(cell)
        others = self._held[1 - self._measure]
        highest = np.max([others[n] for n in self._within(cell)], axis=0)
        for n in [n for n in others if n < self._first_near(self._next)]:
            del others[n]
        start, end = (Fraction(n, self._ticks) for n in self._span(cell))
        both = (own, highest) if self._measure == 0 else (highest, own)
        return Pair(cell, start, end if duration_s is None else min(end, duration_s), both)

    def _span(self, cell: int) -> tuple[int, int]:
        return cell * self._hop, cell * self._hop + self._window

    def _within(self, cell: int) -> list[int]:
        """Windows of the other bundle that count in one of the measure."""
        n_cells, n_others = self._n[self._measure], self._n[1 - self._measure]
        is_last = cell == n_cells - 1
        end = n_others - 1 if is_last else min(self._last_near(cell), n_others - 1)
        near = range(min(self._first_near(cell), n_others - 1), end + 1)
        counted = [n for n in near if cell in self._cells(n, n_cells)]
        return counted or [min(self._nearest(cell), n_others - 1)]

    def _cells(self, other: int, n_cells: int) -> range:
        """Windows of the measure in which one of the other bundle counts."""
        begin = other * self._step
        first = max(0, -((self._window - begin - self._short) // self._hop))
        last = begin // self._hop
        if first > last:  # wholly within none
            middles = 2 * begin + self._short - self._window - self._hop
            first = last = max(0, -(-middles // (2 * self._hop)))
        return range(min(first, n_cells - 1), min(last, n_cells - 1) + 1)

    def _nearest(self, cell: int) -> int:
        """Of the other bundle, the one whose middle is nearest; of two the earlier one."""
        middles = 2 * cell * self._hop + self._window - self._short - self._step
        return max(0, -(-middles // (2 * self._step)))

    def _first_near(self, cell: int) -> int:
        """No earlier window of the other bundle counts there."""
        return max(0, (cell * self._hop - self._window) // self._step)

    def _last_near(self, cell: int) -> int:
        """No later one does, unless the run ends."""
        return (cell * self._hop + self._window) // self._step
