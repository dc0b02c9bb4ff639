"""An estimate beside what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_probe.budget.figure import UNITS, Figure, Sheet, span
from edge_probe.disk.plan import Span
from edge_probe.errors import EdgeProbeError


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, twice."""

    name: str
    estimate: Figure | None
    measured: Figure | None

    @property
    def error(self) -> Span | None:
        """Ends of the estimate over the middle of what was measured, less 1."""
        if self.estimate is None or self.measured is None or self.measured.middle == 0:
            return None
        middle = self.measured.middle
        return Span(self.estimate.low / middle - 1, self.estimate.high / middle - 1)

    @property
    def holds(self) -> bool | None:
        """Whether the two spans meet; None where an estimate is no span or one is missing."""
        if self.estimate is None or self.measured is None:
            return None
        if self.estimate.low == self.estimate.high:
            return None
        return self.estimate.low <= self.measured.high and self.measured.low <= self.estimate.high


def compare(estimate: Sheet, measured: Sheet) -> Sequence[Row]:
    """Every row that either has.

    Raises
    ------
    EdgeProbeError
        They are of two bundles.
    """
    if estimate.bundle != measured.bundle:
        raise EdgeProbeError(
            f"the estimate is of {estimate.bundle}, measured was {measured.bundle}",
            hint="compare figures of the same bundle",
        )
    names = [name for name in UNITS if name in estimate.figures or name in measured.figures]
    return [Row(name, estimate.figures.get(name), measured.figures.get(name)) for name in names]


def lines(estimate: Sheet, measured: Sheet) -> list[str]:
    """For people."""
    title = f"{estimate.bundle}: estimate for {estimate.where}, measured on {measured.where}"
    head = f"{'row':<20}{'estimate':>16}{'measured':>16} {'unit':<5}{'error':>16}  span"
    words = {True: "holds", False: "MISSED", None: ""}
    rows = []
    for row in compare(estimate, measured):
        figures = [span(one) if one else "-" for one in (row.estimate, row.measured)]
        ends = dict.fromkeys(f"{100 * end:+.0f}" for end in row.error or ())
        error = "..".join(ends) + " %" if ends else "-"
        numbers = f"{figures[0]:>16}{figures[1]:>16} {UNITS[row.name]:<5}{error:>16}"
        rows.append(f"{row.name:<20}{numbers}  {words[row.holds]}".rstrip())
    return [title, head, *rows, *measured.notes]
