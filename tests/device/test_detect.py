"""Detections against a definition written a second time, offline and slow."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.detect import Box, Detection, Detector, box_of
from edge_probe.head import FloatLinear, MeanLinearHead, ProtobinHead, PrototypeMaxima, TokenSum
from edge_probe.head.packing import pack_signs
from edge_probe.spec import EncoderSpec, TokenGrid
from edge_probe.window import Window

BOX = Box(0.0, 1.0, None, None)
Row = tuple[int, int, int, int, float]


def streamed(logits: NDArray[np.float64], on: float, off: float, refractory_s: float) -> list[Row]:
    n_classes = logits.shape[1]
    detector = Detector(np.full(n_classes, on), np.full(n_classes, off), 0.5, refractory_s)
    found: list[Detection] = []
    for index, row in enumerate(logits):
        found += detector.push(index, row, lambda _: BOX)
    found += detector.finish()
    return sorted(
        (d.class_index, d.first_window, d.last_window, d.best_window, d.logit) for d in found
    )


def offline(logits: NDArray[np.float64], on: float, off: float, refractory_s: float) -> list[Row]:
    """All runs at or above ``off``, joined over short pauses, that reach ``on``."""
    rows: list[Row] = []
    for class_index in range(logits.shape[1]):
        track = logits[:, class_index]
        above = [index for index, value in enumerate(track) if value >= off]
        groups: list[list[int]] = []
        for index in above:
            pause = index - groups[-1][-1] - 1 if groups else 0
            if groups and (pause == 0 or pause * 0.5 < refractory_s):
                groups[-1].append(index)
            else:
                groups.append([index])
        for group in groups:
            best = max(group, key=lambda index: (track[index], -index))
            if track[best] >= on:
                rows.append((class_index, group[0], group[-1], best, float(track[best])))
    return sorted(rows)


@given(
    st.integers(1, 3).flatmap(
        lambda c: st.lists(
            st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=c, max_size=c),
            min_size=1, max_size=30,
        )
    ),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([-0.5, 0.0, 0.5]),
    st.sampled_from([0.0, 0.5, 0.6, 1.0, 1.1, 5.0]),
)  # fmt: skip
def test_streaming_equals_the_definition(
    logits: list[list[float]], on: float, off: float, refractory_s: float
) -> None:
    table = np.array(logits)
    assert streamed(table, on, off, refractory_s) == offline(table, on, off, refractory_s)


def test_nothing_above_the_on_threshold_is_nothing() -> None:
    assert streamed(np.full((9, 1), 0.9), 1.0, 0.5, 0.0) == []


def grid_of(n_freq: int, edges: tuple[float, ...] | None) -> EncoderSpec:
    return EncoderSpec("g", "x", "y", 100, 100, TokenGrid(8, 4, n_freq, -5.0, 25.0, edges))


def head_of(n_prototypes: int) -> ProtobinHead:
    return ProtobinHead(
        pack_signs(np.ones((n_prototypes, 8))), np.zeros(8, np.float32), 1,
        FloatLinear(np.ones((1, n_prototypes), np.float32), np.zeros(1)),
        np.zeros(n_prototypes, np.float32),
    )  # fmt: skip


def box(spec: EncoderSpec, first: int, tokens: list[list[int]], n_valid: int = 100) -> Box:
    """The box when these tokens of these chunks reached the maxima."""
    head = head_of(len(tokens[0]))
    chunks = tuple(
        PrototypeMaxima(np.full(len(row), 0.5, np.float32), np.array(row, np.int32))
        for row in tokens
    )
    window = Window(0, first, chunks, n_valid)
    return box_of(spec, head, window, head.merge(chunks), 0)


def test_box_is_the_union_of_tokens_in_time_and_frequency() -> None:
    spec = grid_of(2, (0.0, 20.0, 50.0))
    found = box(spec, 3, [[2 * 1 + 1, 2 * 2 + 1, 0]])  # two of three explain half
    assert found == Box(3.2, 3.7, 20.0, 50.0)


def test_what_is_not_heard_has_no_place() -> None:
    """A prototype that speaks against a class and scores low speaks for it, but from nowhere."""
    spec = grid_of(2, (0.0, 20.0, 50.0))
    weights = np.array([[1.0, -9.0, 0.5]], np.float32)
    head = replace(
        head_of(3), linear=FloatLinear(weights, np.zeros(1)),
        reference_scores=np.array([0.0, 0.9, 0.0], np.float32),
    )  # fmt: skip
    chunk = PrototypeMaxima(np.full(3, 0.5, np.float32), np.array([3, 0, 7], np.int32))
    window = Window(0, 3, (chunk,), 100)
    merged = head.merge((chunk,))
    assert head.contributions(merged, 0).argmax() == 1
    assert box_of(spec, head, window, merged, 0) == Box(3.2, 3.45, 20.0, 50.0)


def test_box_without_a_frequency_axis_or_edges_has_no_band() -> None:
    assert box(grid_of(1, (0.0, 50.0)), 0, [[1]]) == Box(0.2, 0.45, None, None)
    assert box(grid_of(2, None), 0, [[2]]) == Box(0.2, 0.45, None, None)


def test_box_stays_inside_the_audio() -> None:
    spec = grid_of(1, None)
    assert box(spec, 0, [[0]]).start_s == 0.0  # column 0 begins 5 samples before the run
    assert box(spec, 0, [[1]], n_valid=40) == Box(0.2, 0.4, None, None)
    assert box(spec, 0, [[3]], n_valid=40) == Box(0.0, 0.4, None, None)  # centre past the end


def test_a_head_without_places_gives_the_window() -> None:
    head = MeanLinearHead(FloatLinear(np.ones((1, 8), np.float32), np.zeros(1)))
    chunks = (TokenSum(np.ones(8), 4), TokenSum(np.ones(8), 4))
    window = Window(0, 2, chunks, 50)
    assert box_of(grid_of(1, None), head, window, head.merge(chunks), 0) == Box(2, 3.5, None, None)


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=2, max_size=30),
    st.integers(0, 29),
    st.sampled_from([0.0, 0.6, 5.0]),
)
def test_another_one_goes_on_with_what_is_open(
    track: list[float], n_before: int, refractory_s: float
) -> None:
    def new(before: Detector | None = None) -> Detector:
        on, off = np.array([1.0]), np.array([0.5])
        return Detector(on, off, 0.5, refractory_s, before.open if before else {})

    detector, found = new(), []
    for index, logit in enumerate(track):
        if index == n_before:
            detector = new(detector)
        found += detector.push(index, np.array([logit]), lambda _: BOX)
    found += detector.finish()
    rows = [(d.class_index, d.first_window, d.last_window, d.best_window, d.logit) for d in found]
    assert sorted(rows) == streamed(np.array(track)[:, None], 1.0, 0.5, refractory_s)
