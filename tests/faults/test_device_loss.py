"""A microphone that is lost and comes back, again and again, through real PortAudio."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faults.conftest import count
from numpy.typing import NDArray
from support.live_recorder import LiveRecorder
from support.numbered_microphone import RATE, NumberedMicrophone
from support.numbered_source import samples, stretches
from support.whereabouts import Whereabouts

OPTIONS = "--bits", "32", "--no-flac", "--floor", "0.01"
NOTICED_S = 3.0
BACK_S = 6.0
"""From the microphone's return to the first block: a wait of at most 4 s, opening and listening."""

MOST_ERROR_S = 0.15
"""Of the length of a gap between two streams: a block, and what a sound server shifts by itself."""

MOST_KIB = 1024
"""That memory grows by in half of the cycles."""

WAYS: dict[str, tuple[Callable[[NumberedMicrophone], None], ...]] = {
    "server killed": (NumberedMicrophone.unplug, NumberedMicrophone.plug),
    "card taken away": (NumberedMicrophone.unload, NumberedMicrophone.load),
    "card asleep": (NumberedMicrophone.suspend, NumberedMicrophone.resume),
    "card gives nothing": (NumberedMicrophone.mute, NumberedMicrophone.unmute),
}
"""How it is lost, and how it comes back."""


def test_a_microphone_that_comes_and_goes_leaves_gaps_and_nothing_else(
    numbered: NumberedMicrophone,
    memory_folder: Path,
    chance: random.Random,
    results: dict[str, Any],
) -> None:
    noticed_s, back_s, held = [], [], []
    n_cycles = count("losses")
    with LiveRecorder(numbered, memory_folder / "state", RATE, OPTIONS) as recorder:
        recorder.wait_for("recording fieldmic")
        began = time.monotonic()
        for cycle in range(n_cycles):
            time.sleep(chance.uniform(1, 2.5))
            held.append((recorder.n_descriptors, recorder.n_threads, recorder.rss_anon_kib))
            lose, give_back = WAYS[list(WAYS)[cycle % len(WAYS)]]
            lose(numbered)
            noticed_s.append(recorder.wait_for("microphone lost", cycle + 1))
            time.sleep(chance.uniform(0, 1))
            give_back(numbered)
            back_s.append(recorder.wait_for("recording fieldmic", cycle + 2))
        cycle_s = (time.monotonic() - began) / n_cycles
        recorder.stop()

    found = Whereabouts(recorder.state)
    *gaps, last = found.gaps
    descriptors, threads, rss_kib = zip(*held, strict=True)
    half = n_cycles // 2
    results["microphone lost"] = {
        "cycles": n_cycles,
        "seconds_a_cycle": round(cycle_s, 1),
        "noticed_within_s": round(max(noticed_s), 2),
        "back_within_s": round(max(back_s), 2),
        "gap_wrong_by_at_most_s": round(max((gap.error_s for gap in gaps), default=0.0), 3),
        "frames_unaccounted_for": sum(abs(jump.n_frames) for jump in found.unaccounted),
        "descriptors": max(descriptors),
        "threads": max(threads),
        "rss_kib": [max(rss_kib[:half]), max(rss_kib[half:])],
    }
    assert max(noticed_s) < NOTICED_S
    assert max(back_s) < BACK_S
    assert found.unaccounted == []
    assert found.n_streams == n_cycles + 1
    assert [gap.cause for gap in gaps] == ["device"] * n_cycles
    assert last.cause == "schedule"
    assert max(gap.error_s for gap in gaps) < MOST_ERROR_S
    assert max(descriptors[half:]) <= max(descriptors[:half])
    assert max(threads[half:]) <= max(threads[:half])
    assert max(rss_kib[half:]) - max(rss_kib[:half]) <= MOST_KIB


def test_a_microphone_that_another_silently_replaced_is_opened_again(
    numbered: NumberedMicrophone, memory_folder: Path, results: dict[str, Any]
) -> None:
    """PulseAudio moves whoever listens to a card that goes to the next one; here that is silent."""
    with LiveRecorder(numbered, memory_folder / "state", RATE, OPTIONS) as recorder:
        recorder.wait_for("recording fieldmic")
        time.sleep(3)
        numbered.reroute()
        alarmed_s = recorder.wait_for("every sample has had the same value;")
        recorder.wait_for("microphone lost: every sample has had the same value")
        numbered.load()
        recorder.wait_for("recording fieldmic", 2)
        time.sleep(3)
        recorder.stop()
        assert recorder.said("every sample has had the same value;") == 1

    heard = numbers(recorder.state, 1)
    alive, zeros = np.split(heard, [np.count_nonzero(heard)])
    *_, (end, lost, cause, _) = stretches(recorder.state, 1)
    assert lost is not None
    error = int(numbers(recorder.state, 2)[0] - alive[0]) - end - lost
    results["microphone replaced by a silent one"] = {
        "alarm_after_s": round(alarmed_s, 1),
        "zeros_recorded_s": round(len(zeros) / RATE, 1),
        "gap_s": round(lost / RATE, 2),
        "gap_wrong_by_s": round(abs(error) / RATE, 3),
    }
    assert not zeros.any()
    np.testing.assert_array_equal(np.diff(alive), 1)
    assert cause == "device"
    assert abs(error) < MOST_ERROR_S * RATE


def numbers(state: Path, stream: int) -> NDArray[np.int32]:
    """All that was recorded of a stream."""
    names = [name for *_, name in stretches(state, stream) if name is not None]
    return np.concatenate([samples(state / "audio" / name) for name in names])
