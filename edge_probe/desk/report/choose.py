"""Which detections people are asked about.

Of each class the best (largest logits), the rarest and some at random. Rare is what comes where and
when the class is hardly heard: few of its detections are of the same deployment and hour of the
day. All of it depends on the seed and the archive alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.report.detections import NO_TIME, Columns

WHYS = ("best", "rare", "random")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A detection to listen to."""

    at: int
    """In the columns."""
    rank: int
    """Of its class, from 0: those of low rank are made first."""
    whys: tuple[str, ...]
    """Some of `WHYS`."""


def choose_detections(columns: Columns, n: int, seed: int) -> list[Chosen]:
    """Choose n of each kind and class, of those with sound, by rank."""
    found: list[Chosen] = []
    order = np.argsort(columns.klass, kind="stable")
    borders = np.flatnonzero(np.diff(columns.klass[order])) + 1
    for members in np.split(order, borders):
        audible = members[columns.audible[members]]
        if len(audible):
            found += _of_class(columns, members, audible, n, seed)
    return sorted(found, key=lambda one: (one.rank, one.at))


def _of_class(
    columns: Columns, members: NDArray[np.intp], audible: NDArray[np.intp], n: int, seed: int
) -> Iterator[Chosen]:
    logit = columns.logit[audible]
    generator = np.random.default_rng([seed, int(columns.klass[members[0]])])
    picked = (
        audible[np.lexsort((audible, -logit))[:n]],
        audible[np.lexsort((audible, -logit, _company(columns, members, audible)))[:n]],
        audible[generator.permutation(len(audible))[:n]],
    )
    whys: dict[int, list[str]] = {}
    ranks: dict[int, int] = {}
    for why, which in zip(WHYS, picked, strict=True):
        for rank, at in enumerate(which.tolist()):
            whys.setdefault(at, []).append(why)
            ranks[at] = min(rank, ranks.get(at, rank))
    return (Chosen(at, ranks[at], tuple(whys[at])) for at in whys)


def _company(
    columns: Columns, members: NDArray[np.intp], audible: NDArray[np.intp]
) -> NDArray[np.intp]:
    """How many of a class are of the same deployment and hour of the day as each of some."""
    hour = np.where(columns.time == NO_TIME, 24, columns.time // 3600 % 24)
    place = columns.deployment.astype(np.int64) * 25 + hour
    _, code, counts = np.unique(place[members], return_inverse=True, return_counts=True)
    company: NDArray[np.intp] = counts[code][np.isin(members, audible)]
    return company
