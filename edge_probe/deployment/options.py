"""The settings file of ``edge-probe run``: its options as TOML, so that units need no editing.

A key is an option without its dashes, a value is what would stand behind it::

    rate = 48000
    keep = "sample+detections"
    accept-deletion = true
    private = ["Human speech"]

The command's own parser says what there is and what is allowed: there is no second list.
"""

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from edge_probe.deployment.toml_file import parse_toml, refuse_unknown
from edge_probe.errors import DeploymentError

Declare = Callable[[argparse.ArgumentParser], None]


def read_options(path: Path, declare: Declare, *, without: Collection[str] = ()) -> list[str]:
    """Arguments that a settings file stands for, in its order.

    Parameters
    ----------
    path : Path
        Relative paths in it start at its folder.
    declare : callable
        Adds the arguments of the command to a parser.
    without : collection of str
        Names of arguments that make no sense in a file.

    Raises
    ------
    DeploymentError
        There is no such file, it is no TOML, or a key or value is not what is expected.
    """
    try:
        found = parse_toml(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DeploymentError(
            f"{path}: no such file", hint="an empty file is enough: every option has a default"
        ) from None
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False, allow_abbrev=False)
    declare(parser)
    known = {
        name.replace("_", "-"): default
        for name, default in vars(parser.parse_args([])).items()
        if name not in without
    }
    refuse_unknown(found, known, str(path), "keys are the long options of the command")
    words: list[str] = []
    for key, value in found.items():
        words += _words(_Option(f"{path}: {key}", key, known[key], parser), value, path.parent)
    return words


class _Option:
    """One that a parser knows.

    Parameters
    ----------
    where : str
        File and key, for messages.
    key : str
    default : object
        What the parser gives where it is left out; it tells flags and options that are repeated.
    parser : ArgumentParser
    """

    def __init__(
        self, where: str, key: str, default: object, parser: argparse.ArgumentParser
    ) -> None:
        self.where = where
        self.flag = f"--{key}"
        self.default = default
        self._name = key.replace("-", "_")
        self._parser = parser

    def wrong(self, wanted: str, found: object) -> DeploymentError:
        """The error to raise."""
        return DeploymentError(f"{self.where}: expected {wanted}, found {found!r}")

    def meaning(self, text: str) -> object:
        """What the parser makes of a text."""
        try:
            parsed = self._parser.parse_args([f"{self.flag}={text}"])
        except argparse.ArgumentError as error:
            raise DeploymentError(
                f"{self.where}: {error.message}", hint="edge-probe run --help"
            ) from None
        meaning: object = getattr(parsed, self._name)
        return meaning[-1] if isinstance(meaning, list) else meaning


def _words(option: _Option, value: object, folder: Path) -> Sequence[str]:
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            raise option.wrong("true or false", value)
        return [option.flag] * value
    if isinstance(option.default, list):
        if not isinstance(value, list):
            raise option.wrong('a list, as in ["this", "that"]', value)
        return [_word(option, item, folder) for item in value]
    return [_word(option, value, folder)]


def _word(option: _Option, value: object, folder: Path) -> str:
    """An option and its value; ``=`` lets a value begin with a dash."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise option.wrong('a number or text in "quotes"', value)
    meaning = option.meaning(str(value))
    wants_number = isinstance(meaning, int | float)
    if wants_number == isinstance(value, str):
        raise option.wrong(
            "a number, without quotes" if wants_number else 'text in "quotes"', value
        )
    return f"{option.flag}={folder / meaning if isinstance(meaning, Path) else value}"
