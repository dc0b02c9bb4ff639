"""What the people of a deployment say about classes; the bundle says what a class is."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from edge_probe.bundle import Label
from edge_probe.errors import StateError

Suppresses = Callable[[str, date | None, float], bool]
"""(label, UTC date or None where it is not known, score) -> whether nobody expects it there."""

DateOf = Callable[[int, int], date | None]
"""(stream, frame) -> UTC date, or None where it is not known."""


def _expects_all(_label: str, _day: date | None, _score: float) -> bool:
    return False


def _knows_no_date(_stream: int, _frame: int) -> date | None:
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """Marks on detections; none of them keeps a detection from being stored."""

    suppresses: Suppresses = _expects_all
    date_of: DateOf = _knows_no_date
    private: frozenset[str] = frozenset()
    """Labels that are nobody's business."""

    def check(self, labels: Collection[Label]) -> None:
        """See that private labels are labels of the bundle.

        Raises
        ------
        StateError
            One is not: it would be kept in silence.
        """
        known = {label.text for label in labels}
        if unknown := sorted(self.private - known):
            near = get_close_matches(unknown[0], known, n=1)
            raise StateError(
                f"expected labels of the bundle as private classes, found {unknown[0]!r}",
                hint=f"did you mean {near[0]}?" if near else "labels.txt of the bundle has them",
            )

    def is_suppressed(self, label: str, stream: int, frame: int, score: float) -> bool:
        """Whether the species list does not expect a detection that begins at a frame."""
        return self.suppresses(label, self.date_of(stream, frame), score)
