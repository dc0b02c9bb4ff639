"""Windows cover every chunk, in the places the bundle says."""

import numpy as np
import pytest

from edge_probe.head import TokenSum
from edge_probe.spec import WindowSpec
from edge_probe.window import Window, Windower


def windows_of(n_chunks: int, spec: WindowSpec) -> list[Window]:
    windower = Windower(spec)
    given = [
        window
        for index in range(n_chunks)
        for window in windower.push(TokenSum(np.zeros(1), index), 7 if index == n_chunks - 1 else 9)
    ]
    return given + windower.finish()


@pytest.mark.parametrize("n_chunks", range(1, 14))
@pytest.mark.parametrize(("k", "h"), [(k, h) for k in range(1, 6) for h in range(1, k + 1)])
def test_windows_are_where_the_definition_says(n_chunks: int, k: int, h: int) -> None:
    n_windows = 1 + max(0, -(-(n_chunks - k) // h))
    expected = [list(range(w * h, min(w * h + k, n_chunks))) for w in range(n_windows)]
    windows = windows_of(n_chunks, WindowSpec(k, h, 0.0))
    found = [[chunk.count for chunk in window.chunks] for window in windows]  # type: ignore[union-attr]
    assert found == expected
    assert [window.index for window in windows] == list(range(n_windows))
    assert [window.first_chunk for window in windows] == [w * h for w in range(n_windows)]
    assert {chunk for window in found for chunk in window} == set(range(n_chunks))
    assert windows[-1].n_valid_last == 7


def test_no_chunk_no_window() -> None:
    assert Windower(WindowSpec(2, 1, 0.0)).finish() == []


def test_only_the_chunks_still_needed_are_kept() -> None:
    windower = Windower(WindowSpec(3, 2, 0.0))
    for index in range(1000):
        windower.push(TokenSum(np.zeros(1), index), 9)
        assert len(windower._held) <= 3


@pytest.mark.parametrize("n_before", range(12))
@pytest.mark.parametrize(("k", "h"), [(k, h) for k in range(1, 5) for h in range(1, k + 1)])
def test_another_one_goes_on_at_any_chunk(n_before: int, k: int, h: int) -> None:
    spec, n_chunks = WindowSpec(k, h, 0.0), 12
    windower = Windower(spec, n_before)
    assert n_before - windower.first_needed < k
    given = []
    for index in range(windower.first_needed, n_chunks):
        windows = windower.push(TokenSum(np.zeros(1), index), 9 if index < n_chunks - 1 else 7)
        assert index >= n_before or not windows
        given += windows
    given += windower.finish()

    def places(windows: list[Window]) -> list[tuple[int, int, list[int]]]:
        return [
            (one.index, one.first_chunk, [chunk.count for chunk in one.chunks])  # type: ignore[union-attr]
            for one in windows
        ]

    whole = windows_of(n_chunks, spec)
    n_given = len(whole) - len(given)
    assert places(given) == places(whole[n_given:])
    assert n_given == max(0, (n_before - k) // h + 1)
    assert windower.n_windows == len(whole)
