"""Effort: sums that hold to the frame, for any schedule."""

import csv
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_ledger import RATE, T0, MadeState, S
from support.numbered_source import VirtualClock

from edge_probe.deployment.effort import (
    COLUMNS,
    HOUR_NS,
    Frames,
    Row,
    read_both,
    rows,
    write_effort,
)
from edge_probe.deployment.spans import Span, add, common, counts, merged, without
from edge_probe.deployment.state import StateFolder
from edge_probe.deployment.wall import Moment

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))).map(
    lambda pairs: sorted((begin, begin + n) for begin, n in pairs)
)


def frames(spans: list[Span]) -> set[int]:
    return {frame for begin, end in spans for frame in range(begin, end)}


@given(SPANS, SPANS)
def test_spans_are_sets(some: list[Span], others: list[Span]) -> None:
    a, b = merged(some), merged(others)
    assert frames(a) == frames(some)
    assert all(x[1] < y[0] for x, y in pairwise(a))
    assert frames(common(a, b)) == frames(a) & frames(b)
    assert frames(without(a, b)) == frames(a) - frames(b)
    cells = [(0, 3), (3, 20), (20, 21), (30, 100)]
    assert counts(a, cells) == [len(frames(a) & set(range(*cell))) for cell in cells]


def effort(path: Path, now: Moment | None = None) -> list[Row]:
    return read_both(
        StateFolder(path), lambda capture, detections: [*rows(capture, detections, now)]
    )


def hour_of(made: MadeState, *, minute: int) -> int:
    """A stream in a boot whose clock is right, opened so many minutes after a full hour."""
    made.reboot()
    made.anchor(0, T0 // HOUR_NS * HOUR_NS, "ntp")
    return made.stream(opened_ns=minute * 60 * S)


def test_an_hour_without_classifier_is_missing_from_what_was_classified(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream, minute = hour_of(made, minute=30), 60 * RATE
    made.segment(stream, 0, 180 * minute)
    states = ["done"] * 60 + ["skipped"] * 20 + ["quarantined"] * 20 + ["tried"] * 20
    states += ["done"] * 60
    made.chunks(stream, [(n * minute, minute, state) for n, state in enumerate(states)])
    found = effort(tmp_path)
    assert {row.bundle_sha256 for row in found} == {"bundle 1"}
    assert [row.frames.recorded // minute for row in found] == [30, 60, 60, 30]
    assert [row.frames.classified // minute for row in found] == [30, 30, 30, 30]
    assert [row.frames.skipped // minute for row in found] == [0, 30, 30, 0]


def test_the_file_has_the_promised_columns_and_whole_hours(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream = hour_of(made, minute=30)
    made.segment(stream, 0, 90 * 60 * RATE)
    write_effort(StateFolder(tmp_path), 'Wald "Süd", 1', None)
    data = (tmp_path / "effort.csv").read_bytes()
    assert b"\r" not in data
    assert data.startswith(
        b"deployment_id,stream,channel,bundle_sha256,start_utc,end_utc,clock_trust,scheduled_s,"
        b"recorded_s,gap_s,private_s,unhealthy_s,gated_s,skipped_s,classified_s\n"
    )
    with (tmp_path / "effort.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert tuple(first) == COLUMNS
    assert first["deployment_id"] == 'Wald "Süd", 1'
    assert (first["start_utc"], first["end_utc"]) == (
        "2023-11-14T22:30:00.000Z", "2023-11-14T23:00:00.000Z",
    )  # fmt: skip
    assert (second["start_utc"], second["end_utc"]) == (
        "2023-11-14T23:00:00.000Z", "2023-11-15T00:00:00.000Z",
    )  # fmt: skip
    assert (second["scheduled_s"], second["skipped_s"]) == ("3600.000000", "3600.000000")
    assert second["bundle_sha256"] == ""
    assert second["clock_trust"] == "ntp"


def test_a_drifting_card_still_has_hours_of_3600_seconds(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream = hour_of(made, minute=0)
    made.ledger.set_timing(stream, 0, 1e-4)
    made.segment(stream, 0, 8000 * RATE)
    found = effort(tmp_path)
    assert [f"{row.frames.recorded * row.frame_s:.6f}" for row in found[:2]] == ["3600.000000"] * 2
    assert found[0].frames.recorded == round(3600 * RATE * (1 - 1e-4))


def test_time_off_schedule_is_neither_effort_nor_gap(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream = hour_of(made, minute=0)
    made.segment(stream, 0, 60 * RATE)
    made.gap(stream, 60 * RATE, 7200 * RATE, "schedule")
    made.segment(stream, 7260 * RATE, 60 * RATE)
    made.gap(stream, 7320 * RATE, None, "schedule")
    found = effort(tmp_path)
    assert [row.frames.scheduled for row in found] == [60 * RATE, 60 * RATE]


def test_a_gap_that_goes_on_counts_until_now(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream = hour_of(made, minute=0)
    made.segment(stream, 0, 60 * RATE)
    made.gap(stream, 60 * RATE, None, "device")
    write_effort(StateFolder(tmp_path), "here", VirtualClock(now_ns=7200 * S, kernel_id="kernel 1"))
    lines = (tmp_path / "effort.csv").read_text().splitlines()
    assert [line.split(",")[9] for line in lines[1:]] == ["3540.000000", "3600.000000"]


def test_a_gap_of_unknown_length_is_told_and_not_guessed(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    stream = hour_of(made, minute=0)
    made.segment(stream, 0, 60 * RATE)
    made.gap(stream, 60 * RATE, None, "power")
    made.reboot()
    made.anchor(0, 99 * S, "unset")
    made.segment(made.stream(opened_ns=0), 0, 60 * RATE)
    known, unknown, later = effort(tmp_path)
    assert (known.frames.gap, later.frames.gap) == (0, 0)
    assert (unknown.frames.scheduled, unknown.frames.gap, unknown.end_utc_ns) == (None, None, None)
    write_effort(StateFolder(tmp_path), "here", None)
    row = (tmp_path / "effort.csv").read_text().splitlines()[2]
    assert row == (
        "here,1,0,,2023-11-14T22:01:00.000Z,,ntp,,0.000000,,0.000000,0.000000,0.000000,0.000000,0.000000"
    )


def test_an_hour_in_which_the_clock_was_set_back_is_one_row(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    hour_ns = T0 // HOUR_NS * HOUR_NS
    made.anchor(0, hour_ns + 1200 * S, "unset")
    made.anchor(600 * S, hour_ns + 300 * S, "unset")  # by 25 minutes, in between
    made.segment(made.stream(opened_ns=0), 0, 900 * RATE)
    (row,) = effort(tmp_path)
    assert row.frames.recorded == 900 * RATE
    assert abs(row.frame_s - 1 / RATE) < 1e-12
    assert (row.start_utc_ns, row.end_utc_ns) == (hour_ns, hour_ns + 1500 * S)


def test_every_bundle_and_channel_has_rows_of_its_own(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0 // HOUR_NS * HOUR_NS, "ntp")
    stream = made.stream(opened_ns=0, n_channels=3)
    made.segment(stream, 0, 100)
    made.privacy((stream, 0, 10), (stream, 200, 10))
    made.chunks(stream, [(0, 50, "done")], bundle=1)
    made.chunks(stream, [(0, 100, "done")], bundle=2)
    made.chunks(stream, [(0, 40, "gated"), (40, 30, "skipped")], bundle=2, channel=1)
    found = [(row.channel, row.bundle_sha256, row.frames) for row in effort(tmp_path)]
    assert found == [
        (0, "bundle 1", Frames(100, 100, 0, 10, 0, 0, 50, 40)),
        (0, "bundle 2", Frames(100, 100, 0, 10, 0, 0, 0, 90)),
        (1, "bundle 2", Frames(100, 100, 0, 10, 0, 30, 60, 0)),
        (2, "", Frames(100, 100, 0, 10, 0, 0, 90, 0)),
    ]


def test_a_rebuilt_ledger_without_times_keeps_its_frames(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    stream = made.stream(opened_ns=0)
    for n in range(3):
        made.segment(stream, n * 3600 * RATE, 3600 * RATE, began_ns=0)
    made.gap(stream, 3 * 3600 * RATE, None, "power")
    made.reboot()
    made.anchor(0, T0, "ntp")
    made.stream(opened_ns=0)
    found = effort(tmp_path)
    assert [row.frames.recorded for row in found] == [3600 * RATE] * 3 + [0]
    assert {row.clock_trust for row in found} == {"unset"}
    assert found[-1].frames.gap is None


def test_only_alarms_of_the_channel_make_its_minutes_unhealthy(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0 // HOUR_NS * HOUR_NS, "ntp")
    stream = made.stream(opened_ns=0, n_channels=2)
    made.segment(stream, 0, 600 * RATE)
    made.health(
        (1, 120 * S, "alarm.clipping.1"), (1, 180 * S, "alarm.clipping.1"),
        (1, 300 * S, "alarm.hot"), (1, 661 * S, "alarm.gain"),
    )  # fmt: skip
    assert [row.frames.unhealthy for row in effort(tmp_path)] == [0, 121 * RATE]


@pytest.mark.parametrize("alarm", ["gain", "rate", "agc.Auto Gain Control,0", "muted.Mic,0"])
def test_alarms_of_the_card_make_all_its_channels_unhealthy(tmp_path: Path, alarm: str) -> None:
    """Names as `edge_probe.health.mixer` gives them: those of a control end with its label."""
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0 // HOUR_NS * HOUR_NS, "ntp")
    for opened_s in (0, 1000):
        made.segment(made.stream(opened_ns=opened_s * S, n_channels=2), 0, 600 * RATE)
    made.health((1, 400 * S, f"alarm.{alarm}"))
    assert [row.frames.unhealthy for row in effort(tmp_path)] == [61 * RATE] * 2 + [0] * 2


KINDS = st.lists(
    st.tuples(
        st.sampled_from(["segment", "segment", "stall", "device", "schedule"]),
        st.integers(1, 4000 * RATE),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(KINDS, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 9000 * RATE), st.integers(1, 2000 * RATE)), max_size=5),
    st.integers(1, 700), st.randoms(use_true_random=False),
)  # fmt: skip
def test_sums_hold_to_the_frame(
    tmp_path_factory: pytest.TempPathFactory,
    streams: list[list[tuple[str, int]]],
    private: list[tuple[int, int]],
    chunk_s: int,
    random_: random.Random,
) -> None:
    path = tmp_path_factory.mktemp("state")
    made = MadeState(path)
    wanted: dict[int, tuple[int, int]] = {}
    for kinds in streams:
        boot = made.reboot()
        made.anchor(9 * S, T0 + boot * 20_000 * S, random_.choice(["unset", "ntp"]))
        made.anchor(4000 * S, T0 + boot * 20_000 * S + random_.randint(-9000, 9000) * S, "ntp")
        stream, at, recorded, lost = made.stream(opened_ns=5 * S), 0, 0, 0
        for kind, n_frames in kinds:
            if kind == "segment":
                made.segment(stream, at, n_frames)
                recorded += n_frames
            else:
                made.gap(stream, at, n_frames, kind)
                lost += n_frames * (kind != "schedule")
            at += n_frames
        wanted[stream] = recorded, lost
        made.privacy(*((stream, *span) for span in private))
        made.chunks(stream, [
            (n * chunk_s * RATE, chunk_s * RATE,
             random_.choice(["done", "done", "gated", "skipped", "quarantined", "tried"]))
            for n in range(at // (chunk_s * RATE) + 1)
        ])  # fmt: skip
    found = effort(path)
    totals: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for row in found:
        counted = row.frames
        assert counted.scheduled is not None
        assert counted.gap is not None
        assert counted.scheduled == counted.recorded + counted.gap
        parts = (counted.classified, counted.gated, counted.skipped, counted.private)
        assert counted.recorded == sum(parts)
        assert min(*parts, counted.gap) >= 0
        assert row.end_utc_ns is not None
        assert row.start_utc_ns < row.end_utc_ns
        assert row.start_utc_ns // HOUR_NS == (row.end_utc_ns - 1) // HOUR_NS
        totals[row.stream][0] += counted.recorded
        totals[row.stream][1] += counted.gap
    for stream, (recorded, lost) in wanted.items():
        assert totals[stream] == [recorded, lost]
    keys = [(row.stream, row.channel, row.bundle_sha256, row.start_utc_ns // HOUR_NS)
            for row in found]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_add_refuses_nothing_and_keeps_order() -> None:
    spans: list[Span] = []
    for span in [(0, 2), (2, 3), (5, 5), (6, 9), (7, 8)]:
        add(spans, span)
    assert spans == [(0, 3), (6, 9)]
