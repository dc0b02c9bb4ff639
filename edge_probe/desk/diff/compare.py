"""Two bundles over the same audio."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np

from edge_probe.classify import Run, RunClassifier
from edge_probe.desk.diff.pairs import Logits, Pair, Pairing, measure_of
from edge_probe.desk.diff.review import ReviewList, Said
from edge_probe.desk.diff.sides import Sides
from edge_probe.desk.diff.stretches import Place, Source, Stretch
from edge_probe.desk.diff.tally import Tally
from edge_probe.errors import AudioError, EdgeProbeError, EncoderError

Tick = Callable[[float], object]
"""Is told how many seconds of audio were heard."""


@dataclass
class Comparison:
    """What two bundles make of the same windows."""

    sides: Sides
    tally: Tally
    review: ReviewList
    audio_s: float = 0.0
    """That both have heard."""
    n_short: int = 0
    """Stretches too short for a window of both."""
    problems: list[EdgeProbeError] = field(default_factory=list)
    """Stretches that broke off; what came before counts."""

    @property
    def measure(self) -> int:
        """Whose windows are counted: 0 for A, 1 for B."""
        return measure_of((self.sides.a.timing, self.sides.b.timing))


def compare(sides: Sides, source: Source, per_class: int, tick: Tick) -> Comparison:
    """Let both hear everything, block by block.

    Parameters
    ----------
    sides : Sides
    source : Source
    per_class : int
        Disagreements of a class that are kept, at most.
    tick : callable

    Raises
    ------
    EdgeProbeError
        Nothing could be compared, or the archive cannot be read.
    """
    found = Comparison(sides, Tally(len(sides.labels)), ReviewList(sides.labels, per_class))
    for stretch in source.stretches():
        locate = partial(_locate, stretch)
        before = found.tally.n_windows
        try:
            for pair in _pairs(sides, stretch, found, tick):
                _count(found, pair, locate)
        except (AudioError, EncoderError) as error:
            found.problems.append(error)
        found.review.end(locate)
        found.n_short += found.tally.n_windows == before
    if not found.tally.n_windows:
        raise _nothing(found)
    return found


def _pairs(sides: Sides, stretch: Stretch, found: Comparison, tick: Tick) -> Iterator[Pair]:
    """Of one stretch, up to where it breaks off."""
    pairing = Pairing((sides.a.timing, sides.b.timing))
    run = Run(stretch.name, stretch.channel, stretch.rate_hz)

    def watch(side: int, _summary: object, logits: Logits) -> None:
        pairing.push(side, logits[sides.both[side].classes])

    classifiers = [
        RunClassifier(side.analyser, run, partial(watch, number))
        for number, side in enumerate(sides.both)
    ]
    broken: AudioError | None = None
    n_samples = 0
    try:
        for block in stretch:
            for classifier in classifiers:
                classifier.push(block)
            n_samples += len(block)
            seconds = len(block) / stretch.rate_hz
            found.audio_s += seconds
            tick(seconds)
            yield from pairing.ready()
    except AudioError as error:
        broken = error
    for classifier in classifiers:
        classifier.finish()
    yield from pairing.finish(Fraction(n_samples, stretch.rate_hz))
    if broken is not None:
        raise broken


def _count(found: Comparison, pair: Pair, locate: Callable[[Pair], Place]) -> None:
    a, b = found.sides.both
    heard = pair.logits[0] >= a.thresholds, pair.logits[1] >= b.thresholds
    scores = a.scores(pair.logits[0]), b.scores(pair.logits[1])
    found.tally.add(heard, scores)
    said = {
        int(n): Said(
            "A" if heard[0][n] else "B",
            *(float(one[n]) for one in (*scores, *pair.logits)),
        )
        for n in np.flatnonzero(heard[0] != heard[1])
    }
    found.review.add(pair, said, locate)


def _locate(stretch: Stretch, pair: Pair) -> Place:
    begin, end = (n * stretch.rate_hz for n in (pair.start_s, pair.end_s))
    return stretch.place(int(begin), int(end))


def _nothing(found: Comparison) -> EdgeProbeError:
    if found.problems:
        return found.problems[0]
    longest_s = max(float(side.timing.window_s) for side in found.sides.both)
    return AudioError(
        "expected audio with a window for both bundles, found none",
        hint=f"the longer one's windows have {longest_s:g} s; a run has one if it holds a token",
    )
