"""Deployments of which the truth is known, and samples of them as a recorder draws them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.validation import Review, either

N_WINDOWS = 10_000
"""14 hours of 5 s."""

RANDOM = 0.01
STRATA = ((0.1, 0.01), (0.3, 0.02), (0.6, 0.05), (0.9, 0.1))
"""Scores from here on, and the probability to be drawn: the defaults of ``edge-probe run``."""

LABEL = "Wren"


class Scene(NamedTuple):
    """Kinds of deployments."""

    share: float
    """Of windows that hold the class."""
    apart: float
    """How far its logits lie above those of other windows, in their standard deviation."""
    threshold: float
    """Logit."""


SCENES = {
    "common, well told": Scene(0.2, 4.0, 0.0),
    "common, badly told": Scene(0.2, 1.5, 0.0),
    "rare, well told": Scene(0.02, 4.0, 0.0),
    "rare, badly told": Scene(0.02, 2.0, 0.0),
    "very rare": Scene(0.004, 3.0, 0.0),
    "hardly ever missed": Scene(0.05, 6.0, -1.0),
    "hardly ever wrong": Scene(0.05, 4.0, 1.5),
}
"""40 to 2,000 of the windows hold the class; 150 to 300 are heard."""


class Deployment(NamedTuple):
    """All windows of one, and those that were drawn and heard."""

    logit: NDArray[np.float64]
    is_present: NDArray[np.bool_]
    reviews: list[Review]

    def precision(self, threshold: float) -> float:
        """The truth; NaN where nothing is detected."""
        return _mean(self.is_present[self.logit >= threshold])

    def recall(self, threshold: float) -> float:
        """The truth."""
        return _mean(self.logit[self.is_present] >= threshold)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def deployments(scene: Scene, n: int, seed: int) -> Iterator[Deployment]:
    """Deployments of a kind, each another population and another draw."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        is_present = rng.random(N_WINDOWS) < scene.share
        logit = rng.normal(size=N_WINDOWS) - 2.5 + scene.apart * is_present
        logit += rng.normal(size=N_WINDOWS) * 0.5 * is_present
        others = rng.normal(size=N_WINDOWS) * 1.5 - 3.0  # the best of the other classes
        score = 1 / (1 + np.exp(-np.maximum(logit, others)))
        probability = np.full(N_WINDOWS, RANDOM)
        for bound, chance in STRATA:
            probability[score >= bound] = either(RANDOM, chance)
        drawn = np.flatnonzero(rng.random(N_WINDOWS) < probability)
        yield Deployment(logit, is_present, [
            Review(int(i), LABEL, "correct" if is_present[i] else "wrong",
                   float(probability[i]), float(logit[i]))
            for i in drawn
        ])  # fmt: skip
