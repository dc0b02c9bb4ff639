"""How far long work has come: one line that is written over, or one now and then in a log."""

import time
from typing import TextIO

_ON_SCREEN_S, _IN_LOG_S = 0.5, 30.0

MIB = 1 << 20


class Line:
    """A line on a screen that is written over, or in a log one now and then.

    Parameters
    ----------
    stream : TextIO
        Such as stderr.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._on_screen, self._width = stream, stream.isatty(), 0
        self._told = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time to tell again; asked once for each time."""
        now = time.monotonic()
        if now - self._told < (_ON_SCREEN_S if self._on_screen else _IN_LOG_S):
            return False
        self._told = now
        return True

    def tell(self, text: str) -> None:
        """Write it."""
        if self._on_screen:
            self._stream.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line to others."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


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
        self._line, self._unit, self._unit_size = Line(stream), unit, unit_size
        self._done, self._what = 0, ""
        self._begun = time.monotonic()

    def begin(self, what: str) -> None:
        """What is done from now on."""
        self._what = what

    def tick(self, n: int) -> None:
        """So many more are done."""
        self._done += n
        if self._line.is_due():
            self._tell(time.monotonic() - self._begun)

    def _tell(self, passed_s: float) -> None:
        rate = self._done / passed_s
        left_s = max(0, self.total - self._done) / rate if rate else 0
        size = self._unit_size
        self._line.tell(
            f"{self._what}: {self._done // size} of {max(self.total, self._done) // size}"
            f" {self._unit}, {rate / size:.1f} {self._unit}/s, {left_s / 60:.0f} min left"
        )

    def end(self) -> None:
        """Leave the line to others."""
        self._line.end()
