"""Folders where files for this device may lie, and which of the files are new there.

Light: on most boots nothing is new, and nothing else is imported then.
"""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_probe.bundle.publish import publish_file
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.bundle.trust import read_store
from firmware_tools.layout import Layout

_log = logging.getLogger(__name__)

TRUST, DEPLOYMENT, SPECIES, SETTINGS = (
    "trust.json", "deployment.toml", "species.csv", "settings.toml",
)  # fmt: skip

SUFFIX = ".epb"
"""As `edge_probe.bundle.transport.SUFFIX`."""

SEEN = "seen.json"
"""What was looked at, in the folder of the configuration."""

RESULT = "edge-probe-result.txt"
"""Beside the files: what became of them."""

MAX_BYTES = 2**20
"""Of a file that people write."""


@dataclass(frozen=True, slots=True)
class Site:
    """What lies there now."""

    signs: Mapping[Path, str]
    """Of every file, best folder first: what tells it from the one that was there before."""
    seen: Mapping[Path, str]
    """The same, of the last time that there was one: a folder may be absent for a boot."""

    def news(self, name: str) -> list[Path]:
        """Files of that name, or ending, that are new or another."""
        return [path for path in self.all(name) if self.seen.get(path) != self.signs[path]]

    def all(self, name: str) -> list[Path]:
        """Files of that name, or ending."""
        return [path for path in self.signs if name in (path.name, path.suffix)]

    @property
    def is_known(self) -> bool:
        """Nothing is new."""
        return all(self.seen.get(path) == sign for path, sign in self.signs.items())


def look(layout: Layout) -> Site:
    """See what lies there.

    Raises
    ------
    OSError
        The folder of the configuration cannot be read.
    """
    signs: dict[Path, str] = {}
    for folder in (*layout.site_folders, layout.staged):
        try:
            if _is_ours(folder):
                signs |= _signs(folder)
        except OSError as error:  # a worn card
            _log.error("%s: %s", folder, error.strerror or error)
    return Site(signs, _read_seen(layout.config / SEEN))


def remember(layout: Layout, signs: Mapping[Path, str]) -> None:
    """Keep what was looked at.

    Raises
    ------
    OSError
    """
    text = json.dumps({str(path): sign for path, sign in signs.items()}, indent=2) + "\n"
    publish_file(layout.config / SEEN, text.encode())


def tell(folder: Path, lines: Sequence[str]) -> None:
    """Leave word for whoever takes the card out; where nothing can be written, do without."""
    # A FAT's names need not be UTF-8.
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    path = folder / RESULT
    try:
        if lines and not (path.is_file() and path.read_bytes() == text):
            publish_file(path, text)
    except OSError as error:
        _log.warning("%s: %s", path, error.strerror or error)


def damaged_store(path: Path) -> bytes | None:
    """What stands in a trust store that is none.

    None: it is sound, or not there, or the card does not give it, which may be different tomorrow.
    """
    try:
        data = path.read_bytes()
        read_store(path)
    except OSError:
        return None
    except RejectedBundleError:
        return data
    return None


def _is_ours(folder: Path) -> bool:
    """Whether only this user, root, puts files there: the recorder's user must not."""
    try:
        found = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return True
    _log.error("%s: ignored: expected a folder to which nobody but root may write", folder)
    return False


def _signs(folder: Path) -> dict[Path, str]:
    """By content; bundles by size and time: to read them at every boot takes too long."""
    signs = {}
    for path in sorted(folder.iterdir()):
        wanted = path.name in (TRUST, DEPLOYMENT, SPECIES, SETTINGS) or path.suffix == SUFFIX
        found = path.lstat()
        if not wanted or not stat.S_ISREG(found.st_mode):
            continue
        if path.suffix == SUFFIX or found.st_size > MAX_BYTES:
            signs[path] = f"{found.st_size} bytes, {found.st_mtime_ns} ns"
        else:
            signs[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return signs


def _read_seen(path: Path) -> dict[Path, str]:
    """Nothing where it is not known any more: then all is new again."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {Path(key): sign for key, sign in value.items() if isinstance(sign, str)}
