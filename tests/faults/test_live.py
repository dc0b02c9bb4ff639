"""A whole station through real PortAudio while the machine has no time for it."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.conftest import count
from support.live_recorder import LiveRecorder, children
from support.made_segments import MadeSegments
from support.numbered_microphone import RATE, NumberedMicrophone
from support.whereabouts import Whereabouts

from edge_probe.analysis.backlog import behind_s
from edge_probe.bundle import open_bundle
from edge_probe.capture.segment import Format
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.source.timeline import SETTLE_S

OPTIONS = (
    "--bundle", str(DEMO_BUNDLE), "--backlog", "1e9", "--bits", "32", "--no-flac", "--floor", "0.01"
)  # fmt: skip
BUSY_PER_CORE = 2
BACKLOG_TIMES = 400
"""Audio that waits for the classifier at the start, in times of the test: it is never done."""

LOSS_S = 0.5, 1.2
EVERY_S = 8.0, 15.0
"""Frames that the card never gives, and how often: all that is missing is to be in a gap, and with
nothing missing that says little."""

MOST_ERROR_S = 0.15
"""Of the length of a gap: a block, and a little for blocks that are late."""

MOST_LATE = 0.01
"""Share of the time that may be booked as lost though nothing is missing: blocks that are a quarter
of a second late for 0.7 s, and come after all, are a loss by the clock. Two busy processes a core
do not make them so late; a crowd of others beside this test has."""

MOST_RSS_MIB = 36
LEAST_WANTED = 0.7
"""Of the time in which the classifier ran or waited for a processor; else it waits for its disk."""


@pytest.mark.alone
def test_every_sample_is_recorded_or_in_a_gap_while_nothing_has_time(
    numbered: NumberedMicrophone, memory_folder: Path, chance: random.Random,
    results: dict[str, Any],
) -> None:  # fmt: skip
    state, live_s = memory_folder / "state", count("live_s")
    leave_work(state, live_s * BACKLOG_TIMES)
    n_losses, most_rss_mib = 0, 0.0
    with LiveRecorder(numbered, state, RATE, OPTIONS) as recorder:
        recorder.wait_for("recording fieldmic", limit_s=300)
        (classifier,) = children(recorder.process.pid)
        time.sleep(3)  # a sound server settles: nothing is judged so early
        with busy_machine():
            before_s, began = wanted_s(classifier), time.monotonic()
            while time.monotonic() - began < live_s:
                time.sleep(chance.uniform(*EVERY_S))
                numbered.mute()
                time.sleep(chance.uniform(*LOSS_S))
                numbered.unmute()
                n_losses += 1
                most_rss_mib = max(most_rss_mib, recorder.rss_anon_kib / 1024)
            time.sleep(3)  # the last one is certain
            wanted = (wanted_s(classifier) - before_s) / (time.monotonic() - began)
        waiting_s = behind_s(state)
        recorder.stop()

    found = Whereabouts(state, first_stream=2)
    gaps = [gap for gap in found.gaps if gap.cause != "schedule"]
    early = [jump for jump in found.unaccounted if jump.frame < SETTLE_S * RATE]
    missing = found.unaccounted[len(early) :]
    real = [gap for gap in gaps if gap.n_missing]
    late_s = sum(gap.n_frames for gap in gaps if not gap.n_missing) / RATE
    results["live, nothing has time"] = {
        "recorded_s": round(found.n_recorded / RATE, 1),
        "lost_on_purpose": n_losses,
        "gaps": [gap.cause for gap in gaps],
        "gaps_s": round(sum(gap.n_frames for gap in gaps) / RATE, 2),
        "gap_wrong_by_at_most_s": round(max((gap.error_s for gap in real), default=0.0), 3),
        "late_taken_for_lost_s": round(late_s, 2),
        "frames_missing_before_anything_is_judged": sum(jump.n_frames for jump in early),
        "frames_unaccounted_for": sum(
            abs(jump.n_frames) for jump in found.unaccounted[len(early) :]
        ),
        "classifier_wanted_processor": round(wanted, 2),
        "recorder_rss_mib": round(most_rss_mib, 1),
    }
    assert missing == []
    assert len(real) >= n_losses
    assert max(gap.error_s for gap in real) < MOST_ERROR_S
    assert late_s < MOST_LATE * live_s
    assert found.n_recorded > 0.8 * live_s * RATE
    assert waiting_s > live_s
    assert wanted > LEAST_WANTED
    assert recorder.said("classifier:") == 0  # the one that was started did it all
    assert most_rss_mib < MOST_RSS_MIB


def leave_work(state: Path, seconds: int) -> None:
    """Recordings of an earlier boot, all zeros, at the rate of the model: sparse files."""
    rate_hz = open_bundle(DEMO_BUNDLE).encoder.sample_rate_hz
    made = MadeSegments(state, Format(rate_hz, 1, 2))
    for _ in range(0, seconds, 3600):
        made.add(3600 * rate_hz)
    made.ledger.close()


@contextmanager
def busy_machine() -> Iterator[None]:
    """Processes that never rest, of the same priority as the recorder."""
    command = [sys.executable, "-c", "while True: pass"]
    crowd = [subprocess.Popen(command) for _ in range(BUSY_PER_CORE * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for one in crowd:
            one.kill()
            one.wait()


def wanted_s(pid: str) -> float:
    """Seconds in which the threads of a process ran or waited for a processor (proc(5))."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(sum(map(int, (task / "schedstat").read_text().split()[:2])) for task in tasks) * 1e-9
