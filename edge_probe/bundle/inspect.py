"""What the prototypes of a head look like: balance, copies and near copies.

The one module that imports bitarray, whose decoding is independent of the kernels' own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle.labels import Label
from edge_probe.head import ProtobinHead, PrototypeHead

NEAR = 0.05
"""Prototypes that differ in at most this share of their bits count as near copies."""

MAX_COMPARED = 1000
"""Prototypes of one class up to which all pairs are compared."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two prototypes that say (almost) the same."""

    first: int
    second: int
    n_different: int
    """Bits that differ; 0 for a copy."""


@dataclass(frozen=True, slots=True)
class ClassBits:
    """Prototypes that speak most for one class: those whose largest weight is its own."""

    label: str
    prototypes: tuple[int, ...]
    ones: tuple[float, ...]
    """Share of bits that are 1, for each prototype; a useful one is near 0.5."""
    near_copies: tuple[NearCopy, ...]
    compared: bool
    """False where there were too many prototypes to compare all pairs."""


def describe_prototypes(head: ProtobinHead, labels: tuple[Label, ...]) -> list[ClassBits]:
    """Balance and redundancy of a head's prototypes, class by class.

    Parameters
    ----------
    head : ProtobinHead
    labels : tuple of Label
        C labels.
    """
    from bitarray import bitarray
    from bitarray.util import count_xor

    vectors = []
    for row in head.prototypes:
        bits = bitarray(endian="little")
        bits.frombytes(row.tobytes())
        vectors.append(bits[: head.n_dims])
    limit = int(head.n_dims * NEAR)
    found, owner = [], owners(head)
    for index, label in enumerate(labels):
        members = np.flatnonzero(owner == index).tolist()
        compared = len(members) <= MAX_COMPARED
        copies = [
            NearCopy(first, second, different)
            for rank, first in enumerate(members if compared else [])
            for second in members[rank + 1 :]
            if (different := count_xor(vectors[first], vectors[second])) <= limit
        ]
        ones = tuple(vectors[m].count() / head.n_dims for m in members)
        found.append(ClassBits(label.text, tuple(members), ones, tuple(copies), compared))
    return found


def owners(head: PrototypeHead) -> NDArray[np.int64]:
    """The class that each prototype speaks most for: that of its largest weight.

    Returns
    -------
    (M,) int64
        The first of equal weights.
    """
    best_class = np.zeros(head.n_prototypes, np.int64)
    best_weight = np.full(head.n_prototypes, -np.inf)
    for index in range(head.n_classes):
        weights = head.linear.row(index)
        better = weights > best_weight
        best_class[better] = index
        best_weight[better] = weights[better]
    return best_class
