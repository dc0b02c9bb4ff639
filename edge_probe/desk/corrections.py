"""Corrections files: what people said of windows that they listened to.

The page of ``edge-probe report`` writes them; `edge-export refit` and `edge-probe validate` read
them. `SCHEMA.md` says what they hold.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, cast

from edge_probe.bundle.labels import LABEL_RULE, Label
from edge_probe.bundle.reject import shown
from edge_probe.desk.validation import VERDICTS
from edge_probe.errors import EdgeProbeError

FORMAT = "edge-probe corrections"
VERSION = 1

DRAWS = ("random", "stratified", "detection")

MAX_FILE_BYTES = 2**28
MAX_TEXT = 1000
"""Characters of a text that somebody typed."""

_MAX_COUNT = 2**63 - 1
_EXPORT_AGAIN = "save the corrections again with the page that edge-probe report made"

Verdict = Literal["correct", "wrong", "other", "unsure"]
Draw = Literal["random", "stratified", "detection"]


class CorrectionsError(EdgeProbeError):
    """A corrections file that cannot mean what it says, or contradicts another one."""


class Item(NamedTuple):
    """One class in one window."""

    deployment_id: str
    bundle_sha256: str
    boot: int
    stream: int
    channel: int
    start_sample: int
    end_sample: int
    label: str


@dataclass(frozen=True, slots=True)
class Correction:
    """What somebody said of one class in the samples [start, end) of a channel."""

    deployment_id: str
    """Empty: of a state folder without a deployment file."""
    bundle_sha256: str
    """Of the manifest of the bundle that listened."""
    boot: int
    stream: int
    channel: int
    """Counted from 0."""
    start_sample: int
    end_sample: int
    rate_hz: int
    label: str
    """The class in question."""
    verdict: Verdict
    """``correct``: it is in the window; ``wrong``, ``other``: it is not."""
    other_label: str | None
    """What is in it instead, for ``other``: a class of the bundle, or any text."""
    logit: float | None
    """Of the class in the window; None: none is stored."""
    draw: Draw
    """What the window was shown for."""
    probability: float | None
    """That the draw had; None for ``detection``."""
    reviewed_utc: datetime
    where: str = field(default="", compare=False)
    """File and number of the entry, for messages."""

    @property
    def item(self) -> Item:
        """What it is said of."""
        return Item(*(getattr(self, name) for name in Item._fields))


def read_corrections(paths: Iterable[Path]) -> list[Correction]:
    """Read and check corrections files.

    Of an item that a file tells several times the last verdict counts. One that was shown for
    several draws comes once for each, with that verdict.

    Parameters
    ----------
    paths : iterable of Path

    Returns
    -------
    list of Correction
        In the order in which the items came first.

    Raises
    ------
    CorrectionsError
        A file cannot be read or is not what `SCHEMA.md` says; or two files give one item verdicts
        that contradict (one that is ``unsure`` contradicts nothing, and yields).
    """
    found: dict[Item, dict[str, Correction]] = {}
    for path in paths:
        for item, told in _read(path).items():
            found[item] = _agreed(found.get(item, {}), told)
    return [one for told in found.values() for one in told.values()]


def refuse_other_bundles(corrections: Sequence[Correction], known: Collection[str]) -> None:
    """See that all are of one bundle.

    Parameters
    ----------
    corrections : sequence of Correction
    known : collection of str
        sha256 of its manifest, and of what was signed of it for devices.

    Raises
    ------
    CorrectionsError
    """
    for one in corrections:
        if one.bundle_sha256 not in known:
            raise CorrectionsError(
                f"{one.where}: expected a window that this bundle listened to, found one of"
                f" another, {one.bundle_sha256[:12]}",
                hint="give the bundle that was on the recorder, or the corrections of this one",
            )


def _read(path: Path) -> dict[Item, dict[str, Correction]]:
    """Corrections of a file by item and draw, each item with its last verdict."""
    found: dict[Item, dict[str, Correction]] = {}
    for number, entry in enumerate(_entries(path), 1):
        one = _correction(f"{path}: entry {number}", entry)
        told = found.setdefault(one.item, {})
        told[one.draw] = one
        for draw, before in told.items():
            told[draw] = _with_verdict(before, one)
    return found


def _agreed(before: dict[str, Correction], told: dict[str, Correction]) -> dict[str, Correction]:
    """What two files say of one item."""
    if not before:
        return told
    one, other = next(iter(before.values())), next(iter(told.values()))
    if one.verdict == "unsure":
        one, other = other, one
    elif other.verdict != "unsure" and _said(one) != _said(other):
        raise CorrectionsError(
            f"{other.where}: {shown(one.label)} at samples {one.start_sample} to {one.end_sample}"
            f" is {_said(other)} here, and {_said(one)} in {one.where}",
            hint="listen again, and leave out the file that is mistaken",
        )
    return {draw: _with_verdict(c, one) for draw, c in (before | told).items()}


def _said(one: Correction) -> str:
    return one.verdict if one.other_label is None else f"{one.verdict} ({shown(one.other_label)})"


def _with_verdict(one: Correction, by: Correction) -> Correction:
    return replace(
        one, verdict=by.verdict, other_label=by.other_label, reviewed_utc=by.reviewed_utc,
        where=by.where,
    )  # fmt: skip


def _entries(path: Path) -> list[Any]:
    top = _object(str(path), _json(path), _HEADER)
    _check(str(path), top, _HEADER)
    return cast("list[Any]", top["corrections"])


def _json(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CorrectionsError(
            f"{path}: cannot be read: {error.strerror or error}",
            hint="give files that the page of edge-probe report saved",
        ) from None
    if len(data) > MAX_FILE_BYTES:
        _wrong(str(path), f"at most {MAX_FILE_BYTES} bytes", "more")
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_without_twins, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise CorrectionsError(
            f"{path}: not a JSON text: {shown(str(error))}", hint=_EXPORT_AGAIN
        ) from None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _correction(where: str, value: Any) -> Correction:
    entry = _object(where, value, _ENTRY)
    _check(where, entry, _ENTRY)
    one = Correction(
        **entry | {"reviewed_utc": datetime.fromisoformat(entry["reviewed_utc"])}, where=where
    )
    if not one.start_sample < one.end_sample:
        _wrong(f"{where}: end_sample", f"more than start_sample {one.start_sample}", one.end_sample)
    if (one.verdict == "other") != (one.other_label is not None):
        _wrong(f"{where}: other_label", "a text with the verdict other, else null", one.other_label)
    if one.other_label == one.label:
        _wrong(f"{where}: other_label", "another class than label", one.other_label)
    if (one.draw == "detection") != (one.probability is None):
        _wrong(f"{where}: probability", "null for the draw detection, else a number",
               one.probability)  # fmt: skip
    return one


_Checks = dict[str, tuple[str, Callable[[Any], bool]]]


def _object(where: str, value: Any, checks: _Checks) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(where, "an object", value)
    for key in checks:
        if key not in value:
            raise CorrectionsError(f"{where}: {key} is missing", hint=_EXPORT_AGAIN)
    for key in value:
        if key not in checks:
            near = get_close_matches(key, checks, n=1)
            raise CorrectionsError(
                f"{where}: unknown key {shown(key)}",
                hint=f"did you mean {near[0]}?" if near else _EXPORT_AGAIN,
            )
    return cast("dict[str, Any]", value)


def _check(where: str, found: dict[str, Any], checks: _Checks) -> None:
    for key, (expected, is_good) in checks.items():
        if not is_good(found[key]):
            _wrong(f"{where}: {key}", expected, found[key])


def _wrong(where: str, expected: str, found: object) -> NoReturn:
    raise CorrectionsError(f"{where}: expected {expected}, found {shown(found)}",
                           hint=_EXPORT_AGAIN)  # fmt: skip


def _whole(low: int, high: int = _MAX_COUNT) -> tuple[str, Callable[[Any], bool]]:
    return f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high


def _one_of(names: Sequence[str]) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and Label.parse(value).is_clean


def _is_number(value: Any) -> bool:
    """Whole numbers that no float can hold are none."""
    return type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value)


def _is_utc(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except (TypeError, ValueError):
        return False


_UTC = ("a time in UTC such as 2026-11-30T10:00:00Z", _is_utc)

_HEADER: _Checks = {
    "format": (repr(FORMAT), lambda v: v == FORMAT),
    "version": (f"{VERSION} (a newer one needs a newer edge-probe)",
                lambda v: type(v) is int and v == VERSION),
    "made_utc": _UTC,
    "reviewer": (f"a text of at most {MAX_TEXT} characters", _is_text),
    "corrections": ("a list", lambda v: isinstance(v, list)),
}  # fmt: skip

_ENTRY: _Checks = {
    "deployment_id": ("at most 64 letters, digits and . _ -",
                      lambda v: isinstance(v, str) and bool(re.fullmatch(r"[\w.-]{0,64}", v))),
    "bundle_sha256": ("64 lower-case hexadecimal digits",
                      lambda v: isinstance(v, str) and bool(re.fullmatch(r"[0-9a-f]{64}", v))),
    "boot": _whole(1),
    "stream": _whole(1),
    "channel": _whole(0),
    "start_sample": _whole(0),
    "end_sample": _whole(1),
    "rate_hz": _whole(1),
    "label": (LABEL_RULE, _is_label),
    "verdict": _one_of(VERDICTS),
    "other_label": (f"null or a label: {LABEL_RULE}", lambda v: v is None or _is_label(v)),
    "logit": ("a number or null", lambda v: v is None or _is_number(v)),
    "draw": _one_of(DRAWS),
    "probability": ("null, or a number above 0 and up to 1",
                    lambda v: v is None or (_is_number(v) and 0 < v <= 1)),
    "reviewed_utc": _UTC,
}  # fmt: skip
