"""Metrics: by hand, against torchmetrics and scipy, and what must not change them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score

from edge_probe.errors import EdgeProbeError
from export.metrics import _resampled, average_precision_intervals, quality, resampled_maps

nan = np.nan
few = settings(max_examples=40)


def drawn(data: st.DataObject, unknown: float = 0.2) -> tuple[NDArray, NDArray]:
    """Logits with ties and targets with unknowns."""
    shape = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(size=shape).round(data.draw(st.sampled_from([0, 8])))
    targets = (rng.random(shape) < 0.4).astype(float)
    targets[rng.random(shape) < unknown] = nan
    return logits, targets


def test_by_hand() -> None:
    """Class 0 is heard at ranks 1 and 3 of five, class 1 at ranks 1 and 2, class 2 never."""
    logits = [[4, 0, 1], [3, 5, 0], [2, 1, 0], [1, 2, 9], [0, 3, 0]]
    targets = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, nan]]
    found = quality(logits, np.array(targets))
    assert found.average_precision[:2] == pytest.approx([(1 + 2 / 3) / 2, 1])
    assert found.auroc[:2] == pytest.approx([5 / 6, 1])
    assert np.isnan(found.average_precision[2])
    assert found.counted.tolist() == [True, True, False]
    assert found.macro_map == pytest.approx((5 / 6 + 1) / 2)
    assert found.macro_auroc == pytest.approx((5 / 6 + 1) / 2)
    assert found.n_single_label == 3  # the fourth clip is background, of the fifth we know not all
    assert found.top_1 == 1


def test_a_wrong_name_costs_top_1() -> None:
    assert quality([[0, 1], [0, 1], [1, 0], [2, 1]], [[0, 1], [1, 0], [1, 0], [1, 1]]).top_1 == (
        pytest.approx(2 / 3)
    )


def test_nothing_to_count() -> None:
    """Neither always heard, nor never heard, nor unknown gives a figure."""
    found = quality(np.zeros((2, 3)), [[1, 0, nan], [1, 0, nan]])
    assert (found.macro_map, found.macro_auroc, found.top_1) == (None, None, None)
    assert not found.counted.any()
    intervals = average_precision_intervals(np.zeros((2, 3)), [[1, 0, nan], [1, 0, nan]])
    assert (intervals.macro_low, intervals.macro_high) == (None, None)
    assert not intervals.usable.any()
    assert quality(np.zeros((0, 2)), np.zeros((0, 2))).top_1 is None


@pytest.fixture(scope="module")
def torchmetrics() -> Any:
    return pytest.importorskip(
        "torchmetrics.functional.classification", reason="needs the extra dev"
    )


@few
@given(data=st.data())
def test_torchmetrics_agrees(torchmetrics: Any, data: st.DataObject) -> None:
    logits, targets = drawn(data)
    found = quality(logits, targets)
    for label in np.flatnonzero(found.counted):
        known = ~np.isnan(targets[:, label])
        # As scores in [0, 1]: torchmetrics takes a float32 sigmoid of others and makes new ties.
        rank = np.unique(logits[known, label], return_inverse=True)[1] / 32
        scores, truth = torch.from_numpy(rank), torch.from_numpy(targets[known, label]).int()
        precision = torchmetrics.binary_average_precision(scores, truth)
        auroc = torchmetrics.binary_auroc(scores, truth)
        assert found.average_precision[label] == pytest.approx(float(precision), abs=1e-6)
        assert found.auroc[label] == pytest.approx(float(auroc), abs=1e-6)
    single = (targets.sum(axis=1) == 1) & ~np.isnan(targets).any(axis=1)
    assert found.n_single_label == single.sum()
    if single.any() and logits.shape[1] > 1:
        top_1 = torchmetrics.multiclass_accuracy(
            torch.from_numpy(logits[single]), torch.from_numpy(targets[single].argmax(axis=1)),
            num_classes=logits.shape[1], average="micro",
        )  # fmt: skip
        assert found.top_1 == pytest.approx(float(top_1))


@few
@given(st.data())
def test_only_order_matters_and_unknown_counts_for_nothing(data: st.DataObject) -> None:
    logits, targets = drawn(data)
    found = quality(logits, targets)
    scales = np.random.default_rng(0).uniform(0.1, 5, logits.shape[1])
    moved = np.where(np.isnan(targets), nan, np.exp(scales * logits / 2) - 7)
    again = quality(moved, targets)
    np.testing.assert_array_equal(again.average_precision, found.average_precision)
    np.testing.assert_array_equal(again.auroc, found.auroc)
    more = quality(
        np.concatenate([logits, logits + 1]), np.concatenate([targets, np.full(targets.shape, nan)])
    )
    np.testing.assert_array_equal(more.average_precision, found.average_precision)
    assert (more.macro_map, more.top_1) == (found.macro_map, found.top_1)


@few
@given(st.data())
def test_order_of_clips_does_not_matter(data: st.DataObject) -> None:
    logits, targets = drawn(data)
    found, turned = quality(logits, targets), quality(logits[::-1], targets[::-1])
    np.testing.assert_allclose(turned.average_precision, found.average_precision, rtol=1e-12)
    np.testing.assert_allclose(turned.auroc, found.auroc, rtol=1e-12)


def some_logits(n_clips: int = 60) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(5)
    targets = (rng.random((n_clips, 2)) < [0.4, 0.3]).astype(float)
    return rng.normal(size=(n_clips, 2)) + targets, targets


def test_intervals_are_those_of_scipy() -> None:
    logits, targets = some_logits()
    ours = average_precision_intervals(logits, targets, n_resamples=300, level=0.9)

    def statistic(rows: NDArray) -> float:
        return float(average_precision_score(targets[rows, 0], logits[rows, 0]))

    theirs = bootstrap(
        (np.arange(len(logits)),), statistic, vectorized=False, n_resamples=300,
        method="percentile", confidence_level=0.9, random_state=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours.low[0] == pytest.approx(theirs.low, abs=0.025)
    assert ours.high[0] == pytest.approx(theirs.high, abs=0.025)
    found = quality(logits, targets)
    assert (ours.low < found.average_precision).all()
    assert (ours.high > found.average_precision).all()
    assert ours.macro_low is not None
    assert ours.macro_high is not None
    assert found.macro_map is not None
    assert ours.macro_low < found.macro_map < ours.macro_high
    assert ours.macro_high - ours.macro_low < (ours.high - ours.low).max()


@few
@given(st.data())
def test_resamples_have_the_figures_of_scikit_learn(data: st.DataObject) -> None:
    """Of the clips that were drawn, a recording's clips all together and repeats among them."""
    logits, targets = drawn(data)
    n_groups = data.draw(st.integers(1, len(logits)))
    groups = np.random.default_rng(n_groups).permutation(np.arange(len(logits)) % n_groups)
    rng, names = np.random.default_rng(3), np.unique(groups.astype(str))
    expected = np.full((5, logits.shape[1]), nan)
    for row in expected if quality(logits, targets).counted.any() else ():
        chosen = names[rng.integers(n_groups, size=n_groups)]
        rows = np.concatenate([np.flatnonzero(groups.astype(str) == name) for name in chosen])
        for label in np.flatnonzero(quality(logits[rows], targets[rows]).counted):
            known = rows[~np.isnan(targets[rows, label])]
            row[label] = average_precision_score(targets[known, label], logits[known, label])
    found = _resampled(logits, targets, groups.astype(str).tolist(), 5, seed=3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_intervals_are_seeded() -> None:
    logits, targets = some_logits(20)
    first, same, other = (
        average_precision_intervals(logits, targets, n_resamples=40, seed=seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.low, same.low)
    assert (first.low != other.low).any()


def test_copies_within_a_recording_promise_nothing() -> None:
    """Ten clips alike of each recording: drawn by recording, intervals stay as wide as before."""
    logits, targets = some_logits(20)
    groups = [str(n) for n in range(20)]
    alone = average_precision_intervals(logits, targets, groups, n_resamples=200)
    copies = np.repeat(logits, 10, axis=0), np.repeat(targets, 10, axis=0)
    together = average_precision_intervals(
        *copies, [g for g in groups for _ in range(10)], n_resamples=200
    )
    apart = average_precision_intervals(*copies, n_resamples=200)
    # Other draws, as groups are sorted by name, but draws of the same twenty.
    np.testing.assert_allclose(together.high - together.low, alone.high - alone.low, rtol=0.2)
    assert (apart.high - apart.low < 0.6 * (alone.high - alone.low)).all()


def test_class_of_one_recording_gets_no_interval() -> None:
    """In about 37 % of the resamples it does not occur, and in the others it is always the same."""
    logits, targets = some_logits(40)
    targets[:, 1] = [1] * 5 + [0] * 35
    groups = ["one"] * 5 + [str(n) for n in range(35)]
    found = average_precision_intervals(logits, targets, groups, n_resamples=300)
    assert found.usable[0] == 1
    assert 0.55 < found.usable[1] < 0.72
    assert np.isnan([found.low[1], found.high[1]]).all()
    assert (found.macro_low, found.macro_high) == (found.low[0], found.high[0])


def test_a_resample_that_no_class_can_be_judged_by_has_no_map() -> None:
    """Of six clips with three of the class, one resample in 32 has only such, or none."""
    ranked = np.arange(6.0)[:, None]
    maps = resampled_maps(ranked, ranked >= 3, n_resamples=300)
    assert 0 < np.isnan(maps).sum() < 30
    assert set(maps[~np.isnan(maps)]) == {1.0}


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [
        ([[1.0, nan]], [[1, 0]], "1 logits of known targets are not finite"),
        ([[1.0, np.inf]], [[1, 0]], "not finite"),
        ([[1.0]], [[2]], "1, 0 or NaN"),
        ([[1.0]], [[1], [0]], r"\[1, 1\] and \[2, 1\]"),
        ([1.0], [1], "shape"),
    ],
)
def test_refused(logits: list, targets: list, expected: str) -> None:
    with pytest.raises(EdgeProbeError, match=expected):
        quality(logits, targets)


def test_groups_must_fit() -> None:
    with pytest.raises(EdgeProbeError, match="group for each of 2 clips, found 1"):
        average_precision_intervals([[1.0], [0.0]], [[1], [0]], ["a"])
