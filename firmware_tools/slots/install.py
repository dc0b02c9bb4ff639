"""From a file that was carried to the device to a bundle on trial."""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_probe.bundle import Bundle
from edge_probe.bundle.signature import Verifier, verify_in_child
from edge_probe.bundle.transport import Offer, read_offer, unpack_bundle
from edge_probe.clock import Clock, SystemClock
from edge_probe.errors import BundleError, EdgeProbeError, StateError
from firmware_tools.layout import Layout
from firmware_tools.slots import check
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.record import MAX_REFUSED, Kept, Outcome, Record, Trial
from firmware_tools.slots.service import Service
from firmware_tools.slots.settle import device_keys, opens, settle
from firmware_tools.stage.site_files import check_labels

_log = logging.getLogger(__name__)

SPARE_BYTES = 16 << 20
"""That must be left on the disk: blocks, the record, what the recorder writes meanwhile."""

Prove = Callable[[Path, Path], None]
"""(bundle, trust store): raises `check.FailedError` if the bundle does not work here."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of it."""

    bundle: str
    """Its id."""
    release: int
    slot: str
    is_new: bool
    """False: it was there already."""
    on_trial: bool
    """It has yet to prove itself."""


class RefusedBundleError(BundleError):
    """A bundle that does not work on this device, or not with its settings."""


def install(
    source: Path,
    layout: Layout,
    service: Service | None,
    *,
    again: bool = False,
    prove: Prove = check.selftest,
    verify: Verifier = verify_in_child,
    clock: Clock | None = None,
) -> Installed:
    """Put a bundle into the idle slot, let ``current`` lead to it, and restart the classifier.

    Whatever happens on the way, ``current`` leads to the bundle that ran before or to this one.

    Parameters
    ----------
    source : Path
        ``NAME.epb``, perhaps on a medium that anybody could write to.
    layout : Layout
    service : Service or None
        None: the classifier is not running yet and will find the bundle when it begins.
    again : bool
        Try a bundle that was refused before.
    prove : callable
        Runs the selftest.
    verify : callable
        As for `open_bundle`.
    clock : Clock, optional

    Raises
    ------
    RejectedBundleError
        It is not a bundle that this device accepts.
    RefusedBundleError
        It failed its selftest, now or before, or a trial before; or it lacks a class that the
        settings of the device name.
    StateError
        There is no room, somebody else installs, or the slots are not ours.
    EdgeProbeError
        There is no trust store, or systemd does not answer: the next trial goes on then.
    OSError
        The disk fails.
    """
    keys = device_keys(layout)
    if service:
        service.require()
    folder = SlotFolder(layout.slots)
    folder.prepare()
    with folder.change():
        record = settle(layout, folder, keys, service, verify)
        offer = read_offer(source, verify=verify, trusted=keys)

        def lies_in(kept: Kept | None) -> bool:
            """Whether it is this bundle, whole: one that the card damaged is installed anew."""
            if kept is None or kept.sha256 != offer.sha256:
                return False
            return opens(folder, keys, verify, kept)

        if record.trial and not lies_in(record.wanted) and lies_in(record.good):
            folder.write(_without_trial(record, offer))
            record = settle(layout, folder, keys, service, verify)
        wanted = record.wanted
        if wanted and lies_in(wanted):
            on_trial = record.trial is not None
            return Installed(wanted.bundle, wanted.release, wanted.slot, False, on_trial)
        if not again:
            _refuse_again(record, offer)
        _require_room(folder.path, offer)
        try:
            bundle = unpack_bundle(source, folder.incoming, verify=verify, trusted=keys)
            _require_same(offer, bundle)
            _require_labels(layout.settings, bundle)
            _require_proof(folder, record, bundle, lambda: prove(folder.incoming, layout.trust))
            kept = _switch(folder, record, bundle, (clock or SystemClock()).boot())
        finally:
            shutil.rmtree(folder.incoming, ignore_errors=True)
        if service:
            service.restart_classifier()
    return Installed(kept.bundle, kept.release, kept.slot, True, True)


def refuse(record: Record, what: Bundle | Kept, reason: str) -> Record:
    """Remember why a bundle is not to be tried again."""
    outcome = Outcome.of(what, "refused", reason)
    others = [one for one in record.refused if one.sha256 != outcome.sha256]
    return replace(record, refused=(*others, outcome)[-MAX_REFUSED:], last=outcome)


def _without_trial(record: Record, offer: Offer) -> Record:
    """What is good was asked for: that ends a trial."""
    assert record.trial is not None  # noqa: S101
    reason = f"{offer.id} was installed again before there was a result"
    outcome = Outcome.of(record.trial.kept, "unproven", reason)
    return replace(record, trial=None, last=outcome)


def _require_proof(
    folder: SlotFolder, record: Record, bundle: Bundle, prove: Callable[[], None]
) -> None:
    try:
        prove()
    except check.FailedError as error:
        folder.write(refuse(record, bundle, error.reason))
        raise RefusedBundleError(
            f"{bundle.id}: does not work on this device: {error.reason}",
            hint="the device is as it was; this bundle is remembered as refused",
        ) from error


def _switch(folder: SlotFolder, record: Record, bundle: Bundle, boot: str) -> Kept:
    """Each step leaves what `settle` understands."""
    slot = record.idle
    trial, good = record.trial, record.good
    if trial and good and trial.kept.slot == slot:
        record = replace(record, trial=None)
        folder.write(record)
        folder.point(good.slot)
    folder.fill(slot)
    kept = Kept.of(bundle, slot)
    refused = tuple(one for one in record.refused if one.sha256 != kept.sha256)
    folder.write(replace(record, previous=None, trial=Trial(kept, (boot,)), refused=refused))
    folder.point(slot)
    return kept


def _require_labels(settings: Path, bundle: Bundle) -> None:
    """Not remembered: settings change."""
    if not settings.exists():
        return
    try:
        check_labels(settings, [label.text for label in bundle.labels])
    except EdgeProbeError as error:
        raise RefusedBundleError(
            f"{bundle.id}: does not go with the settings of this device: {error.message}",
            hint=error.hint,
        ) from error


def _refuse_again(record: Record, offer: Offer) -> None:
    if outcome := record.refusal(offer):
        raise RefusedBundleError(
            f"{outcome.bundle}: was refused before: {outcome.reason}",
            hint="sign another one, or try it once more: edge-firmware install --again",
        )


def _require_same(offer: Offer, bundle: Bundle) -> None:
    if bundle.sha256 != offer.sha256:
        raise BundleError(
            f"{bundle.id}: expected {offer.id}: the file changed while it was read",
            hint="copy it to where nobody writes to it",
        )


def _require_room(folder: Path, offer: Offer) -> None:
    """Nothing makes room for a bundle: what is good stays, audio is worth more."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    needed_bytes = offer.n_bytes + SPARE_BYTES
    if free_bytes < needed_bytes:
        raise StateError(
            f"{folder}: {offer.id} needs {needed_bytes / 2**20:.0f} MiB,"
            f" free are {free_bytes / 2**20:.0f}",
            hint="make room there: old recordings take most of it",
        )
