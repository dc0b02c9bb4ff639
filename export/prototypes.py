"""What the prototypes of a head are worth: copies, look-alikes, and those that never speak."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from tqdm import tqdm

from edge_probe.bundle.inspect import NEAR, owners
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    ProtobinHead,
    PrototypeHead,
    SparseInt8Linear,
)
from edge_probe.head.packing import unpack_signs

CHANCE = 1e-6
"""Probability that random prototypes hold a single pair as close as the chance limit."""

UNUSED = 0.01
"""A prototype whose share is at most this part of the largest share is unused."""

MAX_CHANGE = 0.05
"""Unused prototypes are removable as long as no logit can move by more than this."""

_BLOCK = 2048
"""Prototypes compared with as many others at a time: 16 MiB of products."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two prototypes, one of which is the other's nearest."""

    first: int
    second: int
    cosine: float
    """Of the two."""

    @property
    def mirrored(self) -> bool:
        """Whether `first` is near to the negated `second`."""
        return self.cosine < 0

    def n_different(self, n_dims: int) -> int:
        """Bits that differ, of binary prototypes; from the negated `second` where `mirrored`."""
        return different_bits(abs(self.cosine), n_dims)


def different_bits(cosine: float, n_dims: int) -> int:
    """Bits in which binary prototypes of this cosine differ: ``cosine = (D - 2 bits) / D``."""
    return round((1 - cosine) * n_dims / 2)


@dataclass(frozen=True, slots=True)
class Pruning:
    """What a head could do without."""

    removable: tuple[int, ...]
    """Unused prototypes to leave out, their usual part ``W[:, m] reference[m]`` in the bias."""
    max_change: float
    """No logit moves by more than this when they are left out, whatever is heard."""
    mergeable: tuple[tuple[int, int], ...]
    """(copy, kept): the copy goes, its weights are added to those kept; logits stay."""
    saved_bytes: int
    """Prototypes, weights and reference scores of all of them."""


@dataclass(frozen=True, slots=True)
class PrototypeReport:
    """The state of a head's prototypes."""

    n_dims: int
    n_prototypes: int
    copies: tuple[tuple[int, ...], ...]
    """Groups of equal prototypes."""
    close: tuple[Pair, ...]
    """Nearest pairs within either of the limits, the closest first, no copies."""
    chance_cosine: float | None
    """From here on chance does not explain a pair. None of float prototypes, as theirs need not
    point everywhere, and where so few dimensions or so many prototypes explain any closeness."""
    near_cosine: float
    """From here on prototypes are near copies; of bits as in ``edge-probe info --bits``."""
    binary: bool
    """Whether prototypes are bits."""
    owners: NDArray[np.int64]
    """(M,) class of the largest weight of each."""
    share: NDArray[np.float64]
    """(M,) norm of ``W[:, m]`` times the spread of the score, the largest being 1."""
    spread_windows: int
    """Windows that the spread was measured on; 0 where it was taken as equal for all."""
    unused: tuple[int, ...]
    """Those of a share of at most `UNUSED`, the smallest weights first."""
    pruning: Pruning


def report_prototypes(
    head: PrototypeHead, spread: NDArray[np.float64] | None = None, n_windows: int = 0
) -> PrototypeReport:
    """Look at every pair of prototypes and at every weight.

    Parameters
    ----------
    head : PrototypeHead
    spread : (M,) float64, optional
        Standard deviation of each prototype's score; equal for all if left out.
    n_windows : int
        Windows that the spread was measured on.
    """
    copies, (near, chance) = _copies(head), _limits(head)
    norms = _norms(head)
    size = norms * (1.0 if spread is None else spread)
    share = size / (size.max() or 1.0)
    order = np.argsort(norms, kind="stable")
    unused = order[share[order] <= UNUSED]
    return PrototypeReport(
        n_dims=head.n_dims,
        n_prototypes=head.n_prototypes,
        copies=copies,
        close=_close_pairs(head, near if chance is None else min(near, chance)),
        chance_cosine=chance,
        near_cosine=near,
        binary=isinstance(head, ProtobinHead),
        owners=owners(head),
        share=share,
        spread_windows=n_windows if spread is not None else 0,
        unused=tuple(unused.tolist()),
        pruning=_prune(head, unused, copies),
    )


def _limits(head: PrototypeHead) -> tuple[float, float | None]:
    """`PrototypeReport.near_cosine` and `PrototypeReport.chance_cosine`."""
    if not isinstance(head, ProtobinHead):
        return 1 - 2 * NEAR, None
    chance = chance_limit_bits(head)
    near = _cosine(int(head.n_dims * NEAR), head.n_dims)
    return near, _cosine(chance, head.n_dims) if chance >= 0 else None


def chance_limit_bits(head: ProtobinHead) -> int:
    """Most bits in which two prototypes may differ and be closer than chance explains.

    Random ±1 vectors differ in Binomial(D, 1/2) bits (a cosine of standard deviation
    ``1/sqrt(D)``). The limit is the largest k for which all ``M (M - 1) / 2`` pairs, each taken
    as it is and with one negated, reach ``P(X <= k)`` with a probability below `CHANCE`; -1 where
    there is none. The bits of the R thresholds of a dimension count as one: they start as copies.
    """
    n_tries = max(1, head.n_prototypes * (head.n_prototypes - 1))
    tail = binom.logcdf(np.arange(head.n_token_dims), head.n_token_dims, 0.5)
    limit = int(np.searchsorted(tail, np.log(CHANCE / n_tries))) - 1
    return limit * head.n_thresholds if limit > 0 else limit


def _cosine(n_different: int, n_dims: int) -> float:
    """Of binary prototypes; the inverse of `different_bits`."""
    return (n_dims - 2 * n_different) / n_dims


def _copies(head: PrototypeHead) -> tuple[tuple[int, ...], ...]:
    _, group = np.unique(head.prototypes, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    starts = np.flatnonzero(np.diff(group.ravel()[order])) + 1
    groups = (part.tolist() for part in np.split(order, starts))
    return tuple(sorted(tuple(members) for members in groups if len(members) > 1))


def _close_pairs(head: PrototypeHead, limit: float) -> tuple[Pair, ...]:
    """Each prototype with its nearest, as it is and negated, if their cosine reaches the limit.

    Of copies only the first is compared.
    """
    _, index = np.unique(head.prototypes, axis=0, return_index=True)
    index.sort()
    found: dict[tuple[int, int], Pair] = {}
    for begin in tqdm(range(0, len(index), _BLOCK), desc="pairs", disable=None, leave=False):
        for sign in (1, -1):
            cosines, others = _nearest(head, index, begin, sign)
            for row in np.flatnonzero(cosines >= limit).tolist():
                first, second = sorted((int(index[begin + row]), int(index[others[row]])))
                found[first, second] = Pair(first, second, sign * float(cosines[row]))
    return tuple(sorted(found.values(), key=lambda each: (-abs(each.cosine), each.first)))


def _nearest(
    head: PrototypeHead, index: NDArray[np.intp], begin: int, sign: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Largest cosine of each prototype of a block with another one, and which that is."""
    rows = _block(head, index[begin : begin + _BLOCK])
    best, other = np.full(len(rows), -np.inf), np.zeros(len(rows), np.int64)
    for start in range(0, len(index), _BLOCK):
        products = sign * (rows @ _block(head, index[start : start + _BLOCK]).T)
        if start == begin:
            np.fill_diagonal(products, -np.inf)
        column = products.argmax(axis=1)
        value = products[np.arange(len(rows)), column].astype(np.float64)
        better = value > best
        best[better], other[better] = value[better], start + column[better]
    return (best / head.n_dims if isinstance(head, ProtobinHead) else best), other


def _block(head: PrototypeHead, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Some prototypes as floats; products of bits, ±1, are exact."""
    some = head.prototypes[rows]
    return unpack_signs(some, head.n_dims).astype(np.float32) if some.dtype == np.uint8 else some


def _norms(head: PrototypeHead) -> NDArray[np.float64]:
    """(M,) norms of the columns of W, row by row: W itself may be large."""
    total = np.zeros(head.n_prototypes)
    for index in range(head.n_classes):
        total += head.linear.row(index) ** 2
    norms: NDArray[np.float64] = np.sqrt(total)
    return norms


def _prune(
    head: PrototypeHead, unused: NDArray[np.intp], copies: tuple[tuple[int, ...], ...]
) -> Pruning:
    change = _worst_changes(head, unused)
    n_safe = int(np.searchsorted(change, MAX_CHANGE, side="right"))
    removable = unused[:n_safe]
    if isinstance(head.linear, GroupedInt8Linear):
        removable = _as_many_per_class(removable, head.linear)
        n_safe = len(removable)
    gone = set(removable.tolist())
    mergeable = _mergeable(head, [[m for m in group if m not in gone] for group in copies])
    of_prototypes = head.prototypes.nbytes + head.linear.weights.nbytes
    each_bytes = (of_prototypes + head.reference_scores.nbytes) // head.n_prototypes
    return Pruning(
        tuple(sorted(gone)),
        float(_worst_changes(head, removable)[-1]) if n_safe else 0.0,
        mergeable,
        each_bytes * (len(gone) + len(mergeable)),
    )


def _worst_changes(head: PrototypeHead, prototypes: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,) most that any logit moves without the first 1, 2, ... n of these prototypes.

    A score is a cosine, so it is at most ``1 + |reference|`` from its reference (and 2^-20 more
    for its rounding).
    """
    reach = 1 + np.abs(head.reference_scores[prototypes].astype(np.float64)) + 2.0**-20
    worst = np.zeros(len(prototypes))
    for index in range(head.n_classes):
        moved = np.cumsum(np.abs(head.linear.row(index)[prototypes]) * reach)
        worst = np.maximum(worst, moved)
    return worst


def _as_many_per_class(removable: NDArray[np.intp], linear: GroupedInt8Linear) -> NDArray[np.intp]:
    """As many of each class as every class can spare: its layer is a rectangle."""
    n_classes, n_own = linear.weights.shape
    owner = removable // n_own
    n_each = int(np.bincount(owner, minlength=n_classes).min())
    kept = [removable[owner == index][:n_each] for index in range(n_classes)]
    return np.concatenate(kept)


def _mergeable(head: PrototypeHead, groups: list[list[int]]) -> tuple[tuple[int, int], ...]:
    """Copies whose weights can be added to another's: within int8, and not in a rectangle."""
    linear = head.linear
    if isinstance(linear, GroupedInt8Linear | SparseInt8Linear):
        return ()
    merged = []
    for kept, *others in (group for group in groups if group):
        total = linear.weights[:, kept].astype(np.float64)
        for copy in others:
            joined = total + linear.weights[:, copy]
            if isinstance(linear, FloatLinear) or np.abs(joined).max() <= 127:
                merged.append((copy, kept))
                total = joined
    return tuple(merged)
