"""Lost frames: counted against the clock, booked where they are missing, told once."""

import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest

from edge_probe.source.loss import Gaps, Shortfall
from edge_probe.source.microphone import RING_S, Microphone

RATE, BLOCK = 8_000, 800


def test_shortfall_books_lost_frames_once_and_forgives_buffering() -> None:
    shortfall = Shortfall(1_000)
    n_frames = booked = 0
    for tick in range(4_000):  # 10 ms each: 40 s
        lost = 1_000 <= tick < 1_200  # 2 s during which nothing arrives
        stalled = 2_000 <= tick < 2_050  # half a second late, then caught up
        if not lost and not stalled:
            n_frames += 510 if tick == 2_050 else 10
            booked += shortfall.missing(n_frames + booked, tick / 100)
    assert booked == pytest.approx(2_000, abs=20)


def test_shortfall_takes_drift_for_drift() -> None:
    shortfall = Shortfall(48_000)
    booked = 0
    for second in range(24 * 3_600):
        n_frames = round(second * 48_000 * (1 - 150e-6))
        booked += shortfall.missing(n_frames + booked, float(second))
    assert booked == 0


def test_gaps_are_told_once_and_in_their_places() -> None:
    gaps = Gaps()
    gaps.drop(500, 30)
    gaps.drop(500, 20)
    gaps.book(200, 7)
    assert gaps.collect() == 50
    assert (gaps.take(0), gaps.next_position(900)) == (0, 200)
    assert (gaps.take(200), gaps.next_position(900)) == (7, 500)
    assert (gaps.take(500), gaps.take(500), gaps.next_position(900)) == (50, 0, 900)


class FakeCard:
    """A sound card whose script decides when which frames arrive; frame n holds the value n."""

    def __init__(self, script: Callable[["FakeCard"], None]) -> None:
        self._script = script
        self.default = SimpleNamespace(device=(0, 0))
        self.PortAudioError = RuntimeError
        self.active = True
        self.n_frames = 0

    def query_devices(self) -> list[dict[str, Any]]:
        return [{"index": 0, "name": "card", "max_input_channels": 1, "default_samplerate": RATE}]

    def InputStream(self, *, callback: Callable[..., None], **_: object) -> Self:
        self._callback = callback
        return self

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._script, args=(self,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def deliver(self, n_blocks: int, *, lost: bool = False) -> None:
        """So many blocks come, or are lost on the way."""
        for _ in range(n_blocks):
            block = np.arange(self.n_frames, self.n_frames + BLOCK)[:, None] // BLOCK
            self.n_frames += BLOCK
            if not lost:
                self._callback(block.astype(np.int16), BLOCK, None, 0)


def runs(microphone: Microphone, stall: Callable[[], None]) -> list[tuple[int, int, int]]:
    """First and last block of every gap-free run, with the frames missing before it."""
    found: list[tuple[int, int, int]] = []
    for frames, n_missing in microphone.frames():
        first, last = int(frames[0, 0]), int(frames[-1, 0])
        if n_missing or not found:
            found.append((first, last, n_missing))
        else:
            found[-1] = (found[-1][0], last, found[-1][2])
        stall()
    return found


def test_a_full_ring_is_a_gap_where_frames_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier stalls while more than the ring holds comes in; nothing is misplaced."""
    n_ring = round(RING_S * RATE) // BLOCK
    stalled, go_on = threading.Event(), threading.Event()

    def script(card: FakeCard) -> None:
        card.deliver(1)
        stalled.wait(10)
        card.deliver(n_ring + 10)
        go_on.set()
        time.sleep(0.3)
        card.deliver(5)

    def stall() -> None:
        stalled.set()
        go_on.wait(10)

    monkeypatch.setitem(sys.modules, "sounddevice", FakeCard(script))
    microphone = Microphone(None, duration_s=(n_ring + 6) * BLOCK / RATE)
    found = runs(microphone, stall)
    assert found == [(0, n_ring, 0), (n_ring + 11, n_ring + 15, 10 * BLOCK)]
    assert microphone.n_missing == 10 * BLOCK


def test_a_loss_the_clock_reveals_is_put_where_it_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is lost without a word; what comes afterwards waits for the verdict.

    That the card takes a second to begin is no loss.
    """

    def script(card: FakeCard) -> None:
        time.sleep(1)
        begin = time.monotonic()
        for tick in range(32):  # 0.1 s each
            time.sleep(max(0.0, begin + tick * 0.1 - time.monotonic()))
            card.deliver(1, lost=10 <= tick < 16)

    monkeypatch.setitem(sys.modules, "sounddevice", FakeCard(script))
    microphone = Microphone(None, duration_s=2.5)
    (first, second) = runs(microphone, lambda: None)
    assert first == (0, 9, 0)
    assert second[0] == 16
    assert second[2] == pytest.approx(6 * BLOCK, abs=BLOCK)
