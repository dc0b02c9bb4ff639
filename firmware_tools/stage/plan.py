"""What goes where: a list that can be shown before anything is written."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FORMS = ("tree", "deb", "image")
"""Root of a file system, Debian package, file system of the data partition."""

TIME_S = 315_532_800
"""1980-01-01 UTC, the oldest that a wheel can name: what packages and images say instead of now."""


@dataclass(frozen=True)
class File:
    """One to be written."""

    path: str
    """Below the root, without a leading slash."""
    source: Path | bytes
    """A file, or the content itself."""
    mode: int = 0o644

    @cached_property
    def sha256(self) -> str:
        """Of its content, in hexadecimal digits."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        with self.source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def size_bytes(self) -> int:
        """Of its content."""
        if isinstance(self.source, bytes):
            return len(self.source)
        return self.source.stat().st_size


@dataclass(frozen=True)
class Link:
    """A symbolic link to be made."""

    path: str
    target: str


@dataclass(frozen=True)
class Plan:
    """All that goes onto a device, in the order of the paths."""

    files: tuple[File, ...]
    links: tuple[Link, ...] = ()

    @classmethod
    def of(cls, items: Iterable[File | Link]) -> "Plan":
        """Sort the items; no path may come twice.

        Raises
        ------
        ValueError
            One does.
        """
        items = sorted(items, key=lambda item: item.path)
        paths = [item.path for item in items]
        if len(set(paths)) < len(paths):
            raise ValueError(f"a path comes twice: {paths}")
        files = tuple(item for item in items if isinstance(item, File))
        return cls(files, tuple(item for item in items if isinstance(item, Link)))

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Of paths, modes, links and contents: plans that differ in anything differ here."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()

    def lines(self) -> list[str]:
        """For people, and for `sha256`: mode, bytes, sum and path of each file, then the links."""
        return [
            *(f"{file.mode:04o} {file.size_bytes:>10} {file.sha256}  {file.path}"
              for file in self.files),
            *(f"link {link.path} -> {link.target}" for link in self.links),
        ]  # fmt: skip
