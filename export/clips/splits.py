"""Splits that never part clips of one source recording."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from export.clips.clip import BACKGROUND, Clip, ClipsError, Split

N_FOLDS = 20
"""Shares are whole numbers of so many folds: steps of 5 %."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Rows of the clips in each split, ascending: (n,) int64."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def grouped_folds(
    kinds: NDArray[np.int64], groups: Sequence[str], n_folds: int, seed: int
) -> list[NDArray[np.int64]]:
    """Rows of each fold; no group stands in two, kinds are spread as evenly as groups allow.

    Parameters
    ----------
    kinds : (N,) int64
        What is to be spread.
    groups : sequence of str
        As many.
    n_folds : int
        At most so many: fewer are made where there are fewer groups or rows of a kind. A single
        fold holds all rows.
    seed : int
    """
    n_folds = min(n_folds, len(set(groups)), int(np.bincount(kinds).max()))
    if n_folds < 2:
        return [np.arange(len(kinds))]
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a rare kind cannot be in every fold
        folds = list(splitter.split(np.zeros(len(kinds)), kinds, list(groups)))
    return [held_out for _, held_out in folds if len(held_out)]


def split_clips(
    clips: Sequence[Clip], seed: int, validation: float = 0.2, test: float = 0.0
) -> Splits:
    """Split clips by source recording, the classes as evenly as recordings allow.

    A recording stays where any of its clips was put by hand (`Clip.split`); the others are drawn,
    but one recording of every class, and one of background, is always left to learn from.

    Parameters
    ----------
    clips : sequence of Clip
    seed : int
        The same seed and clips give the same splits.
    validation, test : float
        Shares of the clips whose recordings are drawn; whole recordings come near them.

    Raises
    ------
    ClipsError
        A recording was put in two splits by hand, or there are too few to draw from.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise ClipsError(
            f"expected shares below 1 together, found {validation} for validation and {test} for "
            "test",
            hint="what is left is for training",
        )
    placed = _placed(clips)
    drawn = {clip.group for clip in clips} - set(placed)
    n_clips = sum(clip.group in drawn for clip in clips)
    shares: dict[Split, float] = {"test": test, "validation": validation}
    for split, share in shares.items():
        if share and drawn:
            taken = _draw(clips, drawn, placed, share * n_clips, seed)
            placed |= dict.fromkeys(taken, split)
            drawn -= taken
    names = np.array([placed.get(clip.group, "train") for clip in clips], dtype="U10")
    rows = {split: np.flatnonzero(names == split) for split in get_args(Split)}
    return Splits(**rows)


def _placed(clips: Sequence[Clip]) -> dict[str, Split]:
    """The split of every group that was put into one by hand."""
    placed: dict[str, Split] = {}
    for clip in clips:
        if clip.split and placed.setdefault(clip.group, clip.split) != clip.split:
            raise ClipsError(
                f"{clip.path} is for {clip.split}, but other clips of its recording "
                f"{clip.group!r} are for {placed[clip.group]}",
                hint="a recording stands in one split; a column group tells recordings apart",
            )
    return placed


def _draw(
    clips: Sequence[Clip], groups: set[str], placed: dict[str, Split], n_wanted: float, seed: int
) -> set[str]:
    """Some of the groups, with about as many clips as are wanted; training can spare them."""
    free = groups - _kept(clips, groups, placed, seed)
    rows = [row for row, clip in enumerate(clips) if clip.group in free]
    if not rows:
        raise ClipsError(
            f"{len(groups)} recordings are too few to take {n_wanted:g} of their clips away and "
            "leave every class to learn from",
            hint="add recordings, or tell them apart in a CSV file with a column group",
        )
    owners = [clips[row].group for row in rows]
    share = min(1.0, n_wanted / len(rows))
    folds = grouped_folds(_kinds([clips[row] for row in rows]), owners, N_FOLDS, seed)
    n_taken = max(1, round(share * len(folds)))
    nearest = sorted(folds, key=lambda fold: abs(len(fold) - n_wanted / n_taken))
    return {owners[index] for fold in nearest[:n_taken] for index in fold}


def _kept(clips: Sequence[Clip], groups: set[str], placed: dict[str, Split], seed: int) -> set[str]:
    """Groups that training needs: with them it has a clip of every class and of background."""
    holders: dict[str, set[str]] = {}
    for clip in clips:
        if clip.group in groups or placed.get(clip.group) == "train":
            for label in clip.labels or (BACKGROUND,):
                holders.setdefault(label, set()).add(clip.group)
    rng = np.random.default_rng(seed)
    kept = {group for group, split in placed.items() if split == "train"}
    for _, having in sorted(holders.items(), key=lambda item: (len(item[1]), item[0])):
        if not having & kept:
            kept.add(sorted(having)[rng.integers(len(having))])
    return kept


def _kinds(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """The rarest class of each clip as a number: (N,); background is one more class."""
    count = Counter(label for clip in clips for label in clip.labels or (BACKGROUND,))
    order = sorted(count, key=lambda label: (count[label], label))
    rank = {label: index for index, label in enumerate(order)}
    return np.array([min(rank[label] for label in clip.labels or (BACKGROUND,)) for clip in clips])


def split_three_ways(clips: Sequence[Clip]) -> Splits:
    """The splits that tuning and comparing share: a fifth for validation, a fifth for the test.

    Where clips say themselves which are for the test, no others are drawn for it. No seed moves
    them: a recipe that was tuned by one split must not be tested on another.
    """
    tested = any(clip.split == "test" for clip in clips)
    return split_clips(clips, seed=0, validation=0.2, test=0.0 if tested else 0.2)
