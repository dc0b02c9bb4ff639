"""How far somebody has read, as text that stays good for as long as the state folder does."""

import base64
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_probe.errors import StateError

Key = tuple[int | str, ...]
"""Of the last row read of a kind of event; rows only ever come behind it."""

_CHECK_BYTES = 4
"""CRC-32 behind the content: a cursor that was cut or mistyped is refused."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Between two events."""

    state_id: str
    """Of the state folder it belongs to."""
    keys: Mapping[str, Key]
    """By kind of event; a kind of which nothing was read is not there."""

    def after(self, kind: str, key: Key) -> "Cursor":
        """The cursor behind one more event."""
        return Cursor(self.state_id, {**self.keys, kind: key})

    def __str__(self) -> str:
        content = json.dumps([self.state_id, self.keys], separators=(",", ":")).encode()
        data = content + zlib.crc32(content).to_bytes(_CHECK_BYTES, "big")
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """A cursor as it was printed.

        Raises
        ------
        StateError
            It never was.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            data = base64.b64decode(padded, altchars=b"-_", validate=True)
            content, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
            if zlib.crc32(content).to_bytes(_CHECK_BYTES, "big") != check:
                raise ValueError("was changed")
            state_id, keys = json.loads(content)
            return cls(state_id, {kind: tuple(key) for kind, key in keys.items()})
        except ValueError as error:
            raise StateError(
                f"expected a cursor, found {text[:80]!r}",
                hint='give the "cursor" of the last line you have; without one all is told again',
            ) from error


def load(path: Path) -> Cursor | None:
    """The cursor in a file; None if there is no such file.

    Raises
    ------
    StateError
        The file holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return Cursor.parse(text.strip())


def save(path: Path, cursor: Cursor) -> None:
    """Keep a cursor so that a power cut leaves this one or the one before.

    Raises
    ------
    OSError
        The disk fails; the one before is kept.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(f"{cursor}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
