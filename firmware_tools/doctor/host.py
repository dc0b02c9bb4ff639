"""The machine that is looked at: files below a root, nothing of it ever changed."""

import os
import platform
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError
from firmware_tools.layout import Layout

if TYPE_CHECKING:
    from firmware_tools.doctor.program import Attempt

MAX_BYTES = 1 << 20
"""Of a file that is read; nothing of interest is longer."""


class UnreadableError(EdgeProbeError):
    """What a check needs to know cannot be had here."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, or a folder that looks like one."""

    state: Path
    """State folder of the recorder."""
    layout: Layout = field(default_factory=Layout)
    machine: str = field(default_factory=platform.machine)
    """Of the kernel, as ``uname -m`` tells it."""
    pointer_bits: int = 8 * struct.calcsize("P")
    """Of the programs: of this Python."""
    tried: "dict[str, Attempt]" = field(default_factory=dict)
    """What became of loading a part of the program, by its name: each is tried once."""

    def path(self, name: str) -> Path:
        """Where ``proc/meminfo`` and the like lie."""
        return self.layout.root / name

    def read(self, name: str) -> str:
        """The text of a file of the system.

        Raises
        ------
        UnreadableError
            It is not there, or does not answer.
        """
        try:
            with self.path(name).open("rb", buffering=0) as file:
                parts: list[bytes] = []
                while sum(map(len, parts)) < MAX_BYTES and (part := file.read(MAX_BYTES)):
                    parts.append(part)
        except OSError as error:
            hint = "sudo edge-firmware doctor" if isinstance(error, PermissionError) else None
            raise UnreadableError(f"/{name}: {error.strerror or error}", hint=hint) from error
        return b"".join(parts).decode("utf-8", "replace").strip("\0 \n")

    def read_if_there(self, name: str) -> str | None:
        """The same; None if there is no such file.

        Raises
        ------
        UnreadableError
            It does not answer.
        """
        return self.read(name) if self.path(name).exists() else None

    def number(self, name: str) -> int:
        """A file of the system that holds a number.

        Raises
        ------
        UnreadableError
            It is not there, or holds something else.
        """
        text = self.read(name)
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise UnreadableError(f"/{name}: expected a number, found {text[:40]!r}")
        return int(text)

    def place_of(self, path: Path) -> str:
        """The name that a path has on the machine itself, links followed."""
        real, root = os.path.realpath(path), os.path.realpath(self.layout.root)
        inside = os.path.relpath(real, root)
        return real if inside.startswith("..") else os.path.normpath(f"/{inside}")


def fields(text: str) -> Mapping[str, str]:
    """``name: value`` or ``name=value``, a line each, as the kernel and systemd print them."""
    pairs = (line.split(":" if ":" in line.split("=")[0] else "=", 1) for line in text.splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
