"""Values of options, for argparse: what was expected is told, and not the name of a function."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf

_MOST_DIGITS = 18
"""Of a whole number that fits 64 bits, as SQLite and NumPy have them."""


def number(least: float, most: float = inf) -> Callable[[str], float]:
    """A finite number from ``least`` to ``most``, both included."""
    wanted = f"of {least:g} or more" if most == inf else f"from {least:g} to {most:g}"
    return _number(lambda value: least <= value <= most and value < inf, f"a number {wanted}")


def between(low: float, high: float) -> Callable[[str], float]:
    """A number above ``low`` and below ``high``."""
    return _number(lambda value: low < value < high, f"a number between {low:g} and {high:g}")


def _number(is_right: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        with suppress(ValueError):
            if is_right(value := float(text)):
                return value
        raise ArgumentTypeError(f"expected {wanted}, found {text!r}")

    return parse


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``, both included, in plain digits."""
    wanted = f"of {least} or more" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
            value = int(text)
            if least <= value and (most is None or value <= most):
                return value
        raise ArgumentTypeError(f"expected a whole number {wanted}, found {text!r}")

    return parse


def moment(text: str) -> datetime:
    """A moment of RFC 3339, with its offset from UTC."""
    with suppress(ValueError):
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None and 1900 < value.year < 2200:
            return value
    raise ArgumentTypeError(
        f"expected a time with its offset from UTC, as in 2026-06-01T04:00:00Z, found {text!r}"
    )


def offset(text: str) -> timedelta:
    """An offset from UTC."""
    with suppress(ValueError):
        value = datetime.fromisoformat(f"2000-01-01T00:00{text}").utcoffset()
        if value is not None:
            return value
    raise ArgumentTypeError(f"expected an offset from UTC, such as +01:00, found {text!r}")
