"""Figures with a unit, a span and a tag that says where they come from; sheets of them as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edge_probe.errors import EdgeProbeError

Tag = Literal["measured-here", "measured-in-vm", "computed", "extrapolated", "reported"]

Kind = Literal["estimate", "measured"]

ROWS = {
    "flash_runtime": "MiB",
    "flash_bundle": "MiB",
    "memory_recorder": "MiB",
    "memory_classifier": "MiB",
    "memory_helpers": "MiB",
    "memory_files": "MiB",
    "memory_ours": "MiB",
    "memory_system": "MiB",
    "chunk_one_core": "s",
    "chunk_all_cores": "s",
    "real_time_factor": "1",
    "written_a_day": "GB",
    "card_full_after": "days",
}
"""Every row that an estimate and a measurement share, and its unit; the README says what it is."""

UNITS = ROWS | {"chunk_one_core_p95": "s"}
"""The 95th percentile is measured only."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row."""

    name: str
    low: float
    high: float
    tag: Tag
    basis: str
    """What it was computed from, or how it was measured."""

    def __post_init__(self) -> None:
        if self.name not in UNITS or self.tag not in get_args(Tag):
            raise ValueError(f"no such row or tag: {self.name}, {self.tag}")
        if not 0 <= self.low <= self.high < math.inf:
            raise ValueError(
                f"{self.name}: expected 0 <= low <= high, found {self.low}..{self.high}"
            )

    @property
    def unit(self) -> str:
        """Of both ends."""
        return UNITS[self.name]

    @property
    def middle(self) -> float:
        """Of the span."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Sheet:
    """All figures of a bundle on a board."""

    kind: Kind
    bundle: str
    """Its id."""
    where: str
    """Profile that was asked for, or the machine that was measured."""
    figures: Mapping[str, Figure]
    """By name, in the order of `ROWS`."""
    notes: Sequence[str] = ()
    """What a reader must know; one line each."""

    @classmethod
    def of(
        cls, kind: Kind, bundle: str, where: str, figures: Sequence[Figure], notes: Sequence[str]
    ) -> "Sheet":
        """Put the figures in order."""
        order = list(UNITS)
        ordered = sorted(figures, key=lambda figure: order.index(figure.name))
        return cls(kind, bundle, where, {figure.name: figure for figure in ordered}, tuple(notes))

    def to_json(self) -> dict[str, Any]:
        """As `read_sheet` takes it."""
        return {
            "kind": self.kind,
            "bundle": self.bundle,
            "where": self.where,
            "figures": [asdict(figure) | {"unit": figure.unit} for figure in self.figures.values()],
            "notes": list(self.notes),
        }


def read_sheet(path: Path, kind: Kind) -> Sheet:
    """A sheet as ``--json`` wrote it.

    Raises
    ------
    EdgeProbeError
        It is none, or one of the other kind.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        found = value["kind"]
        figures = [_figure(entry) for entry in value["figures"]]
        sheet = Sheet.of(found, value["bundle"], value["where"], figures, value["notes"])
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeProbeError(
            f"{path}: expected figures as JSON, found something else ({error})",
            hint="edge-firmware estimate --json, or edge-probe bench --json, write them",
        ) from error
    if found != kind:
        raise EdgeProbeError(
            f"{path}: expected figures of kind {kind!r}, found {found!r}",
            hint="edge-firmware compare ESTIMATE.json MEASURED.json",
        )
    return sheet


def _figure(entry: dict[str, Any]) -> Figure:
    figure = Figure(**{key: value for key, value in entry.items() if key != "unit"})
    if figure.unit != entry["unit"]:
        raise ValueError(f"{figure.name} is in {figure.unit}, not {entry['unit']}")
    return figure


def span(figure: Figure) -> str:
    """Both ends with three digits, or the one there is."""
    ends = dict.fromkeys(f"{end:.3g}" for end in (figure.low, figure.high))
    return "..".join(ends)


def lines(sheet: Sheet) -> list[str]:
    """For people."""
    title = f"{sheet.kind} of {sheet.bundle} on {sheet.where}"
    rows = [
        f"{figure.name:<20}{span(figure):>16} {figure.unit:<5} {figure.tag}; {figure.basis}"
        for figure in sheet.figures.values()
    ]
    return [title, *rows, *sheet.notes]
