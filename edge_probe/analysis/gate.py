"""An activity gate before the encoder: whether anything in a band is louder than usual.

Off unless asked for. What it decides about a chunk is a function of the run alone: of its place, of
that chunk's audio and of the minute before it, so that a death or a restart changes nothing.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.chunk import ChunkGrid
from edge_probe.disk.sample import drawn
from edge_probe.errors import EdgeProbeError

FRAME_S = 0.05
"""Whose levels are compared: a short call fills one."""

MIN_BAND_HZ = 2 / FRAME_S
"""Narrower, it may hold no line of a frame's spectrum, and everything would pass."""

MEMORY_S = 60.0
"""Of audio before a chunk that says what is usual."""

LEARNING_S = 10.0
"""As long as less than this is known, everything passes."""

USUAL = 0.2
"""Share of the frames that are below the usual level: it stays that of the background where as
much as four fifths of a minute are full of calls."""

HYSTERESIS_DB = 3.0
"""What a frame may fall below the level that opened the gate before it closes."""

PROBE_EVERY = 20
"""Of so many quiet chunks one is encoded all the same: what is found there, a closed gate misses.
They are drawn: with every twentieth place, recordings of a minute by schedule would have none, as
their first chunks pass."""

_AT_ONCE = 20
"""Frames whose spectra are in memory together: those of a long chunk are six times the chunk."""

_log = logging.getLogger(__name__)

_FLOOR = np.float32(1e-12)
"""Power, below which digital silence is not told from silence."""

Verdict = Literal["open", "gated", "probe"]
"""Something is heard; it is not; it is not, but this chunk is drawn."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """How a gate listens."""

    open_db: float
    """Above the usual level of its band."""
    low_hz: float = 1_000.0
    high_hz: float = 8_000.0

    def check(self, model_rate_hz: int) -> None:
        """Refuse a band in which an encoder hears nothing, or no line of a spectrum lies.

        Raises
        ------
        EdgeProbeError
        """
        if not self.low_hz + MIN_BAND_HZ <= self.high_hz <= model_rate_hz / 2:
            raise EdgeProbeError(
                f"the gate listens from {self.low_hz:g} to {self.high_hz:g} Hz, expected a band of"
                f" {MIN_BAND_HZ:g} Hz or more below {model_rate_hz / 2:g} Hz, where the encoder"
                " hears",
                hint="give --gate-low and --gate-high",
            )


class Gate:
    """Which chunks of one channel of a run are worth encoding; asked in ascending order.

    Parameters
    ----------
    options : GateOptions
    grid : ChunkGrid
        Of the run.
    place : (int, int)
        Stream and first frame of the run: its probes are drawn by it.
    """

    def __init__(
        self, options: GateOptions, grid: ChunkGrid, place: tuple[int, int] = (0, 0)
    ) -> None:
        rate_hz = grid.native_rate_hz
        chunk_s = grid.chunk_samples / grid.model_rate_hz
        self._options, self._place = options, place
        shortest = grid.chunk_samples * rate_hz // grid.model_rate_hz
        self._size = max(1, min(round(FRAME_S * rate_hz), shortest))
        hz = np.fft.rfftfreq(self._size, 1 / rate_hz)
        self._band = (hz >= options.low_hz) & (hz <= options.high_hz)
        if not self._band.any():
            _log.warning(
                "audio at %d Hz has nothing of the gate's band: all of it is encoded", rate_hz
            )
        self._n_learning = LEARNING_S * rate_hz / self._size
        self._window = np.hanning(self._size).astype(np.float32)
        self._levels: deque[NDArray[np.float32]] = deque(maxlen=ceil(MEMORY_S / chunk_s) + 1)
        self._next_n = 0

    def verdict(
        self, n: int, samples: NDArray[np.float32], earlier: Callable[[int], NDArray[np.float32]]
    ) -> Verdict:
        """Whether to encode chunk n.

        Parameters
        ----------
        n : int
        samples : (k,) float32
            Of its tile, at the native rate.
        earlier : callable
            Gives the tile of an earlier chunk, none of it where it is lost; asked for those that
            went by without a verdict.
        """
        assert self._levels.maxlen is not None  # noqa: S101
        first = n + 1 - self._levels.maxlen
        for before in range(max(first, self._next_n, 0), n):
            self._levels.append(self._levels_db(earlier(before)))
        self._next_n = n + 1
        self._levels.append(self._levels_db(samples))
        if self._is_open():
            return "open"
        return "probe" if drawn(*self._place, n) < 1 / PROBE_EVERY else "gated"

    def _is_open(self) -> bool:
        """Whether any frame of the last chunk is, or too little is known of it or before it."""
        levels, n_own = np.concatenate(self._levels), len(self._levels[-1])
        n_before = len(levels) - n_own
        if not n_own or n_before < self._n_learning or not self._band.any():
            return True
        above_db = levels - np.quantile(levels, USUAL)
        # A frame is open from one that opens the gate to the first one that closes it.
        place = np.arange(len(levels))
        opened = np.maximum.accumulate(np.where(above_db >= self._options.open_db, place, -1))
        kept = above_db >= self._options.open_db - HYSTERESIS_DB
        closed = np.maximum.accumulate(np.where(kept, -1, place))
        return bool((opened > closed)[n_before:].any())

    def _levels_db(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the band, frame by frame; what is left over at the end is not looked at."""
        n_frames = len(samples) // self._size
        power = np.empty(n_frames, np.float32)
        frames = samples[: n_frames * self._size].reshape(n_frames, self._size)
        for first in range(0, n_frames, _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            spectrum = np.fft.rfft(frames[some] * self._window, axis=1)[:, self._band]
            power[some] = (spectrum.real**2 + spectrum.imag**2).sum(axis=1)
        levels: NDArray[np.float32] = 10 * np.log10(power + _FLOOR)
        return levels
