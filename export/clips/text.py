"""Text of tables: encoding, lines, numbers."""

import math
import os
import re
from pathlib import Path

from export.clips.clip import ClipsError


def utf8_name(path: Path) -> str:
    """A path as text, whatever the locale says about file names.

    Raises
    ------
    ClipsError
        It is not UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClipsError(f"{str(path)!a}: this name is not UTF-8", hint="rename it") from error


def read_text(table: Path) -> str:
    """The text of a table, without a byte order mark and with every line ended by a newline.

    Raises
    ------
    ClipsError
        It cannot be read, or is not UTF-8 text.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ClipsError(f"{table}: is not UTF-8 ({error})", hint="save it as UTF-8") from error
    except OSError as error:
        raise ClipsError(f"{table}: {error.strerror}", hint="name a table you may read") from error
    if "\0" in text:
        raise ClipsError(f"{table}: holds NUL bytes: not a text file", hint="save it as UTF-8")
    return text


def number(where: str, column: str, text: str, unit: str = "a time in seconds") -> float:
    """A decimal number of a table, zero or more.

    Raises
    ------
    ClipsError
        It is something else.
    """
    if re.fullmatch(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        value = float(text)
        if value < math.inf:
            return value
    raise ClipsError(
        f"{where}: {column} is {text!r}, not {unit}",
        hint="write decimals with a point" if "," in text else "expected a number, zero or more",
    )


def lines_of(table: Path) -> list[str]:
    """The lines of a text file."""
    return read_text(table).split("\n")


def path_of(name: str) -> Path:
    """A path from UTF-8 text, whatever the locale says about file names."""
    return Path(os.fsdecode(name.encode("utf-8")))
