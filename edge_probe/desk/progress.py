"""How far long work has come: one line that is written over, or one now and then in a log."""

import time
from typing import TextIO

_ON_SCREEN_S, _IN_LOG_S = 0.5, 30.0

MIB = 1 << 20


class Progress:
    """Tells of bytes that were read, or of other things that were done.

    Parameters
    ----------
    stream : TextIO
        Such as stderr.
    unit : str
        Name of what is counted, for people.
    unit_size : int
        Of what `tick` counts in one unit.
    """

    def __init__(self, stream: TextIO, unit: str = "MiB", unit_size: int = MIB) -> None:
        self.total = 0
        """As far as can be told beforehand."""
        self._stream, self._unit, self._unit_size = stream, unit, unit_size
        self._on_screen = stream.isatty()
        self._done, self._what, self._width = 0, "", 0
        self._begun = self._told = time.monotonic()

    def begin(self, what: str) -> None:
        """What is done from now on."""
        self._what = what

    def tick(self, n: int) -> None:
        """So many more are done."""
        self._done += n
        now = time.monotonic()
        if now - self._told >= (_ON_SCREEN_S if self._on_screen else _IN_LOG_S):
            self._told = now
            self._tell(now - self._begun)

    def _tell(self, passed_s: float) -> None:
        rate = self._done / passed_s
        left_s = max(0, self.total - self._done) / rate if rate else 0
        size = self._unit_size
        line = (
            f"{self._what}: {self._done // size} of {max(self.total, self._done) // size}"
            f" {self._unit}, {rate / size:.1f} {self._unit}/s, {left_s / 60:.0f} min left"
        )
        if self._on_screen:
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line to others."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0
