"""The ring under a callback that never waits and a reader that is often too slow."""

import random
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from edge_probe.source.ring import Ring

BLOCK = 10
N_BLOCKS = 4_000


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_callback_and_reader_lose_nothing_between_them(eager_threads: None) -> None:
    ring = Ring(40 * BLOCK, 4)

    def call_back() -> None:
        for block in range(N_BLOCKS):
            first = block * BLOCK
            ring.push(np.arange(first, first + BLOCK, dtype="<i4").tobytes(), block)
            if block % 100 == 0:
                time.sleep(0)

    sound_card = threading.Thread(target=call_back)
    sound_card.start()
    got: list[np.ndarray] = []
    gaps: list[tuple[int, int]] = []
    chance, position, n_stamps = random.Random(0), 0, 0
    while (runs := sound_card.is_alive()) or position < ring.n_written:
        stamps = ring.stamps()
        n_stamps += len(stamps)
        end = ring.n_written
        gaps += ring.drops(at_end=not runs)
        got.append(ring.read(position, end).view("<i4").ravel())
        ring.release(position := end)
        if chance.random() < 0.3:
            time.sleep(0.001)
    n_stamps += len(ring.stamps())
    gaps += ring.drops(at_end=True)
    sound_card.join()

    assert n_stamps == N_BLOCKS
    assert gaps, "the reader was never too slow: this proves nothing"
    numbers = np.concatenate(got)
    expected = np.arange(len(numbers))
    for at, n_frames in gaps:
        expected[at:] += n_frames
    np.testing.assert_array_equal(numbers, expected)
    assert len(numbers) + sum(n for _, n in gaps) == N_BLOCKS * BLOCK


def test_a_stretch_across_the_end_of_the_memory_is_one() -> None:
    ring = Ring(10, 4)
    for first in (0, 7):
        ring.push(np.arange(first, first + 7, dtype="<i4").tobytes(), 0)
        got = ring.read(first, first + 7)
        ring.release(first + 7)
        np.testing.assert_array_equal(got.view("<i4").ravel(), np.arange(first, first + 7))
