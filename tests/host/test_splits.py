"""Splits never part a recording, honour what was put by hand, and leave every class to learn."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from export.clips import Clip, ClipsError, Split
from export.clips.splits import Splits, split_clips

LABELS = ("owl", "tit", "wren")


def clip(number: int, labels: tuple[str, ...], group: object, split: Split | None = None) -> Clip:
    return Clip(Path(f"{number}.wav"), labels, f"{group}", split=split)


def parts(splits: Splits) -> list[list[int]]:
    return [splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()]


_CLIPS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(LABELS)).map(sorted).map(tuple),
        st.integers(0, 12),
        st.sampled_from([None, None, None, "train", "validation", "test"]),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@given(_CLIPS, st.integers(0, 9), st.floats(0, 0.5), st.floats(0, 0.4))
def test_no_recording_in_two_splits(
    drawn: list[tuple], seed: int, validation: float, test: float
) -> None:
    by_hand = {group: split for _, group, split in drawn if split}
    clips = [
        clip(number, labels, group, by_hand.get(group) if number % 2 else None)
        for number, (labels, group, _) in enumerate(drawn)
    ]
    try:
        splits = split_clips(clips, seed, validation, test)
    except ClipsError:
        reject()  # too few recordings: a test of its own
    assert sorted(row for part in parts(splits) for row in part) == list(range(len(clips)))
    groups = [{clips[row].group for row in part} for part in parts(splits)]
    assert sum(map(len, groups)) == len({c.group for c in clips})
    for part, name in zip(parts(splits), ("train", "validation", "test"), strict=True):
        assert all(clips[row].split in {None, name} for row in part)
        placed = {c.group for c in clips if c.split == name}
        assert placed <= {clips[row].group for row in part}
    placed = {c.group for c in clips if c.split}
    train = {label for row in splits.train for label in clips[row].labels}
    assert train >= {label for c in clips if c.group not in placed for label in c.labels}


def test_shares_and_classes_are_even_where_recordings_allow() -> None:
    clips = [clip(n, (LABELS[n % 3],), n // 2) for n in range(300)]
    splits = split_clips(clips, 1, validation=0.2, test=0.1)
    sizes = [len(part) for part in parts(splits)]
    assert np.abs(np.array(sizes) - [210, 60, 30]).max() <= 8
    for part in parts(splits):
        count = np.unique([clips[row].labels[0] for row in part], return_counts=True)[1]
        assert count.max() - count.min() <= 6
    again = split_clips(clips, 1, validation=0.2, test=0.1)
    assert parts(again) == parts(splits)
    assert parts(split_clips(clips, 2, validation=0.2, test=0.1)) != parts(splits)


def test_the_only_recording_of_a_class_is_for_training() -> None:
    clips = [clip(n, ("owl",), n) for n in range(20)] + [
        clip(20, ("wren",), "w"),
        clip(21, (), "b"),
    ]
    for seed in range(10):
        splits = split_clips(clips, seed)
        assert {20, 21} <= set(splits.train.tolist())
        assert 2 <= len(splits.validation) <= 6


def test_a_large_recording_is_not_taken_for_a_small_share() -> None:
    clips = [clip(n, ("owl",), "long" if n < 80 else n) for n in range(100)]
    for seed in range(10):
        assert len(split_clips(clips, seed).validation) <= 30


def test_what_cannot_be_split_is_said() -> None:
    with pytest.raises(ClipsError, match="1 recordings are too few"):
        split_clips([clip(0, ("owl",), "a"), clip(1, ("tit",), "a")], 0)
    with pytest.raises(ClipsError, match="'a' are for train"):
        split_clips([clip(0, ("owl",), "a", "train"), clip(1, ("owl",), "a", "test")], 0)
    with pytest.raises(ClipsError, match="shares below 1"):
        split_clips([clip(0, ("owl",), "a")], 0, validation=0.6, test=0.4)
    nothing = split_clips([clip(0, ("owl",), "a")], 0, validation=0.0)
    assert parts(nothing) == [[0], [], []]
