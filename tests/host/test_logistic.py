"""Logistic regression from an offset: scikit-learn agrees, and what is expected is near."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from export.logistic import fit_logistic

Sample = tuple[NDArray[np.float64], NDArray[np.float64]]


@pytest.fixture
def sample() -> Sample:
    """Inputs (200, 3), and classes drawn by known weights."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3))
    return inputs, (rng.random(200) < expit(inputs @ [2.0, -1.0, 0.0])).astype(np.float64)


@pytest.mark.parametrize("expected", [0.1, 1.0, 10.0])
def test_scikit_learn_agrees(expected: float, sample: Sample) -> None:
    model = LogisticRegression(C=expected**2, fit_intercept=False, tol=1e-8).fit(*sample)
    assert fit_logistic(*sample, expected=expected) == pytest.approx(model.coef_[0], abs=1e-3)


def test_logits_that_are_there_count(sample: Sample) -> None:
    inputs, _ = sample
    there = np.array([1.0, 1.0, -3.0])
    whole = fit_logistic(*sample)
    assert fit_logistic(*sample, offset=inputs @ there) == pytest.approx(whole - there, abs=1e-2)


def test_what_is_right_already_stays(sample: Sample) -> None:
    inputs, _ = sample
    offset = inputs @ [2.0, -1.0, 0.0]
    assert fit_logistic(inputs, expit(offset), offset) == pytest.approx(np.zeros(3), abs=1e-4)


def test_without_examples_nothing_moves() -> None:
    assert not fit_logistic(np.zeros((0, 2)), np.zeros(0), expected=3.0).any()
