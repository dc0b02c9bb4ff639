"""Frames counted against the monotonic clock: what is late, what is drift, what is lost.

Let e be the frames that the clock says should have come minus those that came. Blocks are never
early, so e has a floor that only two things raise: the sound card's clock runs slower than ours
(by at most `MAX_DRIFT`, steadily), or frames were lost (at once, and for good). Lateness comes and
goes above the floor. So:

* the floor of a second is the least e of its blocks;
* it is compared with the floor of the `FLOOR_S` before it, carried on at the fitted drift;
* an excess above the tolerance that lasts `LATE_S` is a loss, as large as the least excess seen;
* the tolerance is `TOLERANCE_S`, or three times the usual lateness where that is more: sound
  servers shift by such amounts when somebody else begins to listen. Where PortAudio has reported a
  loss it is `FLAGGED_S`;
* the drift is fitted to the floors and bounded; a step in them, whatever it is, is left out.

In `FLOOR_S` the largest drift amounts to 2 ms: drift is not booked as a loss, and a step is not
taken for drift.

Losses below the tolerance, again and again, lift the floor with them. But no drift lifts it faster
than `MAX_DRIFT`: what it rose beyond that since it was lowest is a loss, once it is `CREEP_S`.
"""

from collections import deque
from math import inf
from typing import NamedTuple

from edge_probe.source.ring import Stamp

TOLERANCE_S = 0.25
FLAGGED_S = 0.02
LATE_S = 0.7
"""With a block and a step of the writer less than a second: what waits for it dies in a kill."""

FLOOR_S = 10
"""Whole seconds."""

CREEP_S = 0.5
"""By less do sound servers wander whose timers an NTP daemon slews; more it steps."""

SETTLE_S = 2.0
"""Sound servers fill and empty their buffers when a stream starts: nothing is judged so early."""

MAX_DRIFT = 200e-6
"""Crystals of sound cards and boards are within 100 ppm each."""

_STEP_S = 0.01
"""A change of the floor from second to second that no drift makes."""

_FIT_S = 3600.0
"""Memory of the drift fit."""

_LATENESS_BLOCKS = 100
"""Memory of the usual lateness."""


class Loss(NamedTuple):
    """Frames that were lost before the frame at a position of the ring."""

    position: int
    n_frames: int
    flagged: bool
    """Whether PortAudio reported it too."""


class Timeline:
    """The clock's view of one stream.

    Parameters
    ----------
    rate_hz : int
        Nominal.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._first = Stamp(0, 0, 0)  # counted from
        self._began_ns = 0
        self.opened_ns: int | None = None
        """Monotonic time of frame 0, for good once it is `settled`; None: nothing has come."""
        self._n_lost = 0
        self.settled = False
        """Whether losses are looked for by now."""
        self._floors: deque[tuple[float, float]] = deque(maxlen=FLOOR_S)
        self._second: tuple[float, float] | None = None  # floor of the second now running
        self._ground: tuple[float, float] | None = None  # drift alone lifts the floor to it
        self._late: list[Stamp] = []  # blocks since the floor was last met
        self._lateness = 0.0  # frames, mean
        self._n_flagged, self._flagged_s = 0, -inf  # reports, and when the last one came
        self._drift = _Drift()
        self.certain = 0
        """Position before which every loss is known."""

    @property
    def drift(self) -> float:
        """Fitted, as a fraction: positive where the sound card is slower than the clock."""
        return self._drift.value

    def observe(self, stamp: Stamp) -> list[Loss]:
        """Take a block's stamp; the losses it makes certain."""
        if not self.settled:
            self._settle(stamp)
        at_s, missing, excess = self._against_clock(stamp)
        if stamp.n_flagged > self._n_flagged:
            self._n_flagged, self._flagged_s = stamp.n_flagged, at_s
        flagged = at_s - self._flagged_s < 3 * LATE_S
        if excess > self._tolerance(flagged):
            self._late.append(stamp)
            lasts_ns = stamp.at_ns - self._late[0].at_ns
            return self._book(flagged) if lasts_ns >= LATE_S * 1e9 else []
        self._late.clear()
        self._lateness += (max(0.0, excess) - self._lateness) / _LATENESS_BLOCKS
        is_next_second = self._keep(at_s, missing)
        self.certain = stamp.position
        return self._crept_in() if is_next_second else []

    def _tolerance(self, flagged: bool) -> float:
        """Frames."""
        if flagged:
            return FLAGGED_S * self._rate_hz
        return max(TOLERANCE_S * self._rate_hz, 3 * self._lateness)

    def _settle(self, stamp: Stamp) -> None:
        """Count from the newest block, until the stream is old enough."""
        self._began_ns = self._began_ns or stamp.at_ns
        self.settled = stamp.at_ns - self._began_ns >= SETTLE_S * 1e9
        self._first, self._second, self._ground = stamp, None, None
        self.opened_ns = stamp.at_ns - round(stamp.n_delivered / self._rate_hz * 1e9)

    def time_ns(self, n_frames: int) -> int:
        """When the frame came before which there are so many, lost ones included; now or lately.

        Monotonic, in ns; by the floor, so that lateness of single blocks does not count.
        """
        n_after = n_frames - self._first.n_delivered
        if self._second is None:
            return self._first.at_ns + round(n_after / self._rate_hz * 1e9)
        then_s, _ = self._second
        at_s = (n_after + self._expected(then_s, 0.0)) / self._rate_hz
        return self._first.at_ns + round(at_s * 1e9)

    def close(self) -> list[Loss]:
        """The stream ended: what was late is lost now."""
        losses = []
        while self._late:
            losses += self._book(flagged=False)
        return losses

    def _book(self, flagged: bool) -> list[Loss]:
        """What all late blocks have in common is lost; what some have beyond is looked at again."""
        late, self._late = self._late, []
        n_frames = round(min(self._against_clock(stamp)[2] for stamp in late))
        losses = [Loss(self.certain, n_frames, flagged)]
        self._n_lost += n_frames
        for stamp in late:
            losses += self.observe(stamp)
        return losses

    def _against_clock(self, stamp: Stamp) -> tuple[float, float, float]:
        """Seconds since the count began, frames missing by the clock, and above the floor."""
        at_s = (stamp.at_ns - self._first.at_ns) * 1e-9
        n_came = stamp.n_delivered - self._first.n_delivered + self._n_lost
        missing = at_s * self._rate_hz - n_came
        return at_s, missing, missing - self._expected(at_s, missing)

    def _expected(self, at_s: float, otherwise: float) -> float:
        """The floor so far, carried on to now."""
        per_s = self.drift * self._rate_hz
        floors = [*self._floors, *([self._second] if self._second else [])]
        return min((low + per_s * (at_s - then_s) for then_s, low in floors), default=otherwise)

    def _keep(self, at_s: float, missing: float) -> bool:
        """Take note of what is missing by the clock; whether another second has begun."""
        if self._second is None or int(at_s) == int(self._second[0]):
            if self._second is None or missing < self._second[1]:
                self._second = at_s, missing
            return False
        then_s, low = self._second
        self._drift.add(then_s, low / self._rate_hz)
        self._floors.append(self._second)
        self._second = at_s, missing
        return True

    def _crept_in(self) -> list[Loss]:
        """What the floor rose beyond any drift, if that is enough to be sure; booked here."""
        then_s, low = self._floors[-1]
        ground_s, ground = self._ground or (then_s, low)
        ground = min(low, ground + MAX_DRIFT * self._rate_hz * (then_s - ground_s))
        self._ground = then_s, ground
        n_frames = round(min(low for _, low in self._floors) - ground)
        if n_frames < CREEP_S * self._rate_hz:
            return []
        self._n_lost += n_frames
        self._floors = deque(((at, low - n_frames) for at, low in self._floors), maxlen=FLOOR_S)
        if self._second is not None:
            self._second = self._second[0], self._second[1] - n_frames
        return [Loss(self.certain, n_frames, flagged=False)]


class _Drift:
    """Slope of the floor by least squares with fading memory; losses are booked, so it is one line.

    Weighted sums about the newest point, so that no large numbers cancel.
    """

    def __init__(self) -> None:
        self._last_s = 0.0
        self._last = 0.0
        self._w = self._t = self._tt = self._y = self._ty = 0.0

    def add(self, at_s: float, value_s: float) -> None:
        shift, rise = at_s - self._last_s, value_s - self._last
        self._last_s, self._last = at_s, value_s
        if abs(rise - self.value * shift) > _STEP_S + MAX_DRIFT * shift:
            rise = self.value * shift
        fade = 0.5 ** (shift / _FIT_S)
        w, t, tt, y, ty = self._w, self._t, self._tt, self._y, self._ty
        self._w = fade * w + 1
        self._t = fade * (t - shift * w)
        self._tt = fade * (tt - 2 * shift * t + shift * shift * w)
        self._y = fade * (y - rise * w)
        self._ty = fade * (ty - rise * t - shift * (y - rise * w))

    @property
    def value(self) -> float:
        spread = self._w * self._tt - self._t * self._t
        if self._w < FLOOR_S or spread <= 0:
            return 0.0
        slope = (self._w * self._ty - self._t * self._y) / spread
        return max(-MAX_DRIFT, min(MAX_DRIFT, slope))
