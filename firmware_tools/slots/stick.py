"""A USB stick: the newest bundle on it that this device may have is installed.

A stick may hold anything, be damaged, change while it is read, or be pulled out.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_probe.bundle.transport import SUFFIX, Offer, read_offer
from edge_probe.bundle.trust import TrustedKey
from edge_probe.bundle.verify import is_valid
from edge_probe.errors import BundleError, EdgeProbeError
from firmware_tools.layout import Layout
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.install import install
from firmware_tools.slots.record import Record
from firmware_tools.slots.service import Service
from firmware_tools.slots.settle import device_keys, opens

_log = logging.getLogger(__name__)

MAX_FILES = 256
"""Bundles that are looked at, first names first; reading the head of one costs 1 MiB at most."""

MAX_ENTRIES = 100_000
"""Names that are listed."""

MAX_ATTEMPTS = 4
"""Bundles that are read as a whole: copies of one may be damaged, and a good one among them."""

_MAX_LINE = 400

INSTALLED, IN_USE, ON_TRIAL = "installed", "in use", "on trial"
OLDER, REFUSED, FAILED, NOT_READ = "not newer", "refused", "failed", "not looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one file."""

    name: str
    """Printable."""
    result: str
    reason: str = ""
    bundle: str | None = None
    release: int | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    path: Path
    offer: Offer


def serve(stick: Path, layout: Layout, service: Service, **options: Any) -> Sequence[Finding]:
    """Install the newest bundle of a stick that is newer than the one in use.

    Parameters
    ----------
    stick : Path
        Folder at which it is mounted; nothing is written to it.
    layout : Layout
    service : Service
    **options
        Of `install`.

    Returns
    -------
    sequence of Finding
        One for each bundle, in the order of names.

    Raises
    ------
    EdgeProbeError
        There is no trust store, or the stick cannot be read.
    """
    keys = device_keys(layout)
    record = _record(layout)
    findings: list[Finding] = []
    candidates: list[_Candidate] = []
    names = _names(stick)
    for name in names[:MAX_FILES]:
        found = _look(stick / name, keys, record, layout)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            candidates.append(found)
    if more := len(names) - MAX_FILES if len(names) > MAX_FILES else 0:
        reason = f"a stick may hold {MAX_FILES} bundles"
        findings.append(Finding(f"{more} more", NOT_READ, reason))
    candidates.sort(key=lambda one: -one.offer.manifest.release)
    findings += _install_one(candidates, layout, service, options)
    return sorted(findings, key=lambda one: one.name)


def _names(stick: Path) -> list[str]:
    """Of files at its top that are bundles by their names; macOS puts ``._NAME`` beside each."""
    names = []
    try:
        with os.scandir(stick) as entries:
            for n_seen, entry in enumerate(entries):
                if n_seen == MAX_ENTRIES:
                    _log.warning("%s: more than %d names: the rest is left", stick, MAX_ENTRIES)
                    break
                is_bundle = entry.name.lower().endswith(SUFFIX) and entry.name[0] != "."
                if is_bundle and entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
    except OSError as error:
        raise EdgeProbeError(
            f"{stick}: cannot be read: {error.strerror or error}", hint="is a stick mounted there?"
        ) from error
    return sorted(names)


def _record(layout: Layout) -> Record:
    """What is known before anything is installed."""
    return (layout.slots.is_dir() and SlotFolder(layout.slots).read()) or Record()


def _look(
    path: Path, keys: Sequence[TrustedKey], record: Record, layout: Layout
) -> Finding | _Candidate:
    """A bundle to install, or why it is not."""
    name = _line(path.name)
    try:
        offer = read_offer(path, verify=is_valid, trusted=keys)
    except BundleError as error:
        return Finding(name, REFUSED, _line(error.message))
    told = offer.id, offer.manifest.release
    wanted = record.wanted
    if wanted and wanted.sha256 == offer.sha256:
        if not opens(SlotFolder(layout.slots), keys, is_valid, wanted):
            return _Candidate(name, path, offer)
        return Finding(name, ON_TRIAL if record.trial else IN_USE, "", *told)
    if outcome := record.refusal(offer):
        return Finding(name, REFUSED, outcome.reason, *told)
    if wanted and offer.manifest.release <= wanted.release:
        return Finding(name, OLDER, f"release {wanted.release} is in use", *told)
    return _Candidate(name, path, offer)


def _install_one(
    candidates: Sequence[_Candidate], layout: Layout, service: Service, options: dict[str, Any]
) -> Iterator[Finding]:
    """The first that can be; the device's own troubles end it."""
    n_tried, done = 0, ""
    for one in candidates:
        told = one.offer.id, one.offer.manifest.release
        if done or n_tried == MAX_ATTEMPTS:
            yield Finding(one.name, NOT_READ, done or f"{n_tried} others were no good", *told)
            continue
        n_tried += 1
        try:
            install(one.path, layout, service, **options)
        except BundleError as error:
            why = _line(error.message)
            _log.warning("%s: %s", one.name, why)
            yield Finding(one.name, REFUSED, why, *told)
        except (EdgeProbeError, OSError) as error:
            done = "the device is in trouble"
            why = _line(str(error))
            _log.error("%s: %s", one.name, why)
            yield Finding(one.name, FAILED, why, *told)
        else:
            done = f"{one.offer.id} was installed"
            yield Finding(one.name, INSTALLED, "on trial from now on", *told)


def _line(text: str) -> str:
    """What a hostile name may be part of, fit for a terminal, a log and JSON."""
    plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return plain if len(plain) <= _MAX_LINE else plain[:_MAX_LINE] + "..."
