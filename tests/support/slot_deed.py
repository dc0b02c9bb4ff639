"""What is done to the slots of a device, by a process that may be killed, or whose calls fail."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.journal import Journal, Said
from support.slotted_device import Device, packed
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.trust import DEVELOPMENT
from edge_probe.errors import EdgeProbeError
from firmware_tools.slots.service import Service


class NoUnits(Service):
    """Nothing is restarted: the folders are what is looked at."""

    def n_restarts(self) -> int:
        return 0

    def restart_classifier(self) -> None:
        pass


RELEASES = (6, 7, 8, 9)


def unproven(*_: object) -> None:
    """In place of the selftest: a process of its own that only reads."""


_TAKES: dict[str, Callable[[Device, Callable[[int], Path]], Any]] = {
    "first": lambda device, epb: device.install(epb(7), prove=unproven),
    "update": lambda device, epb: device.install(epb(8), prove=unproven),
    "another": lambda device, epb: device.install(epb(9), prove=unproven),
    "confirm": lambda device, epb: device.end("confirmed"),
    "refuse": lambda device, epb: device.end("refused"),
}

BEFORE = {
    "first": (),
    "update": (6, 7),
    "another": (7, 8, None),
    "confirm": (7, 8, None),
    "refuse": (7, 8, None),
}
"""Releases that were confirmed; None: the last one is on trial."""

ALLOWED: dict[str, set[int | None]] = {
    "first": {None, 7},
    "update": {7, 8},
    "another": {7, 8, 9},
    "confirm": {8},
    "refuse": {8, 7},
}
"""Releases that the device may run while this is done."""

AFTER = {
    "first": (None, None, 7),
    "update": (7, None, 8),
    "another": (7, None, 9),
    "confirm": (8, 7, None),
    "refuse": (7, None, None),
}
"""Releases afterwards: good, previous, on trial."""

DEEDS = tuple(BEFORE)


def pack_all(folder: Path) -> None:
    """The files that deeds install."""
    for release in RELEASES:
        packed(folder, release)


def begin(what: str, root: Path, epbs: Path) -> Device:
    """A device as it is before a deed."""
    device = Device(root, NoUnits())
    releases = [release for release in BEFORE[what] if release]
    for release in releases:
        device.install(epbs / f"tiny-{release}.epb", prove=unproven)
        if release != releases[-1] or None not in BEFORE[what]:
            device.end("confirmed")
    return device


def do(what: str, device: Device, epbs: Path) -> None:
    """The deed, or what is left of it."""
    is_end = what in ("confirm", "refuse")
    if is_end and device.record.trial is None:
        return
    _TAKES[what](device, lambda release: epbs / f"tiny-{release}.epb")


@dataclass(frozen=True, slots=True)
class Deed:
    """A process that does it, once it is let go."""

    what: str
    root: Path
    epbs: Path
    journal: Path

    def prepare(self) -> None:
        """Load what is loaded on first use."""
        open_bundle(GOLDEN, verify=verify.is_valid, trusted=[DEVELOPMENT])

    def live(self) -> None:
        """Do it; an error that a user may see is an end, too."""
        logging.disable()
        device = Device(self.root, NoUnits())
        journal = Journal(self.journal)
        journal.say(Said.BEGUN)
        while not journal.may_go:
            time.sleep(0.001)
        try:
            do(self.what, device, self.epbs)
        except (EdgeProbeError, OSError):
            journal.say(Said.ENDED, 1)
        else:
            journal.say(Said.ENDED, 0)


def copy(device: Device, root: Path) -> Device:
    """The same device, once more."""
    shutil.copytree(device.layout.root, root, symlinks=True)
    return Device(root, NoUnits())


def releases_of(device: Device) -> tuple[int | None, int | None, int | None]:
    """Good, previous, on trial."""
    record = device.record
    trial = record.trial.kept if record.trial else None
    good, previous, trying = (
        one.release if one else None for one in (record.good, record.previous, trial)
    )
    return good, previous, trying


def check(what: str, device: Device, epbs: Path, *, may_forget: bool = False) -> None:
    """Old or new runs; the next look brings order, and then the deed can be finished.

    Parameters
    ----------
    what : str
    device : Device
        After a deed that came to no end.
    epbs : Path
    may_forget : bool
        Bundles could not be read for a long time: they count as lost, and what was good before
        runs again.
    """
    allowed = ALLOWED[what] | {one for one in BEFORE[what] if one and may_forget}
    assert device.runs in allowed, f"it runs {device.runs}"
    device.settle()
    record = device.record
    assert device.runs in allowed, f"it runs {device.runs} once it is settled"
    assert device.runs == (record.wanted and record.wanted.release)
    left = {path.name for path in device.layout.slots.iterdir()}
    expected = {"slots.json", "lock", *(one.slot for one in record.kept)}
    assert left - {"current", "trial.lock"} == expected
    assert record.good or not BEFORE[what], "the good bundle is gone"
    do(what, device, epbs)
    good, previous, trying = releases_of(device)
    assert (good, previous, trying) == AFTER[what] or may_forget
    assert device.runs == (trying or good)
