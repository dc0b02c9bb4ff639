"""The two bundles of a comparison, and the classes that both have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.desk.diff.pairs import Timing
from edge_probe.errors import EdgeProbeError


@dataclass(frozen=True)
class Side:
    """One bundle; arrays are in the order of the classes that are compared."""

    analyser: ChunkAnalyser
    classes: NDArray[np.intp]
    """(n,), numbers of the compared classes in the bundle."""
    only_here: tuple[str, ...]
    """Labels that the other bundle does not have."""

    @property
    def bundle(self) -> Bundle:
        """Which one."""
        return self.analyser.bundle

    @property
    def timing(self) -> Timing:
        """Its windows."""
        return Timing.of(self.bundle)

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(n,) logits from which on a window is heard."""
        return self.bundle.threshold_on[self.classes]

    def scores(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displayed scores for logits, (n,) each, as `Bundle.score` has them one by one."""
        slopes = self.bundle.calibration
        if slopes is not None:
            logits = slopes[self.classes, 0] * logits + slopes[self.classes, 1]
        return 0.5 * (1 + np.tanh(logits / 2))


@dataclass(frozen=True)
class Sides:
    """Both, and what they have in common."""

    a: Side
    b: Side
    labels: tuple[str, ...]
    """(n,) of the classes that are compared, in the order of A."""

    @property
    def both(self) -> tuple[Side, Side]:
        """A and B."""
        return self.a, self.b


def sides(a: ChunkAnalyser, b: ChunkAnalyser) -> Sides:
    """Put two bundles side by side; classes are the same where their labels are.

    Raises
    ------
    EdgeProbeError
        They have no class in common.
    """
    found = [[label.text for label in one.bundle.labels] for one in (a, b)]
    common = [text for text in found[0] if text in set(found[1])]
    if not common:
        raise EdgeProbeError(
            "expected bundles with a label in common, found "
            + " and ".join(_some(labels) for labels in found),
            hint="classes are compared where their labels are the same to the letter",
        )
    made = [
        Side(
            analyser,
            np.array([labels.index(text) for text in common]),
            tuple(text for text in labels if text not in set(common)),
        )
        for analyser, labels in zip((a, b), found, strict=True)
    ]
    return Sides(made[0], made[1], tuple(common))


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:3]) + (" ..." if len(labels) > 3 else "")
