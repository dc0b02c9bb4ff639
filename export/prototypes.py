"""What the prototypes of a head are worth: copies, look-alikes, and those that never speak."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from tqdm import tqdm

from edge_probe.bundle.inspect import NEAR, owners
from edge_probe.head import FloatLinear, GroupedInt8Linear, ProtobinHead, SparseInt8Linear
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
    n_different: int
    """Bits that differ; between `first` and the negated `second` where `mirrored`."""
    mirrored: bool

    def cosine(self, n_dims: int) -> float:
        """Of the two prototypes, of that many dimensions."""
        cosine = 1 - 2 * self.n_different / n_dims
        return -cosine if self.mirrored else cosine


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
    """Groups of prototypes with equal bits."""
    close: tuple[Pair, ...]
    """Nearest pairs within the chance limit or `near_limit`, the closest first, no copies."""
    chance_limit: int
    """Bits; -1 where so few dimensions or so many prototypes explain any closeness."""
    near_limit: int
    """Bits in which near copies differ at most, as in ``edge-probe info --bits``."""
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
    head: ProtobinHead, spread: NDArray[np.float64] | None = None, n_windows: int = 0
) -> PrototypeReport:
    """Look at every pair of prototypes and at every weight.

    Parameters
    ----------
    head : ProtobinHead
    spread : (M,) float64, optional
        Standard deviation of each prototype's score; equal for all if left out.
    n_windows : int
        Windows that the spread was measured on.
    """
    copies = _copies(head)
    chance_limit, near_limit = chance_limit_bits(head), int(head.n_dims * NEAR)
    norms = _norms(head)
    size = norms * (1.0 if spread is None else spread)
    share = size / (size.max() or 1.0)
    order = np.argsort(norms, kind="stable")
    unused = order[share[order] <= UNUSED]
    return PrototypeReport(
        n_dims=head.n_dims,
        n_prototypes=head.n_prototypes,
        copies=copies,
        close=_close_pairs(head, max(chance_limit, near_limit)),
        chance_limit=chance_limit,
        near_limit=near_limit,
        owners=owners(head),
        share=share,
        spread_windows=n_windows if spread is not None else 0,
        unused=tuple(unused.tolist()),
        pruning=_prune(head, unused, copies),
    )


def chance_limit_bits(head: ProtobinHead) -> int:
    """Most bits in which two prototypes may differ and be closer than chance explains.

    Random ±1 vectors differ in Binomial(D, 1/2) bits (a cosine of standard deviation
    ``1/sqrt(D)``). The limit is the largest k for which all ``M (M - 1) / 2`` pairs, each taken
    as it is and with one negated, reach ``P(X <= k)`` with a probability below `CHANCE`.
    """
    n_tries = max(1, head.n_prototypes * (head.n_prototypes - 1))
    tail = binom.logcdf(np.arange(head.n_dims), head.n_dims, 0.5)
    return int(np.searchsorted(tail, np.log(CHANCE / n_tries))) - 1


def _copies(head: ProtobinHead) -> tuple[tuple[int, ...], ...]:
    _, group = np.unique(head.prototypes, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    starts = np.flatnonzero(np.diff(group.ravel()[order])) + 1
    groups = (part.tolist() for part in np.split(order, starts))
    return tuple(sorted(tuple(members) for members in groups if len(members) > 1))


def _close_pairs(head: ProtobinHead, limit: int) -> tuple[Pair, ...]:
    """Each prototype with its nearest, as it is and negated, if within the limit.

    Of copies only the first is compared.
    """
    _, index = np.unique(head.prototypes, axis=0, return_index=True)
    index.sort()
    packed, found = head.prototypes[index], set()
    for begin in tqdm(range(0, len(packed), _BLOCK), desc="pairs", disable=None, leave=False):
        for mirrored in (False, True):
            products, others = _nearest(packed, head.n_dims, begin, mirrored)
            n_different = (head.n_dims - products) // 2
            for row in np.flatnonzero(n_different <= limit).tolist():
                first, second = sorted((int(index[begin + row]), int(index[others[row]])))
                found.add(Pair(first, second, int(n_different[row]), mirrored))
    return tuple(sorted(found, key=lambda pair: (pair.n_different, pair.first, pair.second)))


def _nearest(
    packed: NDArray[np.uint8], n_dims: int, begin: int, mirrored: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Largest product of each prototype of a block with another one, and which that is."""
    rows = _signs(packed, n_dims, begin)
    none = -n_dims - 2  # below every product: more bits differ than there are
    best, other = np.full(len(rows), none, np.int64), np.zeros(len(rows), np.int64)
    for start in range(0, len(packed), _BLOCK):
        products = rows @ _signs(packed, n_dims, start).T * (-1 if mirrored else 1)
        if start == begin:
            np.fill_diagonal(products, none)
        column = products.argmax(axis=1)
        value = products[np.arange(len(rows)), column].astype(np.int64)
        better = value > best
        best[better], other[better] = value[better], start + column[better]
    return best, other


def _signs(packed: NDArray[np.uint8], n_dims: int, begin: int) -> NDArray[np.float32]:
    """A block of prototypes as ±1; their products are exact in float32."""
    return unpack_signs(packed[begin : begin + _BLOCK], n_dims).astype(np.float32)


def _norms(head: ProtobinHead) -> NDArray[np.float64]:
    """(M,) norms of the columns of W, row by row: W itself may be large."""
    total = np.zeros(head.n_prototypes)
    for index in range(head.n_classes):
        total += head.linear.row(index) ** 2
    norms: NDArray[np.float64] = np.sqrt(total)
    return norms


def _prune(
    head: ProtobinHead, unused: NDArray[np.intp], copies: tuple[tuple[int, ...], ...]
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


def _worst_changes(head: ProtobinHead, prototypes: NDArray[np.intp]) -> NDArray[np.float64]:
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


def _mergeable(head: ProtobinHead, groups: list[list[int]]) -> tuple[tuple[int, int], ...]:
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
