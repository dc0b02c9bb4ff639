"""A chunk is a pure function of the run and its number, however the samples arrive."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.chunk import Chunk, Chunker, ChunkGrid
from edge_probe.errors import AudioError

RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 44_056]
MODEL_HZ, CHUNK = 16_000, 2_048


def noise(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, n_samples).astype(np.float32)


def at_random(grid: ChunkGrid, run: NDArray[np.float32], index: int) -> Chunk:
    """The chunk made from its own slice of a run that is all there."""
    begin, end = grid.native_slice(index)
    cut = grid.n_model_samples(len(run)) if end > len(run) else None
    return grid.chunk(index, run[begin:end], cut)


def same(one: Chunk, other: Chunk) -> bool:
    return (
        one.index == other.index
        and one.n_valid == other.n_valid
        and one.samples.tobytes() == other.samples.tobytes()
    )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(RATES),
    st.integers(1, 30_000),
    st.lists(st.integers(0, 9_000), max_size=12),
    st.randoms(use_true_random=False),
)
def test_stream_equals_random_access_at_any_chunking(
    rate: int, n_samples: int, blocks: list[int], random: object
) -> None:
    run = noise(n_samples)
    grid = ChunkGrid(rate, MODEL_HZ, CHUNK)
    chunker = Chunker(grid)
    streamed, at = [], 0
    for size in blocks:
        streamed += chunker.push(run[at : at + size])
        at += size
    streamed += chunker.push(run[at:]) + chunker.finish()
    order = list(range(grid.n_chunks(n_samples)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = {index: at_random(grid, run, index) for index in order}
    assert len(streamed) == len(found)
    assert all(same(chunk, found[chunk.index]) for chunk in streamed)


@pytest.mark.parametrize("rate", RATES)
def test_one_sample_blocks(rate: int) -> None:
    run = noise(rate // 5)
    grid = ChunkGrid(rate, MODEL_HZ, CHUNK)
    single, whole = Chunker(grid), Chunker(grid)
    chunks = [chunk for sample in run for chunk in single.push(sample[None])] + single.finish()
    expected = whole.push(run) + whole.finish()
    assert len(chunks) == len(expected)
    assert all(same(one, other) for one, other in zip(chunks, expected, strict=True))


@pytest.mark.parametrize(
    ("rate", "model_hz"),
    [*((rate, MODEL_HZ) for rate in RATES), (8_000, 256_000), (1_009, 48_000), (1_000, 16_000),
     (384_000, 22_050), (192_000, 256_000)],
)  # fmt: skip
def test_chunks_equal_resampling_the_whole_run(rate: int, model_hz: int) -> None:
    """The margin is wide enough: borders between chunks cannot be heard."""
    run = noise(max(3 * rate, 9_000)) * np.float32(0.5)
    grid = ChunkGrid(rate, model_hz, CHUNK)
    whole = soxr.resample(run, rate, model_hz) if rate != model_hz else run
    n_chunks = grid.n_chunks(len(run))
    pieces = np.concatenate([at_random(grid, run, index).samples for index in range(n_chunks)])
    n_common = min(len(whole), grid.n_model_samples(len(run)))
    np.testing.assert_allclose(pieces[:n_common], whole[:n_common], atol=2e-6, rtol=0)


@pytest.mark.parametrize("rate", RATES)
def test_first_and_last_sample_are_heard(rate: int) -> None:
    n_samples = 2 * rate + 17
    grid = ChunkGrid(rate, MODEL_HZ, CHUNK)
    last = grid.n_chunks(n_samples) - 1
    for at, index in ((0, 0), (n_samples - 1, last)):
        run = np.zeros(n_samples, np.float32)
        run[at] = 1
        chunk = at_random(grid, run, index)
        place = int(np.abs(chunk.samples).argmax())
        expected = at * MODEL_HZ / rate - index * CHUNK
        assert abs(place - expected) <= 2
        assert np.abs(chunk.samples).max() > 0.05


@given(st.sampled_from(RATES), st.integers(1, 10**7))
def test_valid_samples_add_up_to_the_run(rate: int, n_samples: int) -> None:
    grid = ChunkGrid(rate, MODEL_HZ, CHUNK)
    n_model, n_chunks = grid.n_model_samples(n_samples), grid.n_chunks(n_samples)
    assert (n_model - 1) * rate < n_samples * MODEL_HZ <= n_model * rate
    assert (n_chunks - 1) * CHUNK < n_model <= n_chunks * CHUNK


def test_chunk_after_a_year_lies_where_integers_say() -> None:
    """No float takes part: at hour 10,000 slices still begin where both rates meet."""
    grid = ChunkGrid(44_100, MODEL_HZ, CHUNK)
    index = 10_000 * 3_600 * MODEL_HZ // CHUNK
    begin, end = grid.native_slice(index)
    assert begin % 441 == 0
    assert begin * MODEL_HZ <= (index * CHUNK) * 44_100 - 1_000 * 44_100
    assert end * MODEL_HZ >= ((index + 1) * CHUNK) * 44_100 + 1_000 * 44_100


def test_memory_is_bounded() -> None:
    chunker = Chunker(ChunkGrid(48_000, MODEL_HZ, CHUNK))
    for _ in range(200):
        chunker.push(noise(4_800))
    held = sum(len(block) for block in chunker._blocks)
    assert held < 3 * (CHUNK + 2 * 1024 + 1_600) * 3


def test_samples_after_the_end_are_zero() -> None:
    chunk = at_random(ChunkGrid(MODEL_HZ, MODEL_HZ, CHUNK), noise(CHUNK + 5), 1)
    assert chunk.n_valid == 5
    assert not chunk.samples[5:].any()


@pytest.mark.parametrize("rate", [-1, 0, 44, 2_000_000])
def test_rate_that_audio_does_not_have_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match="sample rate"):
        ChunkGrid(rate, MODEL_HZ, CHUNK)


@given(st.sampled_from(RATES), st.integers(1, 200_000))
def test_tiles_cover_a_run_to_the_sample(rate: int, n_samples: int) -> None:
    grid = ChunkGrid(rate, MODEL_HZ, CHUNK)
    tiles = [grid.tile(index) for index in range(grid.n_chunks(n_samples))]
    assert tiles[0][0] == 0
    assert [end for _, end in tiles[:-1]] == [begin for begin, _ in tiles[1:]]
    assert tiles[-1][0] <= n_samples <= tiles[-1][1]
    for index, (begin, end) in enumerate(tiles):
        assert grid.chunk_at(begin) == grid.chunk_at(end - 1) == index
        slice_begin, slice_end = grid.native_slice(index)
        assert slice_begin <= begin < end <= slice_end
