"""Precision and recall from samples: right where the truth is known, careful where it is not."""

from fractions import Fraction
from math import asin, comb, exp, isnan, lgamma, log, log1p, pi, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulated_reviews import LABEL, SCENES, deployments

from edge_probe.desk.beta import beta_cdf, beta_quantile
from edge_probe.desk.validation import Review, Share, either, threshold_for, validate
from edge_probe.errors import EdgeProbeError

N_DEPLOYMENTS = 1000
COVERED = 0.93


def reviews(verdicts: str, logits: list[float], probability: float = 0.1) -> list[Review]:
    """One window a letter: c for correct, w for wrong, u for unsure, o for other."""
    names = {"c": "correct", "w": "wrong", "u": "unsure", "o": "other"}
    return [
        Review(n, LABEL, names[letter], probability, logit)
        for n, (letter, logit) in enumerate(zip(verdicts, logits, strict=True))
    ]


def one(found: list[Review], threshold: float = 0.0) -> tuple[Share, Share]:
    (validation,) = validate(found, {LABEL: threshold})
    return validation.precision, validation.recall


def test_limits_cover_the_truth_of_simulated_deployments() -> None:
    """Seeded: a number that can be missed by chance is missed always or never."""
    each = -(-N_DEPLOYMENTS // len(SCENES))
    told: dict[tuple[str, str], list[bool]] = {}
    for seed, (name, scene) in enumerate(SCENES.items()):
        for made in deployments(scene, each, seed):
            shares = one(made.reviews, scene.threshold)
            truths = made.precision(scene.threshold), made.recall(scene.threshold)
            for kind, share, truth in zip(("precision", "recall"), shares, truths, strict=True):
                if share.estimate is not None and not isnan(truth):
                    told.setdefault((name, kind), []).append(share.low <= truth <= share.high)
    assert sum(map(len, told.values())) >= 1.9 * N_DEPLOYMENTS
    rates = {key: sum(hits) / len(hits) for key, hits in told.items()}
    assert min(rates.values()) >= COVERED, rates


def test_a_threshold_for_a_precision_keeps_it() -> None:
    scene = SCENES["common, well told"]
    found = [(made, threshold_for(made.reviews, LABEL, 0.9)) for made in deployments(scene, 20, 9)]
    kept = [made.precision(at) >= 0.9 for made, at in found if at is not None]
    assert len(kept) >= 15
    assert sum(kept) >= COVERED * len(kept)


def test_equal_weights_give_the_limits_of_clopper_and_pearson() -> None:
    """8 of 10: 0.444 to 0.975, as in tables of the binomial distribution."""
    precision, recall = one(reviews("c" * 8 + "ww", [1.0] * 10))
    assert precision == pytest.approx((0.8, 0.4439, 0.9748), abs=1e-4)
    assert recall.estimate == 1.0


def test_a_window_counts_as_many_as_it_stands_for() -> None:
    found = [
        Review("a", LABEL, "correct", 0.5, 1.0),
        Review("b", LABEL, "wrong", 0.1, 1.0),
        Review("c", LABEL, "other", 0.25, 1.0),
        Review("d", LABEL, "correct", 0.05, -1.0),
        Review("e", LABEL, "unsure", 0.05, -1.0),
        Review("f", "Robin", "correct", 0.05, -1.0),
    ]
    precision, recall = one(found)
    assert precision.estimate == pytest.approx(2 / (2 + 10 + 4))
    assert recall.estimate == pytest.approx(2 / (2 + 20))
    (validation,) = validate(found, {LABEL: 0.0})
    counts = validation.n_reviewed, validation.n_present, validation.n_detected, validation.n_unsure
    assert counts == (4, 2, 3, 1)


def test_nothing_missed_among_heavy_windows_does_not_prove_that_nothing_is() -> None:
    """One window in a hundred was heard below the threshold, one in ten above it."""
    above = [Review(n, LABEL, "correct", 0.1, 1.0) for n in range(50)]
    below = [Review(100 + n, LABEL, "wrong", 0.01, -1.0) for n in range(50)]
    _, recall = one([*above, *below])
    assert recall.estimate == recall.high == 1.0
    assert recall.low == pytest.approx(500 / (500 + 3.7 * 100), abs=0.06)
    _, unheard = one(above)
    assert unheard == (1.0, 0.0, 1.0), "nobody listened below the threshold"


def test_what_nobody_heard_has_no_estimate() -> None:
    precision, recall = one(reviews("ww", [-1.0, -2.0]))
    assert precision == recall == (None, 0.0, 1.0)
    assert validate([], {LABEL: 0.0}) == []
    assert threshold_for([], LABEL, 0.9) is None
    assert threshold_for(reviews("ccc", [1.0, 2.0, 3.0]), LABEL, 0.9) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("cwou"), st.floats(-3, 3), st.floats(0.01, 1)),
                max_size=30))  # fmt: skip
def test_limits_hold_the_estimate_and_the_order_does_not_matter(
    rows: list[tuple[str, float, float]],
) -> None:
    found = [reviews(v, [x], p)[0]._replace(window=n) for n, (v, x, p) in enumerate(rows)]
    told = validate(found, {LABEL: 0.0})
    for validation in told:
        for share in (validation.precision, validation.recall):
            assert 0 <= share.low <= share.high <= 1
            assert share.estimate is None or share.low <= share.estimate <= share.high
    for first, again in zip(told, validate([*found[::-1], *found], {LABEL: 0.0}), strict=True):
        assert again.n_reviewed == first.n_reviewed
        assert again.precision[1:] == pytest.approx(first.precision[1:])
        assert again.recall[1:] == pytest.approx(first.recall[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "maybe"}, "expected correct, wrong, other, unsure, found 'maybe'"),
        ({"probability": 0.0}, "a probability above 0 and up to 1, found 0.0"),
        ({"probability": float("nan")}, "a probability above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, object], message: str) -> None:
    review = reviews("c", [1.0])[0]._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(EdgeProbeError, match=message):
        validate([review], {})


def test_two_verdicts_on_one_window_are_refused() -> None:
    first, second = reviews("cw", [1.0, 1.0])
    with pytest.raises(EdgeProbeError, match="expected one review"):
        validate([first, second._replace(window=first.window)], {})


def test_a_window_of_two_samples_has_the_chance_of_either() -> None:
    assert either(0.01, 0.1) == pytest.approx(0.109)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.integers(0, 29), st.integers(1, 99))
def test_the_beta_distribution_is_that_of_the_binomial(n: int, k: int, percent: int) -> None:
    """P(at least k of n) = I_p(k, n - k + 1), in fractions."""
    k = 1 + k % n
    p = Fraction(percent, 100)
    exact = sum(comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
    assert beta_cdf(percent / 100, k, n - k + 1) == pytest.approx(float(exact), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 500), st.floats(0.01, 500), st.floats(0.001, 0.999))
def test_the_beta_distribution_of_any_shape(a: float, b: float, x: float) -> None:
    """By I_x(a + 1, b) = I_x(a, b) - x^a (1 - x)^b / (a B(a, b)): DLMF 8.17.20."""
    step = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a + 1) - lgamma(b))
    assert beta_cdf(x, a + 1, b) == pytest.approx(beta_cdf(x, a, b) - step, abs=1e-11)
    assert beta_cdf(x, 0.5, 0.5) == pytest.approx(2 / pi * asin(sqrt(x)), abs=1e-12)
    share = beta_cdf(x, a, b)
    if 1e-9 < share < 1 - 1e-9:
        assert beta_cdf(beta_quantile(share, a, b), a, b) == pytest.approx(share, abs=1e-9)
