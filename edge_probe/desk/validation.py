"""How good detections are, from windows that people listened to: precision, recall, a threshold.

A window that was drawn with probability p stands for 1/p windows like it (Horvitz and Thompson,
JASA 1952), and a share is a ratio of two such sums (Hájek, 1971)::

    precision = Σ detected and present / Σ detected
    recall    = Σ detected and present / Σ present

Both are hits / (hits + misses), where hits and misses are sums of other windows. Sums of weights of
rare windows are nearly gamma distributed (Fay and Feuer, Statistics in Medicine 1997); their ratio
then has the limits of Fay (Communications in Statistics 1999), which are those of Clopper and
Pearson where all weights are equal. The README here says what that was chosen against.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.beta import beta_quantile
from edge_probe.errors import EdgeProbeError

VERDICTS = ("correct", "wrong", "other", "unsure")


class Review(NamedTuple):
    """What somebody said of one class in one window."""

    window: Hashable
    """Which; the same one twice counts once."""
    label: str
    verdict: str
    """``correct``: the class is in it; ``wrong``, ``other``: it is not; ``unsure``: left out."""
    probability: float
    """Of the window to be drawn: in (0, 1]."""
    logit: float
    """Of the class, in the window."""


class Share(NamedTuple):
    """An estimate with its limits."""

    estimate: float | None
    """None: nothing that was reviewed says anything about it."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Validation:
    """How good a class is at a threshold."""

    label: str
    threshold: float
    """Logit."""
    n_reviewed: int
    """Windows with a verdict other than unsure."""
    n_present: int
    n_detected: int
    n_unsure: int
    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True)
class _Sample:
    """Windows of one class, ascending by logit."""

    logit: NDArray[np.float64]
    weight: NDArray[np.float64]
    is_present: NDArray[np.bool_]
    n_unsure: int


def either(one: float, other: float) -> float:
    """Probability of a window that two samples could have drawn, each by itself."""
    return 1 - (1 - one) * (1 - other)


def validate(
    reviews: Iterable[Review], thresholds: Mapping[str, float], *, level: float = 0.95
) -> Sequence[Validation]:
    """Precision and recall of every class that was reviewed and has a threshold.

    Recall is that among windows that could be drawn: where a sample begins at a score, those
    below it count nowhere.

    Parameters
    ----------
    reviews : iterable of Review
        Of windows of equal length. One that two samples could have drawn has the probability
        that `either` gives, whichever drew it.
    thresholds : mapping of label to logit
        A window is detected from here on.
    level : float
        Of the limits, two-sided.

    Raises
    ------
    EdgeProbeError
        A verdict or probability that cannot be, or two verdicts on one window that contradict.
    """
    samples = _samples(reviews)
    return [
        _validation(label, samples[label], thresholds[label], level)
        for label in sorted(samples.keys() & thresholds.keys())
    ]


def threshold_for(
    reviews: Iterable[Review], label: str, precision: float, *, level: float = 0.95
) -> float | None:
    """The lowest logit from which on a class is as precise as wanted, as far as that can be shown.

    Parameters
    ----------
    reviews : iterable of Review
    label : str
    precision : float
        Wanted; the lower limit reaches it.
    level : float
        As in `validate`.

    Returns
    -------
    float or None
        Logit of a reviewed window. None: at no threshold is there enough to show it.
    """
    sample = _samples(r for r in reviews if r.label == label).get(label)
    if sample is None:
        return None
    present = np.cumsum((sample.weight * sample.is_present)[::-1])[::-1]
    estimates = present / np.cumsum(sample.weight[::-1])[::-1]
    for threshold in np.unique(sample.logit[estimates >= precision]):
        if _precision(sample, float(threshold), level).low >= precision:
            return float(threshold)
    return None


def _samples(reviews: Iterable[Review]) -> dict[str, _Sample]:
    found: dict[str, dict[Hashable, Review]] = {}
    for review in reviews:
        _check(review)
        known = found.setdefault(review.label, {}).setdefault(review.window, review)
        if known != review:
            raise EdgeProbeError(
                f"{review.label}, window {review.window}: expected one review, found"
                f" {tuple(known[2:])} and {tuple(review[2:])}",
                hint="keep the later verdict only",
            )
    return {label: _sample(list(windows.values())) for label, windows in found.items()}


def _check(review: Review) -> None:
    where = f"{review.label}, window {review.window}"
    if review.verdict not in VERDICTS:
        raise EdgeProbeError(
            f"{where}: expected {', '.join(VERDICTS)}, found {review.verdict!r}",
            hint="is it a file of corrections?",
        )
    if not 0 < review.probability <= 1:
        raise EdgeProbeError(
            f"{where}: expected a probability above 0 and up to 1, found {review.probability}",
            hint="only windows that a sample has drawn tell how good the others are",
        )


def _sample(reviews: Sequence[Review]) -> _Sample:
    told = sorted((r for r in reviews if r.verdict != "unsure"), key=lambda r: r.logit)
    return _Sample(
        np.array([r.logit for r in told], dtype=np.float64),
        np.array([1 / r.probability for r in told], dtype=np.float64),
        np.array([r.verdict == "correct" for r in told], dtype=np.bool_),
        len(reviews) - len(told),
    )


def _validation(label: str, sample: _Sample, threshold: float, level: float) -> Validation:
    n_missed = int(np.searchsorted(sample.logit, threshold))
    return Validation(
        label, threshold, len(sample.logit), int(sample.is_present.sum()),
        len(sample.logit) - n_missed, sample.n_unsure,
        _precision(sample, threshold, level), _recall(sample, threshold, level),
    )  # fmt: skip


def _precision(sample: _Sample, threshold: float, level: float) -> Share:
    begin = int(np.searchsorted(sample.logit, threshold))
    weight, is_present = sample.weight[begin:], sample.is_present[begin:]
    largest = float(weight.max(initial=0.0))
    hits, misses = (_Sum.of(weight[which], largest) for which in (is_present, ~is_present))
    return _share(hits, misses, level)


def _recall(sample: _Sample, threshold: float, level: float) -> Share:
    """A missed window may weigh as much as any below the threshold that was reviewed."""
    begin = int(np.searchsorted(sample.logit, threshold))
    hits, misses = (
        _Sum.of(weight[is_present], float(weight.max(initial=0.0)))
        for weight, is_present in (
            (sample.weight[begin:], sample.is_present[begin:]),
            (sample.weight[:begin], sample.is_present[:begin]),
        )
    )
    return _share(hits, misses, level)


class _Sum(NamedTuple):
    """Of weights."""

    total: float
    squares: float
    largest: float
    """That one more window could have; 0: there is none."""

    @classmethod
    def of(cls, weights: NDArray[np.float64], largest: float) -> "_Sum":
        return cls(float(weights.sum()), float((weights**2).sum()), largest)


def _share(hits: _Sum, misses: _Sum, level: float) -> Share:
    """Share of the hits in both sums, with limits."""
    both = hits.total + misses.total
    if both == 0:
        return Share(None, 0.0, 1.0)
    tail = (1 - level) / 2
    return Share(hits.total / both, _low(hits, misses, tail), 1 - _low(misses, hits, tail))


def _low(hits: _Sum, misses: _Sum, tail: float) -> float:
    """Lower limit of hits / (hits + misses): hits as they are, misses and one more.

    Of gamma variables with shapes a, b the quotient x / (x + y) of unit scale is beta distributed.
    """
    if hits.total == 0 or misses.largest == 0:
        return 0.0
    total, squares = misses.total + misses.largest, misses.squares + misses.largest**2
    quantile = beta_quantile(tail, hits.total**2 / hits.squares, total**2 / squares)
    odds = hits.squares / hits.total / (squares / total) * quantile / (1 - quantile)
    return odds / (1 + odds)
