"""Order, whatever an installer that was killed, a power cut or a worn card have left."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import sleep

from edge_probe.bundle import RejectedBundleError, Rejection, open_bundle
from edge_probe.bundle.signature import Verifier, verify_in_child
from edge_probe.bundle.trust import TrustedKey, raise_minimum, read_store
from edge_probe.errors import EdgeProbeError
from firmware_tools.layout import Layout
from firmware_tools.slots.evidence import on_duty
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.record import SLOTS, Kept, Outcome, Record, Trial
from firmware_tools.slots.service import Service

_log = logging.getLogger(__name__)

_N_READS, _READ_AGAIN_S = 3, 0.3
"""A card that fails once has not lost a bundle."""


def device_keys(layout: Layout) -> tuple[TrustedKey, ...]:
    """The keys whose bundles this device accepts; the development key is never one of them.

    Raises
    ------
    EdgeProbeError
        It has no trust store.
    RejectedBundleError
        The store cannot be read.
    """
    if not layout.trust.exists():
        raise EdgeProbeError(
            f"{layout.trust}: this device has no trust store, so it accepts no bundle",
            hint="edge-firmware trust PRIMARY.pub BACKUP.pub trust.json makes one",
        )
    return read_store(layout.trust)


def settle(
    layout: Layout,
    folder: SlotFolder,
    keys: Sequence[TrustedKey],
    service: Service | None,
    verify: Verifier = verify_in_child,
) -> Record:
    """Let ``current``, the slots and the classifier be as the record says; finish what was begun.

    Parameters
    ----------
    layout : Layout
    folder : SlotFolder
        Which nobody else changes meanwhile.
    keys : sequence of TrustedKey
        Of this device.
    service : Service or None
        None: the classifier is not running yet.
    verify : callable
        As for `open_bundle`.

    Returns
    -------
    Record
        As it is now.

    Raises
    ------
    OSError
        The disk fails.
    """
    before = folder.read()
    look = partial(opens, folder, keys, verify)
    record = _mended(before, look) if before else _from_slots(folder, keys, verify)
    if record != before:
        folder.write(record)
    wanted = record.wanted
    slot, sha256 = (wanted.slot, wanted.sha256) if wanted else (None, None)
    if folder.current() != slot:
        folder.point(slot)
    folder.sweep(record)
    _raise_minimum(layout, record)
    if service and on_duty(layout.state) != sha256:
        service.restart_classifier()
    return record


def opens(folder: SlotFolder, keys: Sequence[TrustedKey], verify: Verifier, kept: Kept) -> bool:
    """Whether a bundle still lies in its slot as it was signed.

    Parameters
    ----------
    folder, keys, verify
        As for `settle`.
    kept : Kept

    Raises
    ------
    RejectedBundleError
        Its signature could not be checked.
    """
    return _found(folder, kept.slot, keys, verify) == kept


def _mended(record: Record, opens: Callable[[Kept], bool]) -> Record:
    """What of a record is still true."""
    if record.trial and not opens(record.trial.kept):
        reason = "it cannot be read any more as it was signed"
        _log.error("%s: %s", record.trial.kept.bundle, reason)
        lost = Outcome.of(record.trial.kept, "unproven", reason)
        record = replace(record, trial=None, last=lost)
    if record.previous and not opens(record.previous):
        record = replace(record, previous=None)
    if record.good and record.previous and not opens(record.good):
        _log.error("%s: is damaged: back to %s", record.good.bundle, record.previous.bundle)
        record = replace(record, good=record.previous, previous=None)
    return record


def _from_slots(folder: SlotFolder, keys: Sequence[TrustedKey], verify: Verifier) -> Record:
    """A record made of what lies there.

    Where there are two, nobody knows any more whether the one in use was on trial: then it is.
    """
    found = [kept for slot in SLOTS if (kept := _found(folder, slot, keys, verify))]
    found.sort(key=lambda kept: kept.slot == folder.current())
    match found:
        case [other, one] if one.slot == folder.current():
            return Record(good=other, trial=Trial(one, ()))
        case [*_, one]:
            return Record(good=one)
    return Record()


def _found(
    folder: SlotFolder, slot: str, keys: Sequence[TrustedKey], verify: Verifier
) -> Kept | None:
    """The bundle in a slot; None: there is none that this device accepts.

    Raises
    ------
    RejectedBundleError
        Its signature could not be checked: that is not the bundle's fault.
    """
    path = folder.path / slot
    if path.is_symlink() or not path.is_dir():
        return None
    for again in reversed(range(_N_READS)):
        try:
            return Kept.of(open_bundle(path, verify=verify, trusted=keys), slot)
        except RejectedBundleError as error:
            _log.warning("%s", error.message)
            if error.reason is Rejection.SIGNATURE_CHECK:
                raise
            if error.reason is not Rejection.FILE_UNREADABLE or not again:
                return None
        sleep(_READ_AGAIN_S)
    return None


def _raise_minimum(layout: Layout, record: Record) -> None:
    """Refuse from now on what is older than every bundle that a key signed and that is kept.

    A trial alone raises nothing: it may fail.
    """
    proven = {one.key for one in (record.good, record.previous) if one}
    for key in read_store(layout.trust):
        releases = [one.release for one in record.kept if one.key == key.id]
        if key.id in proven and min(releases) > key.min_release:
            try:
                raise_minimum(layout.trust, key, min(releases))
            except OSError as error:  # it will be tried again, and the bundle is good all the same
                _log.error("%s: cannot be written: %s", layout.trust, error)
                return
            _log.info("from now on the %s counts from release %d", key.description, min(releases))
