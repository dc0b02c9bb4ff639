"""Platt scaling finds what made the logits, and says where it cannot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from export.calibration import MIN_CLIPS, fit_platt

LABELS = ["owl", "wren"]


def sample(pairs: list[tuple[float, float]], n_clips: int) -> tuple[NDArray, NDArray]:
    """Logits, and classes drawn by the sigmoid of each pair of slope and intercept."""
    rng = np.random.default_rng(0)
    logits = rng.normal(1, 3, (n_clips, len(pairs)))
    slope, intercept = np.array(pairs).T
    return logits, (rng.random(logits.shape) < expit(slope * logits + intercept)).astype(np.float32)


def test_known_sigmoids_are_recovered() -> None:
    truth = [(0.5, -1.0), (2.0, 3.0)]
    found = fit_platt(*sample(truth, 20_000), LABELS)
    assert found.slope_intercept == pytest.approx(np.array(truth), rel=0.06)
    assert found.warnings == ()


def test_scores_are_as_often_right_as_they_say() -> None:
    logits, targets = sample([(0.5, -1.0)], 20_000)
    pairs = fit_platt(logits, targets, LABELS[:1]).slope_intercept
    assert pairs is not None
    scores = expit(pairs[0, 0] * logits[:, 0] + pairs[0, 1])
    for low in np.arange(0, 1, 0.2):
        inside = (scores >= low) & (scores < low + 0.2)
        assert targets[inside, 0].mean() == pytest.approx(scores[inside].mean(), abs=0.03)


def test_scikit_learn_agrees() -> None:
    """Soft targets as clips that stand on both sides with their weights."""
    logits, targets = sample([(1.0, -0.5)], 40)
    present = targets[:, 0] > 0
    weight = np.where(
        present, (present.sum() + 1) / (present.sum() + 2), 1 / ((~present).sum() + 2)
    )
    model = LogisticRegression(C=1e9, tol=1e-8)
    model.fit(
        np.concatenate([logits, logits]), np.repeat([1, 0], 40),
        sample_weight=np.concatenate([weight, 1 - weight]),
    )  # fmt: skip
    found = fit_platt(logits, targets, LABELS[:1]).slope_intercept
    expected = [[model.coef_[0, 0], model.intercept_[0]]]
    assert found == pytest.approx(np.array(expected), rel=1e-3)


@pytest.mark.parametrize("n_known", [MIN_CLIPS - 1, MIN_CLIPS])
def test_class_of_few_clips_takes_the_common_fit(n_known: int) -> None:
    logits, targets = sample([(1.0, 0.0), (1.0, 0.0)], 200)
    heard = np.flatnonzero(targets[:, 1])
    logits[heard[n_known:], 1] = np.nan
    found = fit_platt(logits, targets, LABELS)
    pairs = found.slope_intercept
    assert pairs is not None
    known = ~np.isnan(logits)
    together = fit_platt(logits[known][:, None], targets[known][:, None], ["all"]).slope_intercept
    assert together is not None
    own = fit_platt(logits[:, :1], targets[:, :1], LABELS[:1]).slope_intercept
    assert own is not None
    assert (pairs[0] == own[0]).all()
    assert (pairs[1] == together[0]).all() == (n_known < MIN_CLIPS)
    assert ["scores of wren are calibrated with those of all classes together" in line
            for line in found.warnings] == [True] * (n_known < MIN_CLIPS)  # fmt: skip


def test_falling_logits_are_not_turned_round() -> None:
    """A slope of -1 would call the least likely clips the most likely ones."""
    logits, targets = sample([(2.0, 0.0), (-0.5, 0.0)], 400)
    found = fit_platt(logits, targets, LABELS)
    assert found.slope_intercept is not None
    assert (found.slope_intercept[:, 0] > 0).all()
    assert "scores of wren" in found.warnings[0]
    alone = fit_platt(logits[:, 1:], targets[:, 1:], LABELS[1:])
    assert alone.slope_intercept is None
    assert alone.warnings == ("scores are not calibrated: too few held-out clips of wren",)


def test_unknown_pairs_count_for_nothing() -> None:
    logits, targets = sample([(1.0, 0.0)], 60)
    expected = fit_platt(logits, targets, LABELS[:1]).slope_intercept
    more = np.concatenate([logits, [[np.nan], [99.0]]])
    unknown = np.concatenate([targets, np.array([[1], [np.nan]], np.float32)])
    found = fit_platt(more, unknown, LABELS[:1]).slope_intercept
    np.testing.assert_array_equal(found, expected)
    assert fit_platt(logits * np.nan, targets, LABELS[:1]).slope_intercept is None


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
def test_slopes_are_positive_and_finite(seed: int, n_clips: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n_clips, 2)) < 0.4).astype(np.float32)
    logits = spread * (rng.normal(size=targets.shape) + rng.choice([0, 30]) * targets)
    found = fit_platt(logits, targets, LABELS)
    if found.slope_intercept is None:
        assert found.warnings
    else:
        assert np.isfinite(found.slope_intercept).all()
        assert (found.slope_intercept[:, 0] > 0).all()
