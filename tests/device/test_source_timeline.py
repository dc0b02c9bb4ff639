"""What the clock tells: drift is not a loss, a loss is not drift, lateness is neither."""

import random

import pytest
from support.numbered_source import stamps

from edge_probe.source.timeline import Timeline

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
