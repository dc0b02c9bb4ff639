"""Thresholds from logits of clips, and the splits those logits come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.spec import WindowSpec
from export.thresholds import (
    FAVOURS,
    HYSTERESIS,
    IN_GAP,
    MARGIN,
    fit_thresholds,
    held_out_folds,
    highest_logits,
)
from export.tokens import ClipTokens


def one_class(present: list[float], others: list[float], background: list[float]) -> tuple:
    """Logits and targets of class 0; class 1 is that of the other clips."""
    highest = np.array([[x, 0.0] for x in [*present, *others, *background]])
    targets = np.zeros(highest.shape, np.float32)
    targets[: len(present), 0] = 1
    targets[len(present) : len(present) + len(others), 1] = 1
    return highest, targets


def test_separable_class_is_cut_in_the_gap() -> None:
    highest, targets = one_class([6, 7, 8], [0, 1, 2], [])
    fitted = fit_thresholds(highest, targets, [])
    assert fitted.on[0] == pytest.approx(2 + IN_GAP * (6 - 2))
    assert fitted.off[0] == pytest.approx(fitted.on[0] - HYSTERESIS * (7 - 1))


def test_background_lifts_the_threshold_above_itself() -> None:
    """Half-way between what unseen and shipped heads make of background, plus a margin."""
    highest, targets = one_class([6, 7, 8], [0, 0, 0], [5, 1])
    shipped = [np.array([3.0, 0.0]), np.array([1.0, 0.0])]
    fitted = fit_thresholds(highest, targets, shipped)
    quiet = (5 + 3) / 2
    assert fitted.on[0] == pytest.approx(max(quiet + MARGIN * (7 - quiet), 5 + IN_GAP * (6 - 5)))
    loud = [np.array([9.0, 0.0])] * 2
    assert fit_thresholds(highest, targets, loud).on[0] == pytest.approx(9 + MARGIN)


def test_best_f_score_is_taken_where_classes_mix() -> None:
    """Positives 1, 4, 5 and negatives 0, 2, 3: the cut above 3 has F1 0.8, above 0 only 0.75."""
    highest, targets = one_class([1, 4, 5], [0, 2, 3], [])
    assert fit_thresholds(highest, targets, []).on[0] == pytest.approx(3 + IN_GAP)


def test_favour_moves_the_cut() -> None:
    """Above 3 there are 3 of 6 calls and nothing else, above 0 all of them and two others."""
    highest, targets = one_class([1, 1.5, 1.6, 4, 5, 6], [0, 2, 3], [])
    cuts = {
        name: fit_thresholds(highest, targets, [], beta=beta).on[0]
        for name, beta in FAVOURS.items()
    }
    assert cuts["precision"] == pytest.approx(3 + IN_GAP)
    assert cuts["recall"] == pytest.approx(IN_GAP)


def test_rare_class_takes_the_median_of_the_others() -> None:
    highest = np.array(
        [[5.0, 0, 0], [6, 0, 0], [7, 0, 0], [0, 3, 0], [0, 4, 0], [0, 5, 0], [0, 0, 9]]
    )
    targets = (highest > 0).astype(np.float32)
    fitted = fit_thresholds(highest, targets, [])
    assert fitted.on[2] == np.median(fitted.on[:2])
    assert fitted.off[2] == np.median(fitted.off[:2])


def test_sounds_that_a_class_is_mistaken_for_need_no_background() -> None:
    """Hard negatives beside ``--no-background``: rows without a class, and no background clip."""
    highest, targets = one_class([6, 7, 8], [0, 1, 2], [3])
    assert fit_thresholds(highest, targets, []).on[0] == pytest.approx(3 + IN_GAP * (6 - 3))


def test_unjudged_logits_count_for_nothing() -> None:
    highest, targets = one_class([6, 7, 8, np.nan], [0, 1, 2, np.nan], [5, np.nan])
    highest[targets[:, 1] > 0, 1] = np.nan
    shipped = [[3.0, 0.0], [1.0, 0.0]]
    judged = ~np.isnan(highest[:, 0])
    fitted = fit_thresholds(highest, targets, shipped)
    expected = fit_thresholds(highest[judged], targets[judged], shipped)
    assert fitted.on[0] == expected.on[0]
    assert fitted.off[0] == expected.off[0]
    assert fitted.on[1] == fitted.on[0]
    assert np.isfinite(fit_thresholds(highest * np.nan, targets, shipped).on).all()


def test_nothing_to_judge_by() -> None:
    fitted = fit_thresholds(np.zeros((2, 1)), np.ones((2, 1), np.float32), [])
    assert (fitted.on.tolist(), fitted.off.tolist()) == ([0.0], [-1.0])


@given(st.data())
def test_thresholds_are_finite_and_off_is_below_on(data: st.DataObject) -> None:
    rows, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    highest = rng.normal(0, data.draw(st.sampled_from([0.0, 1.0, 30.0])), (rows, classes))
    targets = (rng.random((rows, classes)) < 0.4).astype(np.float32)
    shipped = [rng.normal(size=classes) for row in targets if not row.any()]
    fitted = fit_thresholds(highest, targets, shipped)
    assert np.isfinite(fitted.on).all()
    assert np.isfinite(fitted.off).all()
    assert (fitted.off < fitted.on).all()
    for column in range(classes):
        background = highest[~targets.any(axis=1), column]
        if background.size and 3 <= targets[:, column].sum() < rows:
            loudest = max(each[column] for each in shipped)
            assert fitted.on[column] > max((background.max() + loudest) / 2, loudest)


@given(
    st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 5)), min_size=1, max_size=40),
    st.integers(0, 3),
)
def test_folds_hold_every_clip_once_and_no_recording_twice(
    clips: list[tuple[int, int]], seed: int
) -> None:
    targets = np.zeros((len(clips), 3), np.float32)
    for row, (label, _) in enumerate(clips):
        if label >= 0:
            targets[row, label] = 1
    groups = [str(group) for _, group in clips]
    folds = held_out_folds(targets, groups, seed)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(clips)))
    seen = [{groups[row] for row in fold} for fold in folds]
    assert sum(map(len, seen)) == len(set(groups))


class SumHead:
    """A head whose logit is the sum over the window of the chunks' means."""

    def summarise(self, tokens: np.ndarray, valid: np.ndarray) -> float:
        return float(tokens[valid].mean()) if valid.any() else 0.0

    def merge(self, chunks: list[float]) -> float:
        return float(sum(chunks))

    def logits(self, merged: float) -> np.ndarray:
        return np.array([merged, -merged])


def test_clip_counts_with_its_highest_window() -> None:
    """Chunks 1, 2, 3, 4 in windows of two: the highest sums are 3 + 4 and -(1 + 2)."""
    tokens = np.arange(1, 5, dtype=np.float16)[:, None, None].repeat(3, axis=1)
    clip = ClipTokens(tokens, np.ones((4, 3), bool))
    windows = WindowSpec(window_chunks=2, hop_chunks=1, refractory_s=0.0)
    assert highest_logits(SumHead(), clip, windows).tolist() == [7.0, -3.0]  # type: ignore[arg-type]
