"""Windows of two bundles are put side by side as it is written, however they come."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.desk.diff.pairs import Logits, Pair, Pairing, Timing, measure_of

Timings = tuple[Timing, Timing]


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    """Chunks of 5 to 24 units, windows of 1 to 5 chunks."""
    chunk = Fraction(draw(st.integers(5, 24)), draw(st.sampled_from([8, 10])))
    window = draw(st.integers(1, 5))
    return Timing(chunk * window, chunk * draw(st.integers(1, window)))


def n_windows(timing: Timing, duration: Fraction) -> int:
    """As the windower counts them: the end of the run cuts the last one."""
    count = 1
    while (count - 1) * timing.hop_s + timing.window_s < duration:
        count += 1
    return count


def logits(side: int, index: int) -> Logits:
    """Class 0 rises with time, class 1 falls: their maxima tell which windows count."""
    return np.array([index, -index, 100.0 * side])


def paired(both: Timings, counts: tuple[int, int], end: Fraction, order: list[int]) -> list[Pair]:
    """Windows come in this order of sides, each as long as there are any."""
    pairing, given_ = Pairing(both), [0, 0]
    found: list[Pair] = []
    for side in order:
        if given_[side] < counts[side]:
            pairing.push(side, logits(side, given_[side]))
            given_[side] += 1
            found += pairing.ready()
    for side in (0, 1):
        for index in range(given_[side], counts[side]):
            pairing.push(side, logits(side, index))
    return found + list(pairing.finish(end))


def counted(both: Timings, counts: tuple[int, int]) -> list[set[int]]:
    """The rule of the module, window by window, in no hurry."""
    own = measure_of(both)
    long, short = both[own], both[1 - own]
    cells: list[set[int]] = [set() for _ in range(counts[own])]
    middles = [n * long.hop_s + long.window_s / 2 for n in range(counts[own])]
    for n in range(counts[1 - own]):
        begin = n * short.hop_s
        end, middle = begin + short.window_s, begin + short.window_s / 2
        within = [
            cell
            for cell in range(counts[own])
            if cell * long.hop_s <= begin and end <= cell * long.hop_s + long.window_s
        ]
        nearest = min(range(counts[own]), key=lambda cell: (abs(middles[cell] - middle), cell))
        for cell in within or [nearest]:
            cells[cell].add(n)
    for cell, middle in enumerate(middles):
        if not cells[cell]:
            cells[cell] = {
                min(
                    range(counts[1 - own]),
                    key=lambda n: (abs(n * short.hop_s + short.window_s / 2 - middle), n),
                )
            }
    return cells


@given(timings(), timings(), st.integers(1, 400), st.lists(st.integers(0, 1), max_size=120))
def test_pairs_are_those_of_the_rule(a: Timing, b: Timing, tenths: int, order: list[int]) -> None:
    end, both = Fraction(tenths, 10), (a, b)
    counts = n_windows(a, end), n_windows(b, end)
    own = measure_of(both)
    expected = counted(both, counts)
    assert set().union(*expected) == set(range(counts[1 - own])), "no window is lost"
    found = paired(both, counts, end, order)
    assert [pair.index for pair in found] == list(range(counts[own]))
    for pair, windows in zip(found, expected, strict=True):
        np.testing.assert_array_equal(pair.logits[own], logits(own, pair.index))
        highest = np.max([logits(1 - own, n) for n in windows], axis=0)
        np.testing.assert_array_equal(pair.logits[1 - own], highest)
        assert pair.start_s == pair.index * both[own].hop_s
        assert pair.end_s == min(end, pair.start_s + both[own].window_s)


@given(timings(), st.integers(1, 200))
def test_equal_windows_are_compared_one_by_one(timing: Timing, tenths: int) -> None:
    n = n_windows(timing, Fraction(tenths, 10))
    for pair in paired((timing, timing), (n, n), Fraction(tenths, 10), [0, 1] * n):
        np.testing.assert_array_equal(pair.logits[0][:2], pair.logits[1][:2])


def test_the_longer_window_is_the_measure_then_the_smaller_hop() -> None:
    long, short = Timing(Fraction(3), Fraction(3)), Timing(Fraction(1), Fraction(1, 2))
    assert (measure_of((long, short)), measure_of((short, long))) == (0, 1)
    often = Timing(Fraction(3), Fraction(1))
    assert (measure_of((long, often)), measure_of((often, long))) == (1, 0)
    assert measure_of((long, long)) == 0


@given(timings(), timings())
def test_memory_does_not_grow_with_the_run(a: Timing, b: Timing) -> None:
    pairing, n_pushed, most = Pairing((a, b)), [0, 0], 0
    for seconds in range(1, 400):
        for side, timing in enumerate((a, b)):
            while n_pushed[side] * timing.hop_s + timing.window_s <= seconds:
                pairing.push(side, logits(side, n_pushed[side]))
                n_pushed[side] += 1
        list(pairing.ready())
        most = max(most, sum(map(len, pairing._held)))
    longest = max(a.window_s, b.window_s)
    assert most <= (3 * longest + 2) / min(a.hop_s, b.hop_s) + 4


def test_without_a_window_of_one_there_is_no_pair() -> None:
    timing = Timing(Fraction(1), Fraction(1))
    assert paired((timing, timing), (3, 0), Fraction(3), [0, 0, 0]) == []
