"""How far a survey has come: hours of audio, how many a second, and how long it will go on."""

import time
from typing import TextIO

from edge_probe.desk.progress import Line

_HOUR_S = 3600


class Pace:
    """Told of every file; what a killed process had done of a batch is taken back.

    Parameters
    ----------
    stream : TextIO
        Such as stderr.
    total_bytes : int
        Of all files of the work.
    before_bytes : int
        Of those that were done another time.
    """

    def __init__(self, stream: TextIO, total_bytes: int, before_bytes: int) -> None:
        self._line, self._begun = Line(stream), time.monotonic()
        self._total, self._before = total_bytes, before_bytes
        self._kept_bytes, self._kept_s = 0, 0.0
        self._open: dict[int, tuple[int, float]] = {}
        """By batch: bytes and seconds of audio of its files so far."""

    @property
    def audio_s(self) -> float:
        """Classified and kept by now, not counting what was done another time."""
        return self._kept_s

    def file(self, batch: int, n_bytes: int, audio_s: float) -> None:
        """A file of a batch is done."""
        before_bytes, before_s = self._open.get(batch, (0, 0.0))
        self._open[batch] = (before_bytes + n_bytes, before_s + audio_s)
        if self._line.is_due():
            self._line.tell(self.text(time.monotonic() - self._begun))

    def lost(self, batch: int) -> None:
        """What was done of a batch is gone."""
        self._open.pop(batch, None)

    def kept(self, batch: int) -> None:
        """A batch is kept."""
        n_bytes, audio_s = self._open.pop(batch, (0, 0.0))
        self._kept_bytes += n_bytes
        self._kept_s += audio_s

    def text(self, passed_s: float) -> str:
        """The line, so long after the beginning."""
        n_bytes = self._kept_bytes + sum(one for one, _ in self._open.values())
        audio_s = self._kept_s + sum(one for _, one in self._open.values())
        done = self._before + n_bytes
        left_s = (self._total - done) * passed_s / n_bytes if n_bytes else 0.0
        return (
            f"{audio_s / _HOUR_S:.1f} h of audio, {audio_s / _HOUR_S / passed_s:.3g} h/s,"
            f" {100 * done / max(1, self._total):.0f} % done, {_time(left_s)} left"
        )

    def end(self) -> None:
        """Leave the line to others."""
        self._line.end()


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
