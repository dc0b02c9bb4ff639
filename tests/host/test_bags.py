"""Bags: tokens in their order, padding that says so, and balanced batches."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.planted_bags import labelled, noise_clip

from export.tokens import ClipTokens
from export.train import Bags

N_FREQ = 2


class Shelf(Sequence[ClipTokens]):
    """Clips that notice which of them are taken."""

    def __init__(self, clips: Sequence[ClipTokens]) -> None:
        self._clips = clips
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, row: int) -> ClipTokens: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[ClipTokens]: ...
    def __getitem__(self, row: int | slice) -> ClipTokens | Sequence[ClipTokens]:
        if isinstance(row, slice):
            raise TypeError("a slice would read clips that nobody asked for")
        self.taken.append(row)
        return self._clips[row]


def noise(*n_chunks: int, n_last: int | None = None) -> list[ClipTokens]:
    """Clips of chunks of three columns of two tokens, D = 5."""
    rng = np.random.default_rng(1)
    return [noise_clip(number, (6, 5), rng, n_last) for number in n_chunks]


def bags_of(clips: Sequence[ClipTokens], loudest: int | None = None) -> Bags:
    return Bags(clips, np.zeros((len(clips), 1), np.float32), N_FREQ, loudest)


def test_no_clip_is_read_before_its_turn() -> None:
    shelf = Shelf(noise(1, 2, 1, 3, 1))
    bags = bags_of(shelf)
    assert shelf.taken == []
    bags.maps([3, 1])
    assert shelf.taken == [3, 1]
    batch = next(bags.batches(4, np.random.default_rng(0)))
    assert shelf.taken[2:] == batch.rows.tolist()


def test_tokens_keep_their_order() -> None:
    """``t = i_time * S_f + i_freq``, chunk behind chunk."""
    clips = noise(2, 1)
    maps = bags_of(clips).maps([0, 1])
    assert maps.tokens.shape == (2, 5, 6, N_FREQ)
    assert maps.tokens.dtype == torch.float32
    for row, clip in enumerate(clips):
        own = clip.tokens.reshape(-1, 5)
        np.testing.assert_array_equal(maps.rows()[0][row, : len(own)], own)
        for time in range(len(own) // N_FREQ):
            for freq in range(N_FREQ):
                there = maps.tokens[row, :, time, freq]
                np.testing.assert_array_equal(there, own[time * N_FREQ + freq])


def test_what_nobody_hears_is_zero_or_gone() -> None:
    """The longer clip ends after four of its six tokens of a chunk, the shorter after two."""
    clips = [*noise(2, n_last=4), *noise(1, n_last=2), *noise(1)]
    bags = bags_of(clips)
    maps = bags.maps([0, 1, 2])
    assert maps.tokens.shape == (3, 5, 5, N_FREQ)  # six columns less the one that nobody hears
    assert maps.valid.all(dim=2).sum(dim=1).tolist() == [5, 1, 3]
    assert (maps.tokens.movedim(1, 3)[~maps.valid] == 0).all()
    assert (maps.tokens.movedim(1, 3)[maps.valid] != 0).all()
    assert bags.maps([1]).tokens.shape == (1, 5, 1, N_FREQ)
    assert bags.shape.n_dims == 5
    assert bags.shape.n_freq == N_FREQ


@given(n_chunks=st.integers(1, 6), loudest=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_loudest_chunks_stay_in_their_order(n_chunks: int, loudest: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clip = noise_clip(n_chunks, (6, 5), rng, n_last=4)
    level = rng.permutation(n_chunks).astype(np.float32)
    cls = rng.normal(size=(n_chunks, 3)).astype(np.float16)
    maps = bags_of([ClipTokens(clip.tokens, clip.valid, cls, level)], loudest).maps([0])
    kept = [chunk for chunk in range(n_chunks) if level[chunk] >= n_chunks - loudest]
    expected = clip.tokens[kept][clip.valid[kept]]
    np.testing.assert_array_equal(maps.rows()[0][maps.rows()[1]], expected)
    assert maps.cls is not None
    np.testing.assert_allclose(maps.cls[0], cls[kept].astype(float).mean(axis=0), atol=1e-6)


def test_a_loud_chunk_that_holds_no_token_is_not_kept_before_others() -> None:
    """The rest of a file can be shorter than half a token, and a click."""
    clip = noise_clip(3, (6, 5), np.random.default_rng(0), n_last=0)
    level = np.array([1, 2, 9], np.float32)
    maps = bags_of([ClipTokens(clip.tokens, clip.valid, None, level)], loudest=1).maps([0])
    np.testing.assert_array_equal(maps.rows()[0][0], clip.tokens[1])


@pytest.mark.parametrize("loudest", [None, 3])
def test_a_chunk_that_holds_no_token_has_no_cls_to_count(loudest: int | None) -> None:
    (clip,) = noise(3, n_last=0)
    cls = np.arange(6, dtype=np.float16).reshape(3, 2)

    def mean(valid: np.ndarray) -> list[float]:
        bag = ClipTokens(clip.tokens, valid, cls, np.ones(3, np.float32))
        maps = bags_of([bag], loudest).maps([0])
        assert maps.cls is not None
        return maps.cls[0].tolist()

    assert mean(clip.valid) == [1, 2]
    assert mean(np.ones_like(clip.valid)) == [2, 3]
    assert mean(np.zeros_like(clip.valid)) == [2, 3]  # silence, but something must be said


def test_loudest_without_levels_is_refused() -> None:
    clip = ClipTokens(np.zeros((2, 6, 5), np.float16), np.ones((2, 6), bool))
    assert bags_of([clip]).maps([0]).cls is None
    with pytest.raises(ValueError, match="level"):
        bags_of([clip], loudest=1).maps([0])


def test_in_order_is_every_clip_once() -> None:
    clips = noise(*range(1, 8))
    bags = bags_of(clips)
    lengths = [int(n) for maps in bags.in_order(size=3) for n in maps.valid.flatten(1).sum(dim=1)]
    assert lengths == [6 * n for n in range(1, 8)]
    assert [tokens.shape for tokens, _ in bags.rows()] == [(6 * n, 5) for n in range(1, 8)]


def drawn(bags: Bags, n_batches: int = 60) -> np.ndarray:
    """Targets of 6,000 drawn clips: shares have a standard deviation of at most 0.0065."""
    batches = bags.batches(100, np.random.default_rng(5))
    return np.concatenate([next(batches).targets.numpy() for _ in range(n_batches)])


def test_rare_classes_and_background_are_drawn_like_common_ones() -> None:
    targets = [[1, 0]] * 100 + [[0, 1]] * 10 + [[0, 0]] * 300
    share = drawn(labelled(targets))
    assert share.mean(axis=0) == pytest.approx([1 / 3, 1 / 3], abs=0.03)


def test_without_background_only_classes_are_drawn() -> None:
    share = drawn(labelled([[1, 0]] * 50 + [[0, 1]] * 5))
    assert share.mean(axis=0) == pytest.approx([1 / 2, 1 / 2], abs=0.03)


def test_clip_of_a_rare_and_a_common_class_counts_as_rare() -> None:
    share = drawn(labelled([[1, 0]] * 40 + [[0, 1]] * 3 + [[1, 1]]))
    both = share.all(axis=1).mean()
    assert both == pytest.approx((1 / 4) / (4 / 4 + 40 / 41), abs=0.03)


def test_what_is_only_known_to_be_absent_weighs_like_background() -> None:
    nan = float("nan")
    share = drawn(labelled([[1, nan]] * 10 + [[0, nan]] * 30 + [[nan, 1]]))
    assert (share[:, 0] == 1).mean() == pytest.approx(1 / 3, abs=0.03)
    assert (share[:, 0] == 0).mean() == pytest.approx(1 / 3, abs=0.03)


def test_a_seed_makes_one_run_of_batches() -> None:
    bags = labelled([[1, 0], [0, 1], [0, 0]])
    runs = [bags.batches(7, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    first, again, other = ([next(run).rows.tolist() for _ in range(3)] for run in runs)
    assert first == again != other


def test_batch_holds_what_its_rows_name() -> None:
    bags = bags_of(noise(1, 2, 3))
    batch = next(bags.batches(5, np.random.default_rng(0)))
    same = bags.maps(batch.rows.tolist())
    assert torch.equal(batch.maps.tokens, same.tokens)
    assert torch.equal(batch.targets, bags.targets[batch.rows])


def test_sample_is_the_valid_tokens() -> None:
    clips = noise(2, 3, n_last=3)
    for clip in clips:
        clip.tokens[~clip.valid] = 1e4
    sample = bags_of(clips).sample()
    heard = np.concatenate([clip.tokens[clip.valid] for clip in clips])
    assert sample.dtype == torch.float32
    assert sorted(map(tuple, sample.tolist())) == sorted(map(tuple, heard.tolist()))


def test_sample_of_many_clips_is_some_of_them_without_bias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Enough is 60 tokens of six a clip: ten clips, and not the first ten."""
    monkeypatch.setattr("export.train.bags.SAMPLE_TOKENS", 60)
    shelf = Shelf(noise(*[1] * 50))
    bags = bags_of(shelf)
    assert len(bags.sample()) == 60
    assert len(set(shelf.taken)) == 10
    assert max(shelf.taken) > 30
    taken = list(shelf.taken)
    bags.sample()
    assert shelf.taken == taken * 2
