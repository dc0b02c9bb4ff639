"""Samples: drawn once, the same again after a restart, with the chance that was promised."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_segments import MadeFindings, MadeSegments

from edge_probe.capture.segment import Format
from edge_probe.disk import rows
from edge_probe.disk.findings import Findings
from edge_probe.disk.sample import Design, Sampler, Stratum, chance
from edge_probe.errors import StateError

RATE = 1000
MONO = Format(RATE, 1, 2)


@pytest.fixture
def card(tmp_path: Path) -> MadeSegments:
    return MadeSegments(tmp_path, MONO)


def sampler(card: MadeSegments, design: Design) -> Sampler:
    return Sampler(design, Findings(card.state / "detections.sqlite"))


def drawn(card: MadeSegments) -> list[tuple]:
    return card.ledger.connection.execute(
        "SELECT kind, stream, first_frame, n_frames, score_from, probability FROM sample"
        " ORDER BY 1, 2, 3"
    ).fetchall()


def test_chances_are_even_and_independent() -> None:
    n = 20_000
    one = np.array([chance(1, "random", 1, i * 3000) for i in range(n)])
    for other in (
        [chance(2, "random", 1, i * 3000) for i in range(n)],
        [chance(1, "stratified", 1, i * 3000) for i in range(n)],
        [chance(1, "random", 2, i * 3000) for i in range(n)],
        [*one[1:], one[0]],
    ):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(n)
    counts, _ = np.histogram(one, 20, (0, 1))
    assert ((counts - n / 20) ** 2 / (n / 20)).sum() < 44  # chi squared, 19 degrees, p = 0.001


def test_golden_chance() -> None:
    """Another value would draw other windows after an update."""
    assert chance(7, "random", 3, 144_000) == pytest.approx(0.2931598552986817, abs=0)


def test_windows_are_those_of_the_hash(card: MadeSegments) -> None:
    for n_frames in (10_000, 4_500, 7_300):
        card.add(n_frames)
    sampler(card, Design(5, 2.0, 0.4)).draw(card.ledger)
    wanted = [
        ("random", 1, at, 2000, None, 0.4)
        for at in range(0, 21_800 - 1999, 2000)
        if chance(5, "random", 1, at) < 0.4
    ]
    assert drawn(card) == wanted
    assert 0 < len(wanted) < 10


def test_no_window_reaches_over_a_gap(card: MadeSegments) -> None:
    card.add(5_000)
    card.end_frame += 700
    card.add(5_000)
    sampler(card, Design(5, 2.0, 1.0)).draw(card.ledger)
    assert [row[2] for row in drawn(card)] == [0, 2000, 6000, 8000]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(100, 9000), min_size=1, max_size=12), data=st.data())
def test_a_restart_draws_the_same(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    design = Design(11, 0.7, 0.5)
    at_once = MadeSegments(tmp_path_factory.mktemp("once"), MONO)
    bit_by_bit = MadeSegments(tmp_path_factory.mktemp("bits"), MONO)
    for n_frames in sizes:
        at_once.add(n_frames)
        bit_by_bit.add(n_frames)
        if data.draw(st.booleans()):
            sampler(bit_by_bit, design).draw(bit_by_bit.ledger)
    for card in (at_once, bit_by_bit):
        sampler(card, design).draw(card.ledger)
        sampler(card, design).draw(card.ledger)
    assert drawn(at_once) == drawn(bit_by_bit)
    wanted = range(0, sum(sizes) - 699, 700)
    assert [row[2] for row in drawn(at_once)] == [
        at for at in wanted if chance(11, "random", 1, at) < 0.5
    ]


def test_another_seed_leaves_what_was_drawn(card: MadeSegments) -> None:
    card.add(10_000)
    sampler(card, Design(1, 1.0, 0.5)).draw(card.ledger)
    before = drawn(card)
    card.add(10_000)
    sampler(card, Design(2, 1.0, 0.25)).draw(card.ledger)
    assert [row for row in drawn(card) if row[2] < 10_000] == before
    assert {row[5] for row in drawn(card) if row[2] >= 10_000} == {0.25}


def test_strata_by_score_once_scores_are_known(card: MadeSegments) -> None:
    found = MadeFindings(card.state)
    for _ in range(3):
        card.add(20_000)
    values = np.random.default_rng(0).uniform(0, 1, 60).tolist()
    for n, value in enumerate(values):
        found.score(n, value, RATE)
    design = Design(3, 1.0, 0.0, (Stratum(0.2, 0.25), Stratum(0.6, 0.5), Stratum(0.9, 1.0)))
    own = sampler(card, design)
    own.draw(card.ledger)
    assert drawn(card) == []
    found.classify(45_000, RATE)
    own.draw(card.ledger)
    assert own.is_drawn(card.ledger.connection, card.segments()[1])
    assert not own.is_drawn(card.ledger.connection, card.segments()[2])
    wanted = []
    for n, value in enumerate(values[:40]):
        reached = [s for s in design.strata if value >= s.score_from]
        if reached and chance(3, "stratified", 1, n * RATE) < reached[-1].probability:
            row = ("stratified", 1, n * RATE, RATE, reached[-1].score_from)
            wanted.append((*row, reached[-1].probability))
    assert drawn(card) == wanted
    assert {row[4] for row in wanted} == {0.2, 0.6, 0.9}
    found.close()


def test_a_sampled_window_protects_each_segment_it_touches(card: MadeSegments) -> None:
    for _ in range(4):
        card.add(1_500)
    sampler(card, Design(1, 2.0, 1.0)).draw(card.ledger)
    card.ledger.connection.execute("DELETE FROM sample WHERE first_frame != 2000")
    held = [rows.holds_sample(card.ledger.connection, s) for s in card.segments()]
    assert held == [False, True, True, False]


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, 1.1), (1, 1.0, -0.1), (1, 0.0, 0.5), (1, 1000.0, 0.5),
        (1, 1.0, 0.5, (Stratum(0.5, 0.1), Stratum(0.5, 0.1))),
        (1, 1.0, 0.5, (Stratum(0.5, 2.0),)),
    ],
)  # fmt: skip
def test_designs_that_make_no_sense_are_refused(values: tuple) -> None:
    with pytest.raises(StateError):
        Design(*values)
