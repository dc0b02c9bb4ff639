"""How a box compares with where the sound really was, and with the best that its tokens allow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from edge_probe.classify import Event
from edge_probe.spec import EncoderSpec

Span = tuple[float, float]
"""Begin and end in seconds."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One that was planted."""

    label: str
    start_s: float
    end_s: float
    n_syllables: int = 1
    hz: float | None = None
    """Of a tone."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of the box of one sound."""

    iou: float
    grid_iou: float
    """Of the consecutive columns that fit best: no box can have more."""
    window_iou: float
    """Of the window in which it was heard: what a box without tokens would be."""
    onset_s: float
    """Begin of the box minus that of the sound."""
    offset_s: float
    outside_octaves: float | None
    """From the tone to the box's band; 0: it is within."""
    band_octaves: float | None
    """Height of the band."""


def iou(a: Span, b: Span) -> float:
    """Intersection over union of two spans of time."""
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (a[1] - a[0] + b[1] - b[0] - common)


def columns(spec: EncoderSpec, span: Span) -> NDArray[np.float64]:
    """Begin and end, (n, 2), of the token columns in and around a span of time; none before 0."""
    first, last = (int(at // spec.chunk_s) + step for at, step in zip(span, (-1, 1), strict=True))
    within = spec.grid.columns_samples() / spec.sample_rate_hz
    chunks = np.arange(max(0, first), last + 1) * spec.chunk_s
    return np.maximum((chunks[:, None, None] + within).reshape(-1, 2), 0.0)


def grid_iou(spec: EncoderSpec, span: Span) -> float:
    """The largest that any union of consecutive columns has."""
    found = columns(spec, span)
    return max(
        iou((begin, end), span) for n, (begin, _) in enumerate(found) for _, end in found[n:]
    )


def scores(
    sounds: Sequence[Sound], events: Iterable[Event], spec: EncoderSpec, window_s: float
) -> tuple[list[Score | None], int]:
    """Score the detection of each sound.

    Of the detections of its class whose best window touches a sound, the one with the largest
    logit is its own.

    Returns
    -------
    scores : list of Score or None
        None: nobody heard it.
    n_elsewhere : int
        Detections whose best window touches no sound of their class.
    """
    found = list(events)
    windows = [(event.window_start_s, event.window_start_s + window_s) for event in found]
    touched: set[int] = set()
    told: list[Score | None] = []
    for sound in sounds:
        span = sound.start_s, sound.end_s
        own = [
            n
            for n, event in enumerate(found)
            if event.label.text == sound.label and iou(windows[n], span) > 0
        ]
        touched.update(own)
        best = max(own, key=lambda n: found[n].logit, default=None)
        told.append(None if best is None else _score(sound, found[best], windows[best], spec))
    return told, len(found) - len(touched)


def _score(sound: Sound, event: Event, window: Span, spec: EncoderSpec) -> Score:
    span, box = (sound.start_s, sound.end_s), (event.start_s, event.end_s)
    outside = octaves = None
    if sound.hz is not None and event.low_hz is not None and event.high_hz is not None:
        low, high = max(event.low_hz, 1.0), event.high_hz
        nearest = min(max(sound.hz, low), high)
        outside, octaves = abs(log2(sound.hz / nearest)), log2(high / low)
    return Score(
        iou(box, span), grid_iou(spec, span), iou(window, span), box[0] - span[0],
        box[1] - span[1], outside, octaves,
    )  # fmt: skip


def figures(told: Sequence[Score | None], n_elsewhere: int) -> dict[str, object]:
    """Of many boxes; errors in milliseconds."""
    heard = [score for score in told if score is not None]
    row: dict[str, object] = {
        "n": len(told),
        "n_missed": len(told) - len(heard),
        "n_apart": sum(1 for score in heard if score.iou == 0),
        "n_elsewhere": n_elsewhere,
    }
    for name in ("iou", "grid_iou", "window_iou"):
        row[name] = spread([getattr(score, name) for score in heard], 1, 3)
    row["onset_ms"] = spread([score.onset_s for score in heard], 1000, 0)
    row["offset_ms"] = spread([score.offset_s for score in heard], 1000, 0)
    outside = [score.outside_octaves for score in heard if score.outside_octaves is not None]
    if outside:
        row["outside_octaves"] = spread(outside, 1, 2)
        row["tone_in_band"] = round(outside.count(0) / len(outside), 3)
        row["band_octaves"] = spread([score.band_octaves or 0 for score in heard], 1, 2)
    return row


def spread(values: Sequence[float], scale: float, digits: int) -> dict[str, float]:
    """Median and quartiles."""
    quartiles = np.percentile(np.array(values) * scale, (50, 25, 75)).round(digits)
    return dict(zip(("median", "low", "high"), quartiles.tolist(), strict=True))
