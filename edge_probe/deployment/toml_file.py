"""TOML that people write, with what is wrong in it said in one line."""

import tomllib
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from edge_probe.errors import DeploymentError


def parse_toml(data: bytes, where: str) -> dict[str, Any]:
    """The content of a file; ``where`` is its name for messages.

    Parameters
    ----------
    data : bytes
        UTF-8; a byte order mark and CRLF are accepted.
    where : str

    Raises
    ------
    DeploymentError
        It is no TOML.
    """
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DeploymentError(
            f"{where}: expected UTF-8, found other bytes at {error.start}",
            hint="save it as UTF-8 text",
        ) from None
    except (ValueError, RecursionError) as error:  # numbers and brackets without end, too
        raise DeploymentError(
            f"{where}: not TOML: {error}",
            hint='lines are key = value: text in "quotes", numbers with a decimal point',
        ) from None


def refuse_unknown(found: Iterable[str], known: Collection[str], where: str, hint: str) -> None:
    """See that every key has a meaning; one that has none is told with the nearest that has.

    Parameters
    ----------
    found : iterable of str
    known : collection of str
    where : str
        Name of the file, for the message.
    hint : str
        Where none is near.

    Raises
    ------
    DeploymentError
    """
    for key in found:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise DeploymentError(
                f"{where}: unknown key {key}", hint=f"did you mean {near[0]}?" if near else hint
            )
