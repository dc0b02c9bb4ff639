"""Detections: runs of windows above a threshold, and the box of what spoke for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import Head, WindowSummary
from edge_probe.spec import EncoderSpec
from edge_probe.window import Window


@dataclass(frozen=True, slots=True)
class Box:
    """Where in time and frequency a detection's evidence lies; seconds from the run's start."""

    start_s: float
    end_s: float
    low_hz: float | None
    high_hz: float | None


@dataclass(frozen=True, slots=True)
class Detection:
    """A maximal run of windows of one class."""

    class_index: int
    first_window: int
    last_window: int
    best_window: int
    logit: float
    """Largest logit of the run, reached first in `best_window`."""
    box: Box


@dataclass(slots=True)
class OpenDetection:
    """A run of windows of one class that has not ended yet."""

    first: int
    last: int
    below: int = 0
    """Windows below the off-threshold since ``last``."""
    best: int = -1
    logit: float = -np.inf
    box: Box | None = None
    """None until a window reaches the on-threshold."""


class Detector:
    """Logits of consecutive windows in, finished detections out.

    A run of windows at or above the off-threshold, bridged over pauses shorter than the
    refractory time, is a detection if one of its windows reached the on-threshold.

    Parameters
    ----------
    on, off : (C,) float64
        Thresholds as logits, ``off <= on``.
    hop_s : float
        Seconds from window to window.
    refractory_s : float
        Pauses (windows below ``off`` times ``hop_s``) shorter than this do not end a run.
    open_ : mapping of class index to OpenDetection
        What another one had `open`, where this one goes on.
    """

    def __init__(
        self,
        on: NDArray[np.float64],
        off: NDArray[np.float64],
        hop_s: float,
        refractory_s: float,
        open_: Mapping[int, OpenDetection] = MappingProxyType({}),
    ) -> None:
        self._on, self._off = on, off
        self._hop_s, self._refractory_s = hop_s, refractory_s
        self._open = {index: replace(run) for index, run in open_.items()}

    @property
    def open(self) -> Mapping[int, OpenDetection]:
        """Runs of windows that have not ended yet, by class index."""
        return self._open

    def push(
        self, index: int, logits: NDArray[np.float64], box_of: Callable[[int], Box]
    ) -> list[Detection]:
        """Take the logits of window ``index``.

        Parameters
        ----------
        index : int
            Number of the window in its run.
        logits : (C,) float64
        box_of : callable
            Class index -> `Box` in this window; called for new maxima above threshold only.

        Returns
        -------
        list of Detection
            Those that this window ended, by ascending class index.
        """
        above = logits >= self._off
        ended = []
        for class_index in sorted({*np.flatnonzero(above).tolist(), *self._open}):
            if above[class_index]:
                run = self._open.setdefault(class_index, OpenDetection(index, index))
                run.last, run.below = index, 0
                logit = float(logits[class_index])
                if logit >= self._on[class_index] and logit > run.logit:
                    run.best, run.logit, run.box = index, logit, box_of(class_index)
            else:
                run = self._open[class_index]
                run.below += 1
                if run.below * self._hop_s >= self._refractory_s:
                    ended += self._close(class_index)
        return ended

    def finish(self) -> list[Detection]:
        """End the run: what is still open."""
        return [found for class_index in sorted(self._open) for found in self._close(class_index)]

    def _close(self, class_index: int) -> list[Detection]:
        run = self._open.pop(class_index)
        if run.box is None:
            return []
        return [Detection(class_index, run.first, run.last, run.best, run.logit, run.box)]


def box_of(
    spec: EncoderSpec, head: Head, window: Window, merged: WindowSummary, class_index: int
) -> Box:
    """The union of the tokens that explain half of what speaks for a class.

    Tokens past the end of the audio are left out; a head without a place for its evidence gives
    the whole window.
    """
    evidence = head.evidence(merged, class_index)  # type: ignore[arg-type]
    boxes = [box for place in evidence if (box := token_box(spec, window, *place)) is not None]
    if not boxes:
        first, end = _span_samples(spec, window)
        return Box(first / spec.sample_rate_hz, end / spec.sample_rate_hz, None, None)
    lows = [box.low_hz for box in boxes if box.low_hz is not None]
    highs = [box.high_hz for box in boxes if box.high_hz is not None]
    return Box(
        min(box.start_s for box in boxes),
        max(box.end_s for box in boxes),
        min(lows, default=None),
        max(highs, default=None),
    )


def token_box(spec: EncoderSpec, window: Window, position: int, token: int) -> Box | None:
    """Where one token of a window lies, cut to the audio.

    Parameters
    ----------
    spec : EncoderSpec
    window : Window
    position : int
        Of the token's chunk in the window.
    token : int
        Number in that chunk.

    Returns
    -------
    Box or None
        None for a token whose centre lies past the end of the audio.
    """
    grid = spec.grid
    first, end = _span_samples(spec, window)
    column, row = divmod(token, grid.n_freq)
    begin, stop = grid.columns_samples()[column] + first + position * spec.chunk_samples
    if (begin + stop) / 2 >= end:
        return None
    low_hz = high_hz = None
    if grid.n_freq > 1 and grid.band_edges_hz is not None:
        low_hz, high_hz = grid.band_edges_hz[row], grid.band_edges_hz[row + 1]
    rate = spec.sample_rate_hz
    return Box(max(float(begin), 0.0) / rate, min(float(stop), end) / rate, low_hz, high_hz)


def _span_samples(spec: EncoderSpec, window: Window) -> tuple[int, int]:
    """Begin and end of the audio of a window, in model-rate samples of its run."""
    first = window.first_chunk * spec.chunk_samples
    return first, first + (len(window.chunks) - 1) * spec.chunk_samples + window.n_valid_last
