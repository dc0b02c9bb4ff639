"""The families that edge-probe can convert, by the name that ``--family`` takes."""

from importlib import import_module
from typing import TYPE_CHECKING

from edge_probe.errors import EncoderError

if TYPE_CHECKING:
    from export.encoders.family import Family

NAMES = ("asit", "ast", "audiomae", "bat", "beats", "birdmae", "ced", "dasheng", "eat", "sslam")
"""Each is a module of this package with a ``FAMILY``."""


def family(name: str) -> "Family":
    """The family of that name.

    Raises
    ------
    EncoderError
        There is none.
    """
    if name not in NAMES:
        raise EncoderError(
            f"no family named {name}",
            hint=f"expected {', '.join(NAMES)}; export/encoders/README.md says how to add one",
        )
    found: Family = import_module(f"{__name__}.{name}").FAMILY
    return found
