"""The whole road with the demo bundle: the same detections however the samples arrive."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser, Event, EventFinder, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.head import PrototypeMaxima

DATA = DEMO_BUNDLE.parent


@pytest.fixture(scope="module")
def analyser() -> ChunkAnalyser:
    return ChunkAnalyser(open_bundle(DEMO_BUNDLE))


@pytest.fixture(scope="module")
def scene() -> NDArray[np.float32]:
    """The demo scene at 44.1 kHz."""
    samples, _ = sf.read(DATA / "demo_scene.ogg", dtype="float32")
    return np.asarray(samples, np.float32)


def events_of(
    analyser: ChunkAnalyser, samples: NDArray[np.float32], rate: int, sizes: list[int]
) -> list[Event]:
    classifier = RunClassifier(analyser, Run("run", 0, rate))
    events, at = [], 0
    for size in sizes:
        events += classifier.push(samples[at : at + size])
        at += size
    return events + classifier.push(samples[at:]) + classifier.finish()


@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(0, 200_000), max_size=10))
def test_any_blocks_give_the_events_of_the_whole(
    analyser: ChunkAnalyser, scene: NDArray[np.float32], sizes: list[int]
) -> None:
    part = scene[: 12 * 44_100]
    whole = events_of(analyser, part, 44_100, [])
    assert whole
    assert events_of(analyser, part, 44_100, sizes) == whole


@pytest.mark.parametrize("rate", [22_050, 48_000, 96_000])
def test_single_samples_give_the_events_of_the_whole(
    analyser: ChunkAnalyser, scene: NDArray[np.float32], rate: int
) -> None:
    part = soxr.resample(scene[7 * 44_100 : 11 * 44_100], 44_100, rate)
    whole = events_of(analyser, part, rate, [])
    assert whole
    assert events_of(analyser, part, rate, [1] * len(part)) == whole


def test_chunks_in_any_order_give_the_same_events(
    analyser: ChunkAnalyser, scene: NDArray[np.float32]
) -> None:
    grid = analyser.grid(44_100)
    order = list(range(grid.n_chunks(len(scene))))
    np.random.default_rng(1).shuffle(order)
    done = {}
    for index in order:
        begin, end = grid.native_slice(index)
        cut = grid.n_model_samples(len(scene)) if end > len(scene) else None
        chunk = grid.chunk(index, scene[begin:end], cut)
        done[index] = (analyser.summary(chunk), chunk.n_valid)
    finder = EventFinder(analyser.bundle, Run("run", 0, 44_100))
    events = [event for index in sorted(done) for event in finder.push(*done[index])]
    events += finder.finish(len(scene) / 44_100)
    assert events == events_of(analyser, scene, 44_100, [])


def test_events_stay_inside_the_audio(analyser: ChunkAnalyser, scene: NDArray[np.float32]) -> None:
    for n_samples in (44_100, 100_001, 300_000, len(scene)):
        for event in events_of(analyser, scene[:n_samples], 44_100, []):
            assert 0 <= event.start_s < event.end_s <= n_samples / 44_100
            assert event.logit >= event.threshold
            assert event.window_start_s <= event.end_s


def test_times_of_a_later_run_count_from_its_source(
    analyser: ChunkAnalyser, scene: NDArray[np.float32]
) -> None:
    part = scene[: 8 * 44_100]
    first = events_of(analyser, part, 44_100, [])
    classifier = RunClassifier(analyser, Run("run", 0, 44_100, start_s=100.0))
    later = classifier.push(part) + classifier.finish()
    assert [event.start_s - 100 for event in later] == pytest.approx([e.start_s for e in first])


def test_a_file_and_its_samples_agree(analyser: ChunkAnalyser, tmp_path: Path) -> None:
    from edge_probe.source.files import AudioFile

    pcm = np.random.default_rng(0).normal(0, 3_000, 200_000).astype(np.int16)
    sf.write(tmp_path / "a.wav", pcm, 48_000)
    with AudioFile(tmp_path / "a.wav") as audio:
        blocks = list(audio)
    assert np.concatenate(blocks).tobytes() == (pcm / np.float32(2**15)).tobytes()


def test_a_tail_without_a_token_is_no_chunk(analyser: ChunkAnalyser) -> None:
    """Its padding would be a window of its own, of scores that no audio has."""
    spec = analyser.bundle.encoder
    whole = 3 * spec.chunk_samples
    assert not spec.grid.valid_tokens(1200).any()
    assert spec.grid.valid_tokens(1400).any()

    def logits_of(n_samples: int) -> list[NDArray[np.float64]]:
        seen: list[NDArray[np.float64]] = []
        run = Run("run", 0, spec.sample_rate_hz)
        classifier = RunClassifier(analyser, run, lambda _, logits: seen.append(logits))
        noise = np.random.default_rng(0).normal(0, 0.1, whole + 1400).astype(np.float32)
        classifier.push(noise[:n_samples])
        classifier.finish()
        return seen

    without, with_tail = logits_of(whole), logits_of(whole + 1200)
    assert np.array_equal(without, with_tail)
    assert len(logits_of(whole + 1400)) > len(without)


def test_padding_is_no_candidate(analyser: ChunkAnalyser) -> None:
    """Scores of a chunk that the end of a run cuts are those of its tokens alone."""
    head, grid = analyser.bundle.head, analyser.bundle.encoder.grid
    tokens = np.random.default_rng(0).normal(size=(grid.n_tokens, grid.n_dims)).astype(np.float32)
    valid = grid.valid_tokens(6_000)
    assert 0 < valid.sum() < len(valid)
    cut = head.summarise(tokens, valid)
    alone = head.summarise(tokens[valid], valid[valid])
    assert isinstance(cut, PrototypeMaxima)
    assert isinstance(alone, PrototypeMaxima)
    assert np.array_equal(cut.scores, alone.scores)
    assert np.array_equal(cut.tokens, np.flatnonzero(valid)[alone.tokens])
    nothing = head.summarise(tokens, np.zeros(len(valid), bool))
    assert isinstance(nothing, PrototypeMaxima)
    assert not nothing.scores.any()
