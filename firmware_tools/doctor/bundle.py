"""What this device trusts, and what it runs."""

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.doctor.opener import Opened
from firmware_tools.doctor.program import (
    Attempt,
    Part,
    judge_part,
    last_line,
    need_memory,
    need_numpy,
    run_python,
)

if TYPE_CHECKING:
    from edge_probe.bundle.trust import TrustedKey

CLASSIFIER_UNIT = "edge-probe-classifier.service"
MAX_RECORD_BYTES = 2**18


@dataclass(frozen=True, slots=True)
class TrustFacts:
    """The trust store."""

    place: str
    keys: "Sequence[TrustedKey] | None"
    """None: there is no store."""
    refused: tuple[str, str | None] | None
    """Why it is believed in nothing, and what to do."""
    owner: int
    mode: int
    is_staged: bool
    """Whether the units are installed, which insist on a store."""


def look_trust(host: Host) -> TrustFacts:
    """Read the store as whoever opens a bundle does."""
    store, place = host.layout.trust, f"/{host.layout.trust.relative_to(host.layout.root)}"
    is_staged = (host.layout.units / CLASSIFIER_UNIT).exists()
    if not os.path.lexists(store):
        return TrustFacts(place, None, None, 0, 0, is_staged)
    need_numpy(host)
    from edge_probe.bundle.reject import RejectedBundleError
    from edge_probe.bundle.trust import read_store

    found = store.stat() if store.exists() else store.lstat()
    try:
        keys, refused = read_store(store), None
    except RejectedBundleError as error:
        keys, refused = (), (error.message, error.hint)
    return TrustFacts(place, keys, refused, found.st_uid, stat.S_IMODE(found.st_mode), is_staged)


def judge_trust(facts: TrustFacts) -> Finding:
    """Without a store a device believes what anybody signed."""
    write = "edge-firmware trust PRIMARY.pub BACKUP.pub trust.json; copy it there"
    if facts.keys is None and facts.is_staged:
        return Finding("fail", f"no {facts.place}: the classifier does not start", write)
    if facts.keys is None:
        return Finding("warn", f"no {facts.place}: not staged, it takes what the development key"
                       " signed, and everybody has that key", write)  # fmt: skip
    if facts.refused:
        return Finding("fail", f"{facts.refused[0]}: nothing is trusted", facts.refused[1])
    what = "; ".join(f"{key.description} from release {key.min_release}" for key in facts.keys)
    if facts.owner != 0 or facts.mode & 0o022:
        return Finding("fail", f"{what}; others than root may change it (user {facts.owner}, mode"
                       f" {facts.mode:o})", f"sudo chown root: {facts.place};"
                       f" sudo chmod 644 {facts.place}")  # fmt: skip
    if not facts.mode & 0o004:
        return Finding("fail", f"{what}; the classifier may not read it (mode {facts.mode:o})",
                       f"sudo chmod 644 {facts.place}")  # fmt: skip
    return Finding("ok", what)


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """The bundle in use."""

    slot: str | None
    """Where ``current`` leads; None: there is no such link."""
    is_there: bool
    opened: Opened | None
    refused: tuple[str, str | None] | None
    died: Attempt | None
    """How the process ended that should have opened it."""


def look_bundle(host: Host) -> BundleFacts:
    """Open it by the rules of ``FORMAT.md``, in a process of its own."""
    current = host.layout.slots / "current"
    if not current.exists():
        slot = str(current.readlink()) if current.is_symlink() else None
        return BundleFacts(slot, False, None, None, None)
    slot = current.resolve().name
    need_numpy(host)
    need_memory(host, _OPENING.needs_mib)
    code, output, complaint = run_python(_OPENING.code, str(current), str(host.layout.trust))
    try:
        answer = json.loads(output) if code == 0 else None
    except ValueError:
        answer = None
    if answer is None:
        died = Attempt(_OPENING, 1 if code == 0 else code, last_line(complaint))
        return BundleFacts(slot, True, None, None, died)
    if "error" in answer:
        return BundleFacts(slot, True, None, (answer["error"], answer["hint"]), None)
    opened = Opened(**answer | {"warnings": tuple(answer["warnings"])})
    return BundleFacts(slot, True, opened, None, None)


_OPENING = Part(
    "bundle", "from firmware_tools.doctor.opener import main; main()", 60,
    "nothing is classified",
    "edge-probe info BUNDLE shows the same; look at numpy and memory",
)  # fmt: skip


def judge_bundle(facts: BundleFacts) -> Finding:
    """Which one it is, and whose word stands for it."""
    install = "edge-firmware install NAME.epb"
    if facts.slot is None:
        return Finding("warn", "none is installed: it records and classifies nothing", install)
    if not facts.is_there:
        return Finding("fail", f"slots/current leads to {facts.slot}, which is not there", install)
    if facts.died:
        return judge_part(facts.died)
    if facts.refused:
        return Finding("fail", f"refused: {facts.refused[0]}", facts.refused[1] or install)
    if facts.opened is None:
        raise UnreadableError("nobody opened it")
    one = facts.opened
    release = f"release {one.release}" if one.release else "no release"
    what = f"{one.id}, {release}, signed by the {one.signed_by}, in slot {facts.slot}"
    if one.warnings:
        return Finding("warn", f"{what}; {'; '.join(one.warnings)}", "edge-probe info BUNDLE")
    return Finding("ok", what)


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """Of the record of the slots, how the newest bundle fares."""

    on_trial: str | None
    """Id of a bundle that has yet to prove itself."""
    n_boots: int
    """That have tried it."""
    last: tuple[str, str, str] | None
    """The bundle of the trial before, how it ended, and why."""


def look_trial(host: Host) -> TrialFacts:
    """Read ``slots.json``.

    Raises
    ------
    UnreadableError
        It is no record of slots.
    """
    path = host.layout.slots / "slots.json"
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_RECORD_BYTES))
        if found["format"] != "edge-probe slots":
            raise ValueError("another format")
        trial, last = found["trial"], found["last"]
        return TrialFacts(
            str(trial["kept"]["bundle"]) if trial else None, len(trial["boots"]) if trial else 0,
            last and (str(last["bundle"]), str(last["result"]), str(last["reason"])),
        )  # fmt: skip
    except FileNotFoundError:
        return TrialFacts(None, 0, None)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableError(f"{path}: damaged: {error!r}", hint="edge-firmware slots") from error


def judge_trial(facts: TrialFacts) -> Finding:
    """What was proven, and what has yet to be."""
    if facts.on_trial:
        return Finding("warn", f"{facts.on_trial} is on trial, tried in {facts.n_boots} boots",
                       "leave it running; edge-firmware slots says how it ended")  # fmt: skip
    if facts.last is None:
        return Finding("ok", "no trial is pending")
    name, result, reason = facts.last
    what = f"no trial is pending; the last: {name} was {result}"
    if result == "confirmed":
        return Finding("ok", what)
    return Finding("warn", f"{what}: {reason}", "edge-firmware slots tells more")
