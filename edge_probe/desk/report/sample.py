"""Which of the windows that the recorder drew are asked about.

Too many to listen to were drawn, and of many the sound is gone. Some are drawn again at random, and
their probability is the product of all draws.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edge_probe.desk.archive import Deployment
from edge_probe.desk.opened import Opened
from edge_probe.desk.windows import DrawnWindow, Opinion, drawn_windows, opinions, why_unheard

KINDS = ("random", "stratified")

_AT_FIRST = 10
"""Windows that are looked at for each one that is wanted."""

NOT_CLASSIFIED = "were not classified from end to end"


class Candidate(NamedTuple):
    """A drawn window that can be listened to."""

    deployment: int
    rank: int
    """In a random order, from 0."""
    window: DrawnWindow
    share: float
    """Probability of a window that was drawn, and can be listened to, to be among these."""
    opinions: tuple[Opinion, ...]


def draw(
    opened: Opened, folders: Sequence[Path], kind: str, n: int, seed: int, left_out: Counter[str]
) -> list[Candidate]:
    """Draw up to n windows of a kind from all deployments, in random order.

    Parameters
    ----------
    opened : Opened
    folders : sequence of Path
        Of the deployments, by their numbers.
    kind : str
        One of `KINDS`.
    n : int
    seed : int
    left_out : Counter
        Gets the reasons why windows cannot be asked about.
    """
    windows = [
        (index, window)
        for index, folder in enumerate(folders)
        for window in drawn_windows(opened.get(folder), kind)
    ]
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    order = generator.permutation(len(windows))[: n * _AT_FIRST].tolist()
    found: dict[int, tuple[Opinion, ...]] = {}
    for at in sorted(order):  # one deployment after the other
        index, window = windows[at]
        deployment = opened.get(folders[index])
        reason, thought = _looked_at(deployment, window)
        if reason is None:
            found[at] = thought
        else:
            left_out[f"windows of the {kind} sample {reason}"] += 1
    chosen = [at for at in order if at in found][:n]
    share = len(order) / len(windows) * len(chosen) / len(found) if found else 0.0
    return [
        Candidate(windows[at][0], rank, windows[at][1], share, found[at])
        for rank, at in enumerate(chosen)
    ]


def _looked_at(
    deployment: Deployment, window: DrawnWindow
) -> tuple[str | None, tuple[Opinion, ...]]:
    """Why it cannot be asked about, or what bundles thought of it."""
    reason = why_unheard(deployment, window)
    if reason is not None:
        return reason, ()
    thought = tuple(opinions(deployment, window))
    return (None if thought else NOT_CLASSIFIED), thought
