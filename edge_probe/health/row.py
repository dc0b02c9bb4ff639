"""One reading of health, and an alarm: a reading that somebody should act upon."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table ``health`` (names and units stand in `SCHEMA.md`).

    Raises
    ------
    ValueError
        The value is not finite: no database could hold it, and no reader could use it.
    """

    monotonic_ns: int
    name: str
    value: float
    unit: str
    text: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name}: {self.value} is not finite")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something is wrong; it is told again every minute while it lasts."""

    name: str
    text: str
    """What was expected and what was found."""
    hint: str
    """What to do about it."""

    def row(self, monotonic_ns: int) -> Row:
        """As a line of the table."""
        return Row(monotonic_ns, f"alarm.{self.name}", 1, "1", f"{self.text}; {self.hint}")
