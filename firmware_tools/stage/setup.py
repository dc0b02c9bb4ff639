"""What a device does with the files that were put there from outside, at every boot.

A file is looked at once: when it is new in its folder, or another than the last time. A good one is
taken over; a bad one changes nothing, and a text file beside it says why. Nothing here keeps a
recorder from starting, and whatever is cut off is done again at the next boot.
"""

import filecmp
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import firmware_tools
from edge_probe.bundle import open_bundle
from edge_probe.bundle.publish import publish_file
from edge_probe.bundle.signature import Verifier, verify_in_child
from edge_probe.bundle.transport import read_offer
from edge_probe.bundle.trust import TrustedKey, read_store
from edge_probe.errors import DeploymentError, EdgeProbeError
from firmware_tools.fstab import mount_points
from firmware_tools.layout import Layout
from firmware_tools.slots import check
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.install import Prove
from firmware_tools.slots.record import Record
from firmware_tools.slots.settle import settle
from firmware_tools.slots.spare import install_newest
from firmware_tools.stage.site import (
    MAX_BYTES,
    SETTINGS,
    SPECIES,
    SUFFIX,
    TRUST,
    Site,
    damaged_store,
    look,
    remember,
    tell,
)
from firmware_tools.stage.site_files import check_deployment, check_settings, check_species

_log = logging.getLogger(__name__)

DEFAULTS = Path(firmware_tools.__file__).parent / "units" / SETTINGS
"""For a device that was given no settings."""

SELFTEST_S = 180.0
"""The recorder waits meanwhile, and the unit ends setup after 5 min: what hangs is to be refused
before, or it would be tried at every boot."""

_SELFTEST = partial(check.selftest, timeout_s=SELFTEST_S)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file."""

    path: Path
    is_good: bool
    text: str

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.path.name}: {'' if self.is_good else 'NOT TAKEN OVER: '}{self.text}"


def setup(
    layout: Layout, *, prove: Prove = _SELFTEST, verify: Verifier = verify_in_child
) -> list[Outcome]:
    """Take over what is new and good.

    Parameters
    ----------
    layout : Layout
    prove, verify : callable
        As for `slots.install`.

    Returns
    -------
    list of Outcome
        Of what was new; empty: nothing was.

    Raises
    ------
    OSError
        The file system of the configuration fails; what was there before is still there.
    """
    step = _Setup(layout, look(layout), prove, verify)
    try:
        outcomes = list(step.run())
    finally:
        if not layout.settings.exists():  # without, nothing would be recorded
            publish_file(layout.settings, DEFAULTS.read_bytes())
    for outcome in outcomes:
        level = logging.INFO if outcome.is_good else logging.ERROR
        _log.log(level, "%s: %s", outcome.path.parent, outcome.line)
    for folder in layout.site_folders:
        tell(folder, [one.line for one in outcomes if one.path.parent == folder])
    signs = {path: sign for path, sign in step.site.signs.items() if path not in step.waiting}
    if not signs.items() <= step.site.seen.items():  # last: what was cut off is done again
        remember(layout, {**step.site.seen, **signs})
    return outcomes


class _Setup:
    def __init__(self, layout: Layout, site: Site, prove: Prove, verify: Verifier) -> None:
        self.site = site
        self.waiting: set[Path] = set()
        """Files to be looked at again the next time."""
        self._layout, self._prove, self._verify = layout, prove, verify

    def run(self) -> Iterator[Outcome]:
        """In the order in which one may need the other."""
        layout = self._layout
        yield from self._trust()
        yield from self._bundle()
        yield from self._adopt(layout.deployment, self._check_deployment)
        yield from self._adopt(layout.config / SPECIES, self._check_species)
        yield from self._adopt(layout.settings, self._check_settings)

    def _trust(self) -> Iterator[Outcome]:
        """Whom a device trusts is not for everybody to say who can write to its card."""
        trust = self._layout.trust
        given, damaged = self.site.all(TRUST), damaged_store(trust)
        if damaged is not None:
            _log.error("%s: is damaged, and nothing is trusted until there is another", trust)
            if given:
                publish_file(trust.with_name(f"{TRUST}.damaged"), damaged)
        # Perhaps the card lost it: what was looked at before counts again.
        if damaged is not None or not os.path.lexists(trust):
            yield from self._adopt(trust, read_store, given)
            return
        for path in self.site.news(TRUST):
            try:
                is_same = filecmp.cmp(path, trust, shallow=False)
            except OSError as error:
                yield _refused(path, error)
                continue
            if not is_same:
                yield Outcome(path, False, "this device has a trust store, which only its"
                              f" administrator replaces: {trust}")  # fmt: skip

    def _adopt(
        self, target: Path, check_: Callable[[Path], object], paths: Sequence[Path] | None = None
    ) -> Iterator[Outcome]:
        """The first good one of the folders takes the target's place; by default, of the new."""
        winner: Path | None = None
        for path in self.site.news(target.name) if paths is None else paths:
            if winner is not None:
                yield Outcome(path, True, f"left, for that in {winner.parent}")
                continue
            try:
                _check_size(path)
                check_(path)
                data = path.read_bytes()
            except _NotYetError:
                self.waiting.add(path)
                continue
            except (EdgeProbeError, OSError) as error:
                yield _refused(path, error)
                continue
            if not target.is_file() or target.read_bytes() != data:
                publish_file(target, data)
            winner = path
            yield Outcome(path, True, "taken over")

    def _check_deployment(self, path: Path) -> None:
        state = self._layout.state
        if _is_hidden(self._layout):
            self.waiting.add(path)
            raise DeploymentError(
                f"{state}: its partition is not mounted, and with it the recordings that this"
                " deployment might not fit",
                hint="it is looked at again at the next boot",
            )
        check_deployment(path, state)

    def _check_species(self, path: Path) -> None:
        if self._labels is None:
            raise _NotYetError
        check_species(path, self._labels)

    def _check_settings(self, path: Path) -> None:
        options = check_settings(path, self._labels)
        waits = any(one.name == SPECIES for one in self.waiting)
        if options.species is None or waits or (self._layout.config / SPECIES).is_file():
            return
        self.waiting.add(path)
        raise DeploymentError(
            f"{path}: species: there is no good {SPECIES}, and nothing would be classified",
            hint="put one beside the settings, or leave the line out",
        )

    def _bundle(self) -> Iterator[Outcome]:
        """The newest that is acceptable, for a device that has none."""
        if (record := self._record()) is not None:
            for path in self.site.news(SUFFIX):
                yield self._too_late(path, record)
            return
        for path, done in install_newest(
            self.site.all(SUFFIX), self._layout, None, prove=self._prove, verify=self._verify
        ):
            if isinstance(done, Exception):
                yield _refused(path, done)
            else:
                yield Outcome(path, True, f"{done.bundle}, release {done.release}, installed")

    def _record(self) -> Record | None:
        """Of a device that has a bundle; an installation that was cut off is brought to its end.

        A bundle that the card lost is none: a copy of it that lies here is installed again.
        """
        folder = SlotFolder(self._layout.slots)
        record = folder.read()
        manifest = self._layout.slots / "current" / "manifest.json"
        if manifest.exists():
            return record or Record()
        if record is None or record.wanted is None:
            return None
        try:
            with folder.change():
                record = settle(self._layout, folder, self._keys(), None, self._verify)
        except (EdgeProbeError, OSError) as error:
            _log.error("%s: %s", folder.path, error)
            return record
        return record if manifest.exists() else None

    def _too_late(self, path: Path, record: Record) -> Outcome:
        try:
            offer = read_offer(path, verify=self._verify, trusted=self._keys())
        except EdgeProbeError as error:
            return _refused(path, error)
        if offer.sha256 in [one.sha256 for one in record.kept]:
            return Outcome(path, True, f"{offer.id} is installed")
        return Outcome(path, False, "this device has a bundle; another one is installed from a"
                       " stick, or by edge-firmware install")  # fmt: skip

    def _keys(self) -> tuple[TrustedKey, ...]:
        return read_store(self._layout.trust)

    @cached_property
    def _labels(self) -> tuple[str, ...] | None:
        """Of the bundle in use; None: there is none that can be used."""
        try:
            current = (self._layout.slots / "current").resolve()
            bundle = open_bundle(current, verify=self._verify, trusted=self._keys())
        except (EdgeProbeError, OSError):
            return None
        return tuple(label.text for label in bundle.labels)


class _NotYetError(Exception):
    """Nothing can be said before there is a bundle."""


def _is_hidden(layout: Layout) -> bool:
    """Whether /etc/fstab wants a file system where the recordings lie, and there is none."""
    try:
        table = (layout.root / "etc/fstab").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    # Not so for the bind mount that the unit's ReadWritePaths= makes: it is the same device.
    return str(layout.state) in mount_points(table) and not os.path.ismount(layout.state)


def _check_size(path: Path) -> None:
    size_bytes = path.stat().st_size
    if size_bytes > MAX_BYTES:
        raise EdgeProbeError(f"expected at most {MAX_BYTES} bytes, found {size_bytes}")


def _refused(path: Path, error: Exception) -> Outcome:
    hint = getattr(error, "hint", None)
    return Outcome(path, False, f"{error}; {hint}" if hint else str(error))
