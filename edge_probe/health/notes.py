"""``health.d/``: readings of the user's own scripts, ``name value unit`` a line.

Any program may write there, so nothing in it is trusted: not its kind, size, age or content.
"""

import logging
import math
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from edge_probe.clock import Clock
from edge_probe.health.row import Row

_log = logging.getLogger(__name__)

MAX_FILES = 32
MAX_BYTES = 4096
MAX_AGE_S = 600.0

_LINE = re.compile(r"([a-z][a-z0-9_.]{0,39}) (\S{1,32}) (\S{1,16})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.I | re.ASCII)
_MAX_TOLD = 256


class Notes:
    """Reads the folder; a file is taken again when it was written again.

    Parameters
    ----------
    folder : Path
        Need not exist.
    clock : Clock
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self, now_ns: int) -> Sequence[Row]:
        """Rows ``user.NAME`` of what was written since the last call.

        Parameters
        ----------
        now_ns : int
            Monotonic time, for the rows.
        """
        rows: dict[str, Row] = {}
        for name in self._names():
            try:
                text = self._read(name)
            except OSError as error:
                self._tell(name, f"cannot be read: {error.strerror}")
                continue
            for line in text.splitlines():
                row = self._row(name, line, now_ns)
                if row is not None and row.name in rows:
                    self._tell(name, f"{row.name} is told twice; the first is kept")
                elif row is not None:
                    rows[row.name] = row
        return list(rows.values())

    def _names(self) -> Sequence[str]:
        """Files in order; one that begins with a dot is still being written."""
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._tell("", f"cannot be read: {error.strerror}")
            return []
        names = [name for name in names if not name.startswith(".")]
        if len(names) > MAX_FILES:
            self._tell("", f"expected at most {MAX_FILES} files; the first of them are read")
        names = names[:MAX_FILES]
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        return names

    def _read(self, name: str) -> str:
        """Text of a file that is new and fit to be read, otherwise nothing."""
        # Neither wait for a pipe's other end nor follow a link to anywhere.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._folder / name, flags)
        try:
            found = os.fstat(fd)
            mark = found.st_ino, found.st_mtime_ns, found.st_size
            age_s = (self._clock.utc_ns() - found.st_mtime_ns) * 1e-9
            if not stat.S_ISREG(found.st_mode):
                self._tell(name, "expected a plain file")
            elif found.st_size > MAX_BYTES:
                self._tell(name, f"expected at most {MAX_BYTES} bytes, found {found.st_size}")
            elif age_s > MAX_AGE_S:
                self._tell(name, f"was not written for {MAX_AGE_S:g} s: does its script run?")
            elif self._seen.get(name) != mark:
                self._seen[name] = mark
                return os.read(fd, MAX_BYTES).decode("utf-8", "replace")
        finally:
            os.close(fd)
        return ""

    def _row(self, name: str, line: str, now_ns: int) -> Row | None:
        if not line.strip():
            return None
        found = _LINE.fullmatch(line)
        value = float(found[2]) if found and _NUMBER.fullmatch(found[2]) else math.nan
        if not found or not math.isfinite(value) or not found[3].isprintable():
            self._tell(name, f"expected 'name value unit', found {line[:80]!r}")
            return None
        return Row(now_ns, f"user.{found[1]}", value, found[3])

    def _tell(self, name: str, problem: str) -> None:
        """Once."""
        if (name, problem) not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add((name, problem))
            _log.warning("%s: %s", self._folder / name, problem)
