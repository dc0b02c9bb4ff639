"""Windows drawn for people to check, whatever the scores say and by them.

Whether a window is drawn depends on the seed and its place alone, so that a restart or a second
look draws the same. Each drawn window is stored with its inclusion probability: the chance it had.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

from edge_probe.capture.ledger import Ledger
from edge_probe.disk import rows
from edge_probe.disk.findings import Findings, Window
from edge_probe.disk.rows import Segment
from edge_probe.errors import StateError

KINDS = ("random", "stratified")

_SEGMENTS_AT_ONCE = 500
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Stratum:
    """Windows with scores from one bound up to that of the next stratum."""

    score_from: float
    probability: float


@dataclass(frozen=True, slots=True)
class Design:
    """How windows are drawn.

    Raises
    ------
    StateError
        A probability outside [0, 1], bounds that do not rise, or a window too long or too short.
    """

    seed: int
    """Another one for each deployment, or all of them draw the same places."""
    window_s: float
    """Length of a window of the random sample; those of the stratified one are the classifier's."""
    probability: float
    """Of a window to be in the random sample."""
    strata: tuple[Stratum, ...] = ()
    """Of the stratified sample, by rising score; windows below the first are not drawn."""

    def __post_init__(self) -> None:
        chances = [self.probability, *(stratum.probability for stratum in self.strata)]
        if not all(0 <= chance <= 1 for chance in chances):
            raise StateError(
                f"sample: expected probabilities from 0 to 1, found {chances}",
                hint="0.01 draws one window in a hundred",
            )
        bounds = [stratum.score_from for stratum in self.strata]
        if any(low >= high for low, high in pairwise(bounds)):
            raise StateError(
                f"sample: expected strata by rising score, found {bounds}", hint="sort them"
            )
        if not 0.1 <= self.window_s <= rows.MAX_WINDOW_S:
            raise StateError(
                f"sample: expected a window of 0.1 to {rows.MAX_WINDOW_S} s, found {self.window_s}",
                hint="a few seconds are easy to check by ear",
            )


class Drawn(NamedTuple):
    """A row of ``sample``."""

    stream: int
    first_frame: int
    kind: str
    n_frames: int
    score_from: float | None
    probability: float


def chance(seed: int, kind: str, stream: int, first_frame: int) -> float:
    """Number in [0, 1) that looks random and is always the same for a window."""
    return drawn(seed, KINDS.index(kind), stream, first_frame)


def drawn(*values: int) -> float:
    """Number in [0, 1) that looks random and is always the same for these numbers.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), chained.
    """
    state = 0
    for value in values:
        state = (state + value + 0x9E3779B97F4A7C15) & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return (state >> 11) / 2**53


class Sampler:
    """Draws from segments in order, each once.

    Parameters
    ----------
    design : Design
    findings : Findings
    """

    def __init__(self, design: Design, findings: Findings) -> None:
        self._design = design
        self._findings = findings

    def draw(self, ledger: Ledger) -> None:
        """Draw from the segments that were closed, or classified, since the last time.

        Raises
        ------
        sqlite3.Error
            The ledger fails; nothing was drawn then.
        """
        for kind in self._kinds:
            while self._draw_some(ledger, kind) == _SEGMENTS_AT_ONCE:
                pass

    def is_drawn(self, db: sqlite3.Connection, segment: Segment) -> bool:
        """Whether nothing more will be drawn from a segment."""
        return all(rows.progress(db, kind) >= segment.place for kind in self._kinds)

    @property
    def _kinds(self) -> tuple[str, ...]:
        return KINDS if self._design.strata else KINDS[:1]

    def _draw_some(self, ledger: Ledger, kind: str) -> int:
        """Draw from some segments in one transaction; their number."""
        db = ledger.connection
        drawn: list[Drawn] = []
        n_segments, last = 0, rows.ORIGIN
        for segment in islice(rows.segments_after(db, rows.progress(db, kind)), _SEGMENTS_AT_ONCE):
            found = self._random(db, segment) if kind == "random" else self._stratified(segment)
            if found is None:
                break
            drawn += found
            n_segments, last = n_segments + 1, segment.place
        if n_segments:
            with ledger.transaction():
                db.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?)", drawn)
                rows.set_progress(db, kind, last)
        return n_segments

    def _random(self, db: sqlite3.Connection, segment: Segment) -> list[Drawn]:
        """Of the windows that end in a segment and were recorded without a gap."""
        n_frames = round(self._design.window_s * segment.format.rate_hz)
        begin = segment.first_frame
        for before in reversed(rows.segments_between(db, segment.stream, begin - n_frames, begin)):
            if before.end_frame != begin:
                break
            begin = before.first_frame
        first = max(-(-begin // n_frames), segment.first_frame // n_frames) * n_frames
        return [
            Drawn(segment.stream, at, "random", n_frames, None, self._design.probability)
            for at in range(first, segment.end_frame - n_frames + 1, n_frames)
            if chance(self._design.seed, "random", segment.stream, at) < self._design.probability
        ]

    def _stratified(self, segment: Segment) -> list[Drawn] | None:
        """Of the windows that begin in a segment; None: their scores are not all known."""
        windows = self._findings.scores(segment)
        return None if windows is None else list(self._by_score(segment.stream, windows))

    def _by_score(self, stream: int, windows: list[Window]) -> Iterator[Drawn]:
        for first_frame, n_frames, score in windows:
            reached = [s for s in self._design.strata if score >= s.score_from]
            if not reached:
                continue
            bound, probability = reached[-1].score_from, reached[-1].probability
            if chance(self._design.seed, "stratified", stream, first_frame) < probability:
                yield Drawn(stream, first_frame, "stratified", n_frames, bound, probability)
