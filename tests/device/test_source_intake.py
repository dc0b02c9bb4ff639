"""Frames and gaps come out in order, whatever the order in which they were found."""

from support.numbered_source import NumberedSource, VirtualClock

from edge_probe.source.intake import Gap, Intake
from edge_probe.source.ring import Ring

RATE, BLOCK = 1000, 100


def test_a_loss_found_after_a_full_ring_but_before_it_in_time_comes_first() -> None:
    ring, clock = Ring(10 * RATE, 4), VirtualClock()
    source, intake = NumberedSource(ring, clock, RATE, BLOCK), Intake(ring, RATE, full="disk")
    source.deliver(98)
    intake.look()
    source.lose(500)
    source.deliver(4)  # two of them find no room
    ring.release(intake.end)
    source.deliver()
    intake.look()  # the ring tells of its two; of the 500 nobody knows yet
    assert (intake.end, intake.gap) == (98 * BLOCK, None)
    source.deliver(5)
    intake.look()
    assert (intake.end, intake.gap) == (98 * BLOCK, Gap(98 * BLOCK, 500, "stall"))
    intake.pass_gap()
    assert (intake.end, intake.gap) == (100 * BLOCK, Gap(100 * BLOCK, 2 * BLOCK, "disk"))
    intake.pass_gap()
    assert (intake.end, intake.gap) == (106 * BLOCK, None)


def test_at_the_end_all_that_came_is_certain_and_told_once() -> None:
    ring, clock = Ring(5 * RATE, 4), VirtualClock()
    source, intake = NumberedSource(ring, clock, RATE, BLOCK), Intake(ring, RATE, full="disk")
    source.deliver(48)
    source.lose(500)
    source.deliver(3)  # the last one finds no room
    for _ in range(2):  # a disk that fails makes its writer ask again
        intake.look(at_end=True)
    assert (intake.end, intake.gap) == (48 * BLOCK, Gap(48 * BLOCK, 500, "stall"))
    intake.pass_gap()
    assert (intake.end, intake.gap) == (50 * BLOCK, Gap(50 * BLOCK, BLOCK, "disk"))
    intake.pass_gap()
    assert (intake.end, intake.gap) == (50 * BLOCK, None)
