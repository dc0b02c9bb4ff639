"""Thresholds do what they were asked for, counted anew on the clips they were fitted on."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.spec import WindowSpec
from export.targets import (
    Background,
    Targeted,
    count_detections,
    false_alarm_thresholds,
    hours_of,
    precision_thresholds,
)
from export.thresholds import IN_GAP, MARGIN, MIN_CLIPS, Thresholds
from export.tokens import ClipTokens

EACH = WindowSpec(window_chunks=1, hop_chunks=1, refractory_s=0.0)
few = settings(max_examples=40)


def precise(present: Sequence[float], absent: Sequence[float], wanted: float) -> Targeted:
    highest = np.array([*present, *absent])[:, None]
    targets = np.array([1] * len(present) + [0] * len(absent), np.float32)[:, None]
    return precision_thresholds(highest, targets, ["owl"], wanted)


def test_smallest_threshold_of_the_precision_is_taken() -> None:
    """Above 3 there are 3 of 3, above 2 (one wrong, one right more) 4 of 5, above 0 4 of 7."""
    present, absent = [2.5, 4, 5, 6], [0, 1, 3]
    assert precise(present, absent, 0.9).thresholds.on[0] == pytest.approx(3 + IN_GAP)
    assert precise(present, absent, 0.8).thresholds.on[0] == pytest.approx(1 + IN_GAP * 1.5)
    assert precise(present, absent, 0.5).thresholds.on[0] == 0


def test_one_lucky_clip_is_no_precision() -> None:
    """The loudest clip holds the class, as do 3 of the 5 loudest, the fewest that count."""
    found = precise([1, 2, 9], [0, 3, 4], 0.9)
    assert found.thresholds.on[0] == pytest.approx(IN_GAP)
    assert "out of reach on held-out clips of owl (60%)" in found.warnings[0]


def test_few_clips_cannot_tell_a_high_precision() -> None:
    assert (
        "takes 20 clips above the threshold to tell; there are fewer of owl"
        in (precise([5] * 18, [0, 1], 0.95).warnings[0])
    )
    assert precise([5] * 20, [0, 1], 0.95).warnings == ()


def test_rare_class_is_named_and_takes_the_median() -> None:
    highest = np.array([[5.0, 9], [6, 0], [7, 0], [0, 0], [1, 0]])
    targets = np.array([[1, 1], [1, 0], [1, 0], [0, 0], [0, 0]], np.float32)
    found = precision_thresholds(highest, targets, ["owl", "wren"], 0.5)
    assert found.thresholds.on[1] == found.thresholds.on[0]
    assert f"fewer than {MIN_CLIPS} held-out clips of wren" in found.warnings[-1]


@few
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.99))
def test_precision_is_met_or_missed_aloud(seed: int, wanted: float) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((40, 1)) < 0.4).astype(np.float32)
    targets[:4, 0] = [1, 1, 1, 0]
    highest = (rng.normal(size=targets.shape) + 1.5 * targets).round(1)
    found = precision_thresholds(highest, targets, ["owl"], wanted)
    accepted = highest[:, 0] >= found.thresholds.on[0]
    reached = targets[accepted, 0].mean()
    assert targets[accepted, 0].sum() >= MIN_CLIPS
    assert found.thresholds.off[0] < found.thresholds.on[0]
    missed = any("out of reach" in line for line in found.warnings)
    assert missed == (reached < wanted)
    for lower in highest[highest < found.thresholds.on[0]]:
        assert targets[highest[:, 0] >= lower, 0].mean() < (reached if missed else wanted)


def quiet(wanted: float, unseen: NDArray, shipped: NDArray, hours: float) -> Targeted:
    """Of one class, whose clips reach 10 where all others reach 9."""
    highest = np.array([[10.0], [10], [10], [9], [9]])
    targets = np.array([[1], [1], [1], [0], [0]], np.float32)
    background = Background([unseen[:, None]], [shipped[:, None]], hours)
    return false_alarm_thresholds(
        background, highest, targets, ["owl"], windows=EACH, chunk_s=1.0, per_hour=wanted
    )


def test_as_many_alarms_as_asked_for() -> None:
    """Peaks of 5, 4, 3, 2 and 1, six windows apart: each is an alarm.

    At a threshold of 0 they are a single one that never ends, which is not what was asked for.
    """
    peaks = np.zeros(30)
    peaks[::6] = [5, 1, 4, 2, 3]
    lower = peaks - 1
    for wanted, expected in ((1, 5), (2, 4), (4, 2)):
        found = quiet(wanted, peaks, lower, hours=1.0)
        assert found.thresholds.on[0] == expected
        assert quiet(wanted, lower, peaks, hours=1.0).thresholds.on[0] == expected
        assert found.warnings == ()
    assert quiet(1, peaks * np.nan, lower, hours=1.0).thresholds.on[0] == 4


def test_background_too_short_for_the_rate_is_stayed_above() -> None:
    found = quiet(1, np.array([1.0, 2, 4]), np.array([5.0, 2, 1]), hours=0.9)
    assert found.thresholds.on[0] == pytest.approx(5 + MARGIN * (10 - 5))
    assert "0.90 h of background clips are too few to show 1 false alarms" in found.warnings[0]


def test_class_that_is_lost_is_named() -> None:
    found = quiet(0, np.array([20.0]), np.array([20.0]), hours=1.0)
    assert "no held-out clip of owl is detected" in found.warnings[-1]


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.0, 2.0]))
def test_rate_is_met_by_the_detector(seed: int, wanted: int, refractory_s: float) -> None:
    rng = np.random.default_rng(seed)
    unseen, shipped = ([rng.normal(size=(n, 2)) for n in rng.integers(1, 130, 3)] for _ in "ab")
    unseen[0][:, 1] = np.nan
    windows = WindowSpec(2, 1, refractory_s)
    targets = np.array([[1, 0]] * 4 + [[0, 0]] * 4, np.float32)
    highest = rng.normal(size=targets.shape)
    background = Background(unseen, shipped, hours=1.0)
    found = false_alarm_thresholds(
        background, highest, targets, ["owl", "wren"],
        windows=windows, chunk_s=1.0, per_hour=wanted,
    ).thresholds  # fmt: skip

    def n_alarms(on: NDArray) -> NDArray:
        asked = Thresholds(on, on - (found.on - found.off))
        counts = [count_detections(part, asked, windows, 1.0) for part in (unseen, shipped)]
        return np.asarray(np.max(counts, axis=0))

    assert (n_alarms(found.on) <= wanted).all()
    assert (found.off < found.on).all()
    reached = np.concatenate(unseen + shipped)
    lower = np.where(reached < found.on, reached, -np.inf)
    assert ((n_alarms(lower.max(axis=0)) > wanted) | np.isinf(lower).all(axis=0)).all()


def test_class_that_never_falls_silent_counts_once_a_minute() -> None:
    thresholds = Thresholds(np.array([1.0, 1.0, 1.0]), np.zeros(3))
    ten_minutes = np.tile([5.0, -5.0, np.nan], (600, 1))
    assert count_detections([ten_minutes], thresholds, EACH, 1.0).tolist() == [10, 0, 0]
    assert count_detections([ten_minutes] * 2, thresholds, EACH, 1.0).tolist() == [20, 0, 0]


def test_padding_is_no_audio() -> None:
    valid = np.ones((2, 4), bool)
    valid[1, 1:] = False
    clip = ClipTokens(np.zeros((2, 4, 3), np.float16), valid)
    assert hours_of([clip, clip], chunk_s=720.0) == pytest.approx(2 * 1.25 * 0.2)
