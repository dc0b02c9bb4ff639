"""Strict reading of JSON objects: every key, type and range is stated, nothing is guessed."""

import re
from collections.abc import Collection
from datetime import datetime
from difflib import get_close_matches
from typing import Any, NoReturn

from edge_probe.bundle.reject import Rejection, reject, shown

Json = Any
"""What a JSON text can mean: dict, list, str, int, float, bool, None."""

MAX_TEXT = 1000
"""Characters of a text."""


class Section:
    """A JSON object whose keys are taken one by one, until none is left.

    Parameters
    ----------
    where : str
        Dotted name of the object, for messages.
    value : Json

    Raises
    ------
    RejectedBundleError
        The value is no object. Every method raises it for what it does not accept.
    """

    def __init__(self, where: str, value: Json) -> None:
        if type(value) is not dict:
            _wrong_type(where, "an object", value)
        self.where = where
        self._rest = dict(value)
        self._taken: list[str] = []

    def take(self, key: str) -> Json:
        """The value of a key that must be there."""
        if key not in self._rest:
            reject(
                Rejection.MANIFEST_KEYS,
                f"manifest: {self.name(key)} is missing",
                hint="write the bundle again with edge-export",
            )
        self._taken.append(key)
        return self._rest.pop(key)

    def name(self, key: str) -> str:
        """Dotted name of a key."""
        return f"{self.where}.{key}" if self.where else key

    def section(self, key: str) -> "Section":
        """An object."""
        return Section(self.name(key), self.take(key))

    def text(self, key: str, pattern: str | None = None) -> str:
        """A printable text of 1 to 1000 characters that matches the pattern as a whole."""
        value = self.take(key)
        if type(value) is not str:
            _wrong_type(self.name(key), "a text", value)
        fits = 0 < len(value) <= MAX_TEXT and value.isprintable()
        if not fits or (pattern and not re.fullmatch(pattern, value, re.ASCII)):
            expected = pattern or f"1 to {MAX_TEXT} printable characters"
            _out_of_range(self.name(key), expected, value)
        return str(value)

    def time(self, key: str) -> str:
        """A time of the form 2026-07-28T09:30:00Z."""
        value = self.text(key, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        try:
            datetime.fromisoformat(value)
        except ValueError:
            _out_of_range(self.name(key), "a date and time in UTC", value)
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in [low, high]; true and 1.0 are none."""
        value = self.take(key)
        if type(value) is not int:
            _wrong_type(self.name(key), "an integer", value)
        if not low <= value <= high:
            _out_of_range(self.name(key), f"{low} to {high}", value)
        return int(value)

    def number(self, key: str, low: float, high: float) -> float:
        """An integer or a decimal in [low, high]."""
        return _number(self.name(key), self.take(key), low, high)

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...] | None:
        """A list of numbers in [low, high], or null."""
        value = self.take(key)
        if value is None:
            return None
        if type(value) is not list:
            _wrong_type(self.name(key), "a list or null", value)
        return tuple(_number(self.name(key), item, low, high) for item in value)

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self.take(key)
        if type(value) is not bool:
            _wrong_type(self.name(key), "true or false", value)
        return bool(value)

    def choice(self, key: str, options: Collection[str | int]) -> Json:
        """One of these values, of the same type."""
        value = self.take(key)
        if not any(type(value) is type(option) and value == option for option in options):
            expected = ", ".join(str(option) for option in options)
            if type(value) not in {type(option) for option in options}:
                _wrong_type(self.name(key), f"one of {expected}", value)
            _out_of_range(self.name(key), f"one of {expected}", value)
        return value

    def rest(self) -> list[str]:
        """Keys that were not taken yet, sorted."""
        return sorted(self._rest)

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.rest():
            near = get_close_matches(key, self._taken, 1)
            reject(
                Rejection.MANIFEST_KEYS,
                f"manifest: unknown key {shown(self.name(key))}",
                hint=f"did you mean {near[0]}?" if near else "write the bundle with edge-export",
            )


def check_rules(rules: list[tuple[bool, str]]) -> None:
    """Refuse a manifest that breaks one of these rules: (holds, rule)."""
    for holds, rule in rules:
        if not holds:
            reject(
                Rejection.MANIFEST_CONTRADICTION,
                f"manifest: this rule is broken: {rule}",
                hint="write the bundle again with edge-export",
            )


def _number(where: str, value: Json, low: float, high: float) -> float:
    if type(value) not in (int, float):
        _wrong_type(where, "a number", value)
    if not low <= value <= high:
        _out_of_range(where, f"{low:g} to {high:g}", value)
    return float(value)


def _wrong_type(where: str, expected: str, found: Json) -> NoReturn:
    reject(
        Rejection.MANIFEST_TYPE,
        f"manifest: {where or 'the top level'}: expected {expected}, found {shown(found)}",
        hint="write the bundle again with edge-export",
    )


def _out_of_range(where: str, expected: str, found: Json) -> NoReturn:
    reject(
        Rejection.MANIFEST_RANGE,
        f"manifest: {where}: expected {expected}, found {shown(found)}",
        hint="the limits stand in edge_probe/bundle/FORMAT.md",
    )
