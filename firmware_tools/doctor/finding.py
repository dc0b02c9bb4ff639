"""What was found, and what to do about it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    level: Level
    """``warn``: it works, and will not always. ``unknown``: nobody could look."""
    what: str
    hint: str | None = None
    """What to do; None: nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding and the name of its check."""

    name: str
    finding: Finding

    def __str__(self) -> str:
        found = self.finding
        hint = f"  -> {found.hint}" if found.hint else ""
        return f"{found.level:<8}{self.name}: {found.what}{hint}"

    def to_json(self) -> dict[str, str | None]:
        """``name``, ``level``, ``what``, ``hint``."""
        return {"name": self.name, **asdict(self.finding)}


def exit_code(entries: Iterable[Entry]) -> int:
    """1 if anything fails."""
    return int(any(entry.finding.level == "fail" for entry in entries))
