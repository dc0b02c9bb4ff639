"""Frames that a sound card did not deliver: noticed by the clock, and kept in their places."""

from collections import deque

TOLERANCE_S = 0.25
LATE_S = 1.0
"""A shortfall of more than `TOLERANCE_S` that lasts `LATE_S` is audio the device lost; smaller
and shorter ones are buffering."""

DRIFT = 200e-6
"""Largest difference between the sound card's clock and ours that is taken for drift."""


class Shortfall:
    """Frames that the clock says should have come and did not."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._base: float | None = None
        self._base_at = 0.0
        self._late_since: float | None = None

    @property
    def suspected(self) -> bool:
        """Whether frames are late that may be lost."""
        return self._late_since is not None

    def missing(self, n_frames: int, at_s: float) -> int:
        """Frames lost up to now, once a shortfall is old enough to be one.

        Parameters
        ----------
        n_frames : int
            Frames delivered or already booked as lost.
        at_s : float
            Monotonic time of the last delivery, in seconds.
        """
        owed = at_s * self._rate_hz - n_frames
        allowed = (
            None
            if self._base is None
            else self._base + (at_s - self._base_at) * DRIFT * self._rate_hz
        )
        if allowed is None or owed < allowed:
            self._base, self._base_at, self._late_since = owed, at_s, None
            return 0
        if owed - allowed < TOLERANCE_S * self._rate_hz:
            self._late_since = None
            return 0
        if self._late_since is None:
            self._late_since = at_s
        if at_s - self._late_since < LATE_S:
            return 0
        self._late_since = None
        return round(owed - allowed)


class Gaps:
    """Where frames are missing, as positions among the frames that were delivered."""

    def __init__(self) -> None:
        self._dropped: deque[tuple[int, int]] = deque()  # filled by the callback
        self._known: list[tuple[int, int]] = []

    def drop(self, position: int, n_frames: int) -> None:
        """Note frames that found no room; called by the callback, appends and nothing more."""
        self._dropped.append((position, n_frames))

    def collect(self) -> int:
        """Take over what the callback noted, and count it."""
        n_new = 0
        while self._dropped:
            position, n_frames = self._dropped.popleft()
            self.book(position, n_frames)
            n_new += n_frames
        return n_new

    def book(self, position: int, n_frames: int) -> None:
        """Note that so many frames are missing before the frame at ``position``."""
        self._known.append((position, n_frames))
        self._known.sort()

    def take(self, position: int) -> int:
        """Frames missing right before ``position``; they are told once."""
        n_missing = 0
        while self._known and self._known[0][0] <= position:
            n_missing += self._known.pop(0)[1]
        return n_missing

    def next_position(self, otherwise: int) -> int:
        """Position of the next gap, but not beyond ``otherwise``."""
        return min(otherwise, self._known[0][0]) if self._known else otherwise
