"""What came from a microphone, in order: frames that are certain, and gaps in their places."""

import logging
from typing import NamedTuple

from edge_probe.source.ring import Ring
from edge_probe.source.timeline import Timeline

_log = logging.getLogger(__name__)


class Gap(NamedTuple):
    """Frames that are missing."""

    position: int
    """Of the frame behind it, in the ring."""
    n_frames: int
    cause: str
    """``overflow`` where PortAudio reported it too, ``stall`` where only the clock tells, or what
    the reader calls it when the ring is full."""


class Intake:
    """The reader's side of a ring; `look` is called several times a second.

    The reader takes frames from the ring up to `end`, then the `gap` there, and so on.

    Parameters
    ----------
    ring : Ring
    rate_hz : int
    full : str
        Cause of a gap of frames that found no room in the ring.
    """

    def __init__(self, ring: Ring, rate_hz: int, *, full: str) -> None:
        self._ring = ring
        self._rate_hz = rate_hz
        self._full = full
        self.timeline = Timeline(rate_hz)
        self._gaps: list[Gap] = []
        self._certain = 0

    def look(self, *, at_end: bool = False) -> None:
        """Learn what came and what did not; ``at_end``, when no more will come, all is certain."""
        losses = [loss for stamp in self._ring.stamps() for loss in self.timeline.observe(stamp)]
        if at_end:
            losses += self.timeline.close()
        for loss in losses:
            self._book(loss.position, loss.n_frames, "overflow" if loss.flagged else "stall")
        for position, n_frames in self._ring.drops(at_end=at_end):
            self._book(position, n_frames, self._full)
        self._certain = self._ring.n_written if at_end else self.timeline.certain

    @property
    def end(self) -> int:
        """Position before which frames may be taken: that of the next gap, or all is certain."""
        return min(self._certain, self._gaps[0].position) if self._gaps else self._certain

    @property
    def gap(self) -> Gap | None:
        """The gap at `end`; None: frames go on there, or it is too early to say."""
        return self._gaps[0] if self._gaps and self._gaps[0].position <= self._certain else None

    def pass_gap(self) -> None:
        """Go on behind the gap."""
        del self._gaps[0]

    def _book(self, position: int, n_frames: int, cause: str) -> None:
        _log.warning(
            "%d frames (%.3f s) are missing: %s", n_frames, n_frames / self._rate_hz, cause
        )
        self._gaps.append(Gap(position, n_frames, cause))
        self._gaps.sort()
