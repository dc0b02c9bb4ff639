"""What the clock tells: drift is not a loss, a loss is not drift, lateness is neither."""

import random

import pytest
from support.numbered_source import stamps

from edge_probe.source.timeline import CREEP_S, MAX_DRIFT, Timeline

RATE = 48_000
BLOCK = RATE // 4
HOUR_BLOCKS = 3600 * 4
JITTER_S = 0.002


@pytest.mark.parametrize("drift", [-100e-6, 100e-6])
def test_hours_of_drift_and_jitter_are_no_loss_and_are_fitted(drift: float) -> None:
    """`tests/faults` does it for a day."""
    chance, timeline = random.Random(drift), Timeline(RATE)

    def lateness_s() -> float:
        held_up = chance.random() < 1e-3  # callbacks that come in a bunch after it
        return chance.gauss(0, JITTER_S) + (chance.uniform(0, 0.6) if held_up else 0)

    for stamp in stamps(RATE, BLOCK, 2 * HOUR_BLOCKS, drift, lateness_s):
        assert timeline.observe(stamp) == []
    assert timeline.close() == []
    assert abs(timeline.drift - drift) <= 5e-6


def test_losses_amid_drift_and_jitter_are_found_one_by_one() -> None:
    chance, timeline = random.Random(1), Timeline(RATE)
    places = sorted(chance.sample(range(10, HOUR_BLOCKS), 20))
    lost = {block: round(chance.uniform(0.27, 3) * RATE) for block in places}
    found = [
        loss
        for stamp in stamps(
            RATE, BLOCK, HOUR_BLOCKS + 60, 80e-6, lambda: chance.gauss(0, JITTER_S), lost
        )
        for loss in timeline.observe(stamp)
    ]
    assert [loss.position for loss in found] == [(block - 1) * BLOCK for block in places]
    for loss, n_frames in zip(found, lost.values(), strict=True):
        assert abs(loss.n_frames - n_frames) <= 5 * JITTER_S * RATE


def test_a_loss_right_after_another_has_its_own_place() -> None:
    timeline = Timeline(RATE)
    lost = {20: RATE // 2, 21: RATE // 3, 23: RATE}
    found = [
        loss
        for stamp in stamps(RATE, BLOCK, 40, 0, lambda: 0.0, lost)
        for loss in timeline.observe(stamp)
    ]
    assert [loss[:2] for loss in found] == [
        (19 * BLOCK, RATE // 2),
        (20 * BLOCK, RATE // 3),
        (22 * BLOCK, RATE),
    ]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.024])
@pytest.mark.parametrize("drift", [-100e-6, 100e-6])
def test_losses_too_small_to_be_seen_add_up(share: float, drift: float) -> None:
    """A sound system that loses a little every second, and never says so."""
    timeline, n_blocks = Timeline(RATE), HOUR_BLOCKS // 2
    lost = dict.fromkeys(range(12, n_blocks, 4), round(share * RATE))
    found = [
        loss
        for stamp in stamps(RATE, BLOCK, n_blocks, drift, lambda: 0.0, lost)
        for loss in timeline.observe(stamp)
    ]
    booked_s = sum(loss.n_frames for loss in found) / RATE
    at_most_drift_s = (MAX_DRIFT - drift) * n_blocks * BLOCK / RATE
    assert 0 <= sum(lost.values()) / RATE - booked_s <= at_most_drift_s + CREEP_S + 10 * share
    assert [loss.position for loss in found] == sorted({loss.position for loss in found})


def test_a_sound_server_that_shifts_now_and_then_has_lost_nothing() -> None:
    """By less than the tolerance, as when somebody else begins to listen and ceases again."""
    chance, timeline = random.Random(3), Timeline(RATE)
    latency_s = 0.0

    def lateness_s() -> float:
        nonlocal latency_s
        if chance.random() < 1 / 400:
            latency_s = chance.uniform(0, 0.24)
        return latency_s + chance.uniform(0, 0.01)

    for stamp in stamps(RATE, BLOCK, HOUR_BLOCKS, 100e-6, lateness_s):
        assert timeline.observe(stamp) == []
