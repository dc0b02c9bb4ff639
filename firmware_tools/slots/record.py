"""``slots.json``: which bundle is good, which is on trial, which were refused, and why."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle
    from edge_probe.bundle.transport import Offer

FORMAT = "edge-probe slots"
FORMAT_VERSION = 1

SLOTS = ("a", "b")

MAX_REFUSED = 32
"""Of the newest, so that the file stays small; older ones are forgotten."""

MAX_REASON = 500
"""Characters: what an encoder says of itself may be long."""

RESULTS = ("confirmed", "refused", "unproven")
"""unproven: taken back for want of evidence, which need not be the bundle's fault."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle that lies in a slot."""

    slot: str
    bundle: str
    """Its id."""
    sha256: str
    """Of its manifest: what lies in the slot is this bundle only if it has this manifest."""
    release: int
    key: str
    """Id of the key that signed it."""

    @classmethod
    def of(cls, bundle: "Bundle", slot: str) -> "Kept":
        """A bundle that was opened."""
        return cls(slot, bundle.id, bundle.sha256, bundle.manifest.release, bundle.signed_by.id)


@dataclass(frozen=True, slots=True)
class Trial:
    """A bundle that has yet to prove itself."""

    kept: Kept
    boots: tuple[str, ...]
    """Ids of the boots of the machine that have tried it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial, or a selftest before it, ended."""

    bundle: str
    sha256: str
    release: int
    result: str
    """One of `RESULTS`."""
    reason: str
    """A sentence."""

    @classmethod
    def of(cls, what: "Bundle | Kept", result: str, reason: str) -> "Outcome":
        """The result of a bundle; of a long reason the beginning."""
        reason = reason[:MAX_REASON]
        if isinstance(what, Kept):
            return cls(what.bundle, what.sha256, what.release, result, reason)
        return cls(what.id, what.sha256, what.manifest.release, result, reason)


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of the slots."""

    good: Kept | None = None
    """What the device falls back to; its slot is neither written nor deleted."""
    previous: Kept | None = None
    """What was good before, until the next bundle takes its place."""
    trial: Trial | None = None
    refused: tuple[Outcome, ...] = ()
    """Newest last."""
    last: Outcome | None = None

    @property
    def wanted(self) -> Kept | None:
        """What shall run now."""
        return self.trial.kept if self.trial else self.good

    @property
    def kept(self) -> tuple[Kept, ...]:
        """All that lies in slots; each in one of its own."""
        trial = self.trial.kept if self.trial else None
        return tuple(one for one in (self.good, self.previous, trial) if one)

    @property
    def idle(self) -> str:
        """The slot that may be written: not the good bundle's, nor, without one, the trial's."""
        busy = self.good or self.wanted
        return SLOTS[1] if busy and busy.slot == SLOTS[0] else SLOTS[0]

    def refusal(self, offer: "Offer") -> Outcome | None:
        """Why a bundle was refused before."""
        found = (one for one in self.refused if one.sha256 == offer.sha256)
        return next(found, None)

    def to_bytes(self) -> bytes:
        """As it is kept."""
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        return (json.dumps(head | asdict(self), indent=1) + "\n").encode("ascii")


def parse(data: bytes) -> Record | None:
    """A record as `Record.to_bytes` wrote it, of this version; None: these bytes are none."""
    try:
        value = json.loads(data)
        found = Record(
            _kept(value["good"]),
            _kept(value["previous"]),
            _trial(value["trial"]),
            tuple(Outcome(**one) for one in value["refused"]),
            value["last"] and Outcome(**value["last"]),
        )
        is_whole = found.to_bytes() == data and _fits(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if is_whole else None


def _kept(value: Mapping[str, Any] | None) -> Kept | None:
    return value and Kept(**value)  # type: ignore[return-value]


def _trial(value: Mapping[str, Any] | None) -> Trial | None:
    return value and Trial(Kept(**value["kept"]), tuple(value["boots"]))  # type: ignore[return-value]


def _fits(record: Record) -> bool:
    """Whether values have their types, and each bundle a slot of its own."""
    told: list[Kept | Outcome] = [*record.kept, *record.refused]
    told += [record.last] if record.last else []
    if not all(map(_is_typed, told)):
        return False
    slots = [one.slot for one in record.kept]
    return len(set(slots)) == len(slots) and set(slots) <= set(SLOTS)


def _is_typed(one: Kept | Outcome) -> bool:
    """A number that stands there as text would stop everybody who compares releases."""
    texts = asdict(one)
    release = texts.pop("release")
    return type(release) is int and all(isinstance(text, str) for text in texts.values())
