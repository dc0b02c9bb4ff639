"""The argument STATE, the same for every command that has one."""

import argparse
from pathlib import Path

DEFAULT_STATE = Path("/var/lib/edge-probe")
"""What systemd makes for a service with ``StateDirectory=edge-probe`` (systemd.exec(5))."""


def add_state(parser: argparse.ArgumentParser) -> None:
    """Let a parser take the folder of a recorder, as ``state``."""
    parser.add_argument(
        "state", nargs="?", type=Path, default=DEFAULT_STATE, metavar="STATE",
        help="the recorder's folder (default %(default)s)",
    )  # fmt: skip
