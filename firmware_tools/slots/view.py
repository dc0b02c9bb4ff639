"""What the slots hold, for people and programs; only read, by anybody."""

from dataclasses import asdict, dataclass
from typing import Any

from edge_probe.clock import SystemClock
from edge_probe.errors import StateError
from firmware_tools.layout import Layout
from firmware_tools.slots import evidence
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.record import Kept, Record


@dataclass(frozen=True, slots=True)
class View:
    """The record, and what is going on."""

    record: Record
    current: str | None
    """The slot that ``current`` leads to."""
    recorded_s: float | None
    """By the recorder, since it began; None: it says nothing."""
    classified_s: float
    """By the bundle that is wanted, since it is on duty."""


def look(layout: Layout) -> View:
    """See what is there.

    Raises
    ------
    StateError
        There are no slots, or their record cannot be read.
    """
    folder = SlotFolder(layout.slots)
    if not layout.slots.is_dir():
        raise StateError(f"{layout.slots}: no such folder", hint="no bundle was installed here yet")
    record = folder.read()
    if record is None:
        raise StateError(
            f"{layout.slots}: what is there is not recorded",
            hint="edge-firmware trial looks at it and makes a record",
        )
    wanted = record.wanted
    heard = evidence.heard(layout.state, wanted.sha256) if wanted else evidence.Heard()
    recorded_s = evidence.recorded_s(layout.state, SystemClock())
    return View(record, folder.current(), recorded_s, heard.classified_s)


def as_json(view: View) -> dict[str, Any]:
    """For programs."""
    return asdict(view)


def lines(view: View) -> list[str]:
    """For people."""
    record = view.record
    rows = [f"in use    {_name(record.wanted)}"]
    if record.trial:
        recorded = "nothing known" if view.recorded_s is None else f"{view.recorded_s:.0f} s"
        rows.append(
            f"on trial  {_name(record.trial.kept)}: recorded {recorded},"
            f" classified {view.classified_s:.0f} s, boots {len(record.trial.boots)}"
        )
        rows.append(f"good      {_name(record.good)}")
    if record.previous:
        rows.append(f"before    {_name(record.previous)}")
    if last := record.last:
        rows.append(
            f"last      {last.bundle}, release {last.release}: {last.result}: {last.reason}"
        )
    rows += [
        f"refused   {one.bundle}, release {one.release}: {one.reason}" for one in record.refused
    ]
    if view.current != (record.wanted and record.wanted.slot):
        rows.append("NOTE      current leads elsewhere: edge-firmware trial brings order")
    return rows


def _name(kept: Kept | None) -> str:
    return f"{kept.bundle}, release {kept.release}, slot {kept.slot}" if kept else "none"
