"""Thresholds for a stated target: a precision, or false alarms per hour of background.

**Precision**: the smallest threshold above which at least that share of the held-out clips holds
the class, `MIN_CLIPS` of them at least; then down into the gap below it, as in
`export.thresholds`. The share is that among the clips; in the field it is another where calls are
rarer.

**False alarms**: the smallest threshold, coming from above, at which the detections on the
background clips, per hour, stay within the target, both under the heads that never heard the clip
and under the one that is shipped. They are counted by the detector of the recorder, no run longer
than `STRETCH_S`. Where the clips are too short to show the rate (one detection would already be
too many), the threshold lies above all that background reached by `MARGIN` of the way to the
median clip of the class.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from edge_probe.detect import Box, Detector
from edge_probe.spec import WindowSpec
from export.detection_rate import STRETCH_S
from export.thresholds import MARGIN, MIN_CLIPS, Thresholds, hysteresis, into_gap, with_medians
from export.tokens import ClipTokens

_NO_BOX = Box(0.0, 0.0, None, None)


@dataclass(frozen=True, slots=True)
class Targeted:
    """Thresholds, and what the target could not have."""

    thresholds: Thresholds
    warnings: tuple[str, ...] = ()
    """One line each."""


@dataclass(frozen=True, slots=True)
class Background:
    """What heads make of the background clips, window by window."""

    unseen: list[NDArray[np.float64]]
    """(n_windows, C) of each clip, under a head that never heard it; NaN where that head knew no
    clip of the class."""
    shipped: list[NDArray[np.float64]]
    """The same under the head that is shipped."""
    hours: float

    @property
    def highest(self) -> NDArray[np.float64]:
        """Of any window under either head: (C,)."""
        loudest: NDArray[np.float64] = np.fmax.reduce(np.concatenate(self.unseen + self.shipped))
        return loudest


def hours_of(clips: Sequence[ClipTokens], chunk_s: float) -> float:
    """Length of clips, by their valid tokens."""
    n_chunks = sum(float(clip.valid.mean(axis=1).sum()) for clip in clips)
    return n_chunks * chunk_s / 3600


def precision_thresholds(
    highest: NDArray[np.float64],
    targets: NDArray[np.float32],
    labels: Sequence[str],
    precision: float,
) -> Targeted:
    """Smallest thresholds with a held-out precision.

    A class that reaches it nowhere takes the threshold of its highest precision; one with fewer
    than `MIN_CLIPS` held-out clips that of the median of the others. Warnings name both, and the
    classes of which too few clips are accepted for one error to be within the target.

    Parameters
    ----------
    highest, targets
        As for `export.thresholds.fit_thresholds`.
    labels : sequence of str
        C labels.
    precision : float
        In (0, 1).
    """
    n_classes = targets.shape[1]
    on, off = np.full(n_classes, np.nan), np.full(n_classes, np.nan)
    reached, accepted = np.full(n_classes, np.nan), np.zeros(n_classes)
    for label in range(n_classes):
        judged, present = _judged(highest[:, label], targets[:, label])
        if present.sum() >= MIN_CLIPS and not present.all():
            cut, reached[label], accepted[label] = _cut_at_precision(judged, present, precision)
            on[label] = into_gap(cut, judged)
            off[label] = on[label] - hysteresis(judged, present)
    below = reached < precision
    few = ~np.isnan(on) & ~below & (accepted * (1 - precision) < 1)
    warnings = []
    if below.any():
        found = ", ".join(f"{labels[int(i)]} ({reached[i]:.0%})" for i in np.flatnonzero(below))
        warnings.append(
            f"a precision of {precision:.0%} is out of reach on held-out clips of {found}: "
            "their thresholds are those of the highest"
        )
    if few.any():
        warnings.append(
            f"a precision of {precision:.0%} takes {math.ceil(1 / (1 - precision))} clips above "
            f"the threshold to tell; there are fewer of {_names(labels, few)}"
        )
    if np.isnan(on).any():
        warnings.append(
            f"fewer than {MIN_CLIPS} held-out clips of {_names(labels, np.isnan(on))}: their "
            "thresholds were not chosen for the target"
        )
    return Targeted(with_medians(on, off), tuple(warnings))


def false_alarm_thresholds(
    background: Background,
    highest: NDArray[np.float64],
    targets: NDArray[np.float32],
    labels: Sequence[str],
    *,
    windows: WindowSpec,
    chunk_s: float,
    per_hour: float,
) -> Targeted:
    """Smallest thresholds within a rate of detections on background.

    Parameters
    ----------
    background : Background
        Of one clip at least.
    highest, targets
        As for `export.thresholds.fit_thresholds`; they say how far ``off`` lies below ``on``.
    labels : sequence of str
        C labels.
    windows : WindowSpec
    chunk_s : float
    per_hour : float
        Detections of each class per hour of background.
    """
    typical, gap = _typical(highest, targets)
    allowed = math.floor(per_hour * background.hours + 1e-9)
    warnings = []
    if allowed == 0:
        on = background.highest + MARGIN * np.fmax(typical - background.highest, 1.0)
        warnings.append(
            f"{background.hours:.2f} h of background clips are too few to show {per_hour:g} false "
            "alarms per hour: thresholds lie above all that they reached"
        )
    else:
        on = _smallest_within(background, gap, allowed, windows, chunk_s)
    heard = np.where((targets > 0) & ~np.isnan(highest), highest >= on, np.nan)
    missed = np.any(heard == 0, axis=0) & ~np.any(heard == 1, axis=0)
    if missed.any():
        warnings.append(
            f"at {per_hour:g} false alarms per hour no held-out clip of {_names(labels, missed)} "
            "is detected"
        )
    return Targeted(Thresholds(on, on - gap), tuple(warnings))


def count_detections(
    sounds: Sequence[NDArray[np.float64]],
    thresholds: Thresholds,
    windows: WindowSpec,
    chunk_s: float,
) -> NDArray[np.int64]:
    """Detections on sounds as the recorder's detector finds them.

    Parameters
    ----------
    sounds : sequence of (n_windows, C) float64
        Logits; NaN is never detected. A sound is cut into runs of `STRETCH_S`.
    thresholds : Thresholds
    windows : WindowSpec
    chunk_s : float

    Returns
    -------
    (C,) int64
    """
    hop_s = windows.hop_chunks * chunk_s
    longest = math.ceil(max(STRETCH_S, windows.window_chunks * chunk_s) / hop_s)
    counts = np.zeros(len(thresholds.on), np.int64)
    for logits in sounds:
        for begin in range(0, len(logits), longest):
            detector = Detector(thresholds.on, thresholds.off, hop_s, windows.refractory_s)
            rows = enumerate(logits[begin : begin + longest])
            found = [each for index, row in rows for each in detector.push(index, row, _no_box)]
            for detection in found + detector.finish():
                counts[detection.class_index] += 1
    return counts


def _smallest_within(
    background: Background,
    gap: NDArray[np.float64],
    allowed: int,
    windows: WindowSpec,
    chunk_s: float,
) -> NDArray[np.float64]:
    """Go down each class's window logits until there are too many detections, then bisect.

    Their number does not only rise on the way: where ``off`` reaches what the class gives at rest,
    detections run into each other until one is left, of a class that is always on. So the search
    comes from above, the steps one window or 5 % of those above the threshold.
    """
    rows = np.concatenate(background.unseen + background.shipped)
    rows = -np.sort(-np.where(np.isnan(rows), np.fmin.reduce(rows), rows), axis=0)
    candidates = np.concatenate([np.nextafter(rows[:1], np.inf), rows])
    classes, n = np.arange(rows.shape[1]), len(candidates)
    good, bad = np.zeros(len(classes), np.int64), np.full(len(classes), n)
    while (bad - good > 1).any():
        step_down = np.minimum(good + 1 + good // 20, n - 1)
        trial = np.where(bad == n, step_down, (good + bad) // 2)
        on = candidates[trial, classes]
        found = np.maximum(*(
            count_detections(sounds, Thresholds(on, on - gap), windows, chunk_s)
            for sounds in (background.unseen, background.shipped)
        ))  # fmt: skip
        good = np.where(found <= allowed, trial, good)
        bad = np.where(found > allowed, trial, bad)
    chosen: NDArray[np.float64] = candidates[good, classes]
    return chosen


def _cut_at_precision(
    logits: NDArray[np.float64], present: NDArray[np.bool_], wanted: float
) -> tuple[float, float, float]:
    """Threshold on a logit, its precision, and the number of clips at or above it."""
    precision, recall, candidates = precision_recall_curve(present, logits)
    precision, right = precision[:-1], np.rint(recall[:-1] * present.sum())
    open_to_all = right >= MIN_CLIPS
    enough = np.flatnonzero(open_to_all & (precision >= wanted))
    best = enough[0] if enough.size else np.argmax(np.where(open_to_all, precision, -1.0))
    return float(candidates[best]), float(precision[best]), float(right[best] / precision[best])


def _typical(
    highest: NDArray[np.float64], targets: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median logit of each class's clips, NaN if too few, and its hysteresis: (C,), (C,)."""
    typical, gap = np.full((2, targets.shape[1]), np.nan)
    for label in range(targets.shape[1]):
        judged, present = _judged(highest[:, label], targets[:, label])
        if present.sum() >= MIN_CLIPS and not present.all():
            typical[label] = np.median(judged[present])
            gap[label] = hysteresis(judged, present)
    known = ~np.isnan(gap)
    return typical, np.where(known, gap, np.median(gap[known]) if known.any() else 1.0)


def _judged(
    logits: NDArray[np.float64], targets: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Known logits of a class, and which are of clips that hold it."""
    known = ~(np.isnan(logits) | np.isnan(targets))
    return logits[known], targets[known] > 0


def _names(labels: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    return ", ".join(label for label, yes in zip(labels, chosen, strict=True) if yes)


def _no_box(_: int) -> Box:
    return _NO_BOX
