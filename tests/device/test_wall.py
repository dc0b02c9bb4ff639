"""Wall time: what becomes known later counts for what came before, and nothing goes backwards."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_ledger import RATE, T0, MadeState, S
from support.numbered_source import VirtualClock

from edge_probe.capture.segment import Format, Place
from edge_probe.capture.store import Store, Timing
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.database import read
from edge_probe.deployment.effort import rows
from edge_probe.deployment.wall import (
    STEP_NS,
    TRUST,
    Anchor,
    BootClock,
    Knot,
    Moment,
    StreamClock,
    Wall,
)

HOUR, YEAR = 3600 * S, 365 * 86400 * S


def boot_clock(*anchors: tuple[int, int, str]) -> BootClock:
    return BootClock([Anchor(*anchor) for anchor in anchors])


def read_wall(path: Path) -> Wall:
    return read(path / "capture.sqlite", Wall.read, CAPTURE_VERSION)


def test_a_late_network_time_corrects_what_came_before() -> None:
    clock = boot_clock((S, 5 * S, "unset"), (100 * S, T0 + 100 * S, "ntp"))
    assert clock.at(3 * S) == (T0 + 3 * S, "ntp")
    assert clock.at(9999 * S) == (T0 + 9999 * S, "ntp")


@pytest.mark.parametrize("n", range(1, len(TRUST)))
def test_the_highest_trust_wins_wherever_it_is(n: int) -> None:
    better, worse = TRUST[n], TRUST[n - 1]
    for when in (0, 50 * S, 100 * S):
        clock = boot_clock(*sorted([(10 * S, 7, worse), (90 * S, 8, worse), (when, T0, better)]))
        assert clock.at(when + 5) == (T0 + 5, better)
        assert clock.at(10 * S).trust == better


def test_of_equal_trust_the_nearest_counts() -> None:
    clock = boot_clock(
        (0, T0, "ntp"), (10 * S, T0 + 10 * S, "ntp"),
        (20 * S, T0 + 20 * S + HOUR, "ntp"), (30 * S, T0 + 30 * S + HOUR, "ntp"),
    )  # fmt: skip
    assert clock.at(15 * S - 1).utc_ns == T0 + 15 * S - 1
    assert clock.at(15 * S).utc_ns == T0 + 15 * S + HOUR
    assert len(clock.pieces) == 2


def test_readings_that_differ_by_a_hair_are_one_clock() -> None:
    clock = boot_clock(*((t * S, T0 + t * S + t % 3 * STEP_NS // 4, "ntp") for t in range(100)))
    assert len(clock.pieces) == 1


def test_two_readings_by_hand_correct_the_rate() -> None:
    fast = 1_000_050  # UTC goes 50 ppm faster than this board
    clock = boot_clock((0, T0, "manual"), (10**6, T0 + fast, "manual"), (5, 0, "ntp"))
    assert clock.at(2 * 10**6) == (T0 + 2 * fast, "manual")
    assert clock.at(-(10**6)).utc_ns == T0 - fast
    piece = clock.pieces[0]
    for when in (0, 10**15, 123_456_789_012_345):
        assert abs(piece.monotonic(piece.utc(when)) - when) <= 1


def test_frames_follow_the_times_of_segments_not_the_newest_drift(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0, "ntp")
    stream = made.stream(opened_ns=0)
    began, ns_per_frame = 0.0, 10**6
    truth: dict[int, float] = {}
    for day in range(30):  # the card's drift wanders by 40 ppm
        for _ in range(24):
            frame = len(truth) * 3600 * RATE
            truth[frame] = began
            made.segment(stream, frame, 3600 * RATE, round(began))
            began += 3600 * RATE * ns_per_frame * (1 + 40e-6 * (day % 2))
    made.ledger.set_timing(stream, 0, 40e-6)
    clock = read_wall(tmp_path).streams[stream]
    for frame, when in truth.items():
        assert abs(clock.monotonic_ns(frame) - when) <= 1
        assert clock.frame(round(when)) == frame


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.floats(0.999, 1.001)), max_size=8),
    st.lists(st.integers(0, 10**10), min_size=2, max_size=20),
)
def test_later_frames_are_never_earlier(steps: list[tuple[int, float]], frames: list[int]) -> None:
    knots = [Knot(0, 5)]
    for n_frames, rate in steps:
        frame, when = knots[-1]
        knots.append(Knot(frame + n_frames, when + round(n_frames * 1e6 * rate)))
    clock = StreamClock(1, boot_clock((0, T0, "ntp")), knots, 1 / RATE)
    times = [clock.monotonic_ns(frame) for frame in sorted(frames)]
    assert all(a <= b for a, b in pairwise(times))
    for frame in frames:
        assert abs(clock.frame(clock.monotonic_ns(frame)) - frame) <= 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [("ntp", "gps", 100_000), ("rtc", "rtc", 100_000), ("unset", "ntp", None),
     ("ntp", "unset", None)],
)  # fmt: skip
def test_a_gap_between_boots_is_as_long_as_trusted_clocks_say(
    tmp_path: Path, before: str, after: str, expected: int | None
) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(7 * S, T0 + 7 * S, before)
    first = made.stream(opened_ns=5 * S)
    made.segment(first, 0, 60_000)
    made.gap(first, 60_000, None, "power")
    made.reboot()
    made.anchor(3 * S, T0 + 165 * S, after)
    second = made.stream(opened_ns=3 * S)
    wall = read_wall(tmp_path)
    assert wall.open_gap(first, 60_000, Moment(2, 3 * S)) == expected
    assert wall.open_gap(second, 0, Moment(2, 4 * S)) == 1000


def test_clocks_that_contradict_each_other_tell_nothing(tmp_path: Path) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0, "rtc")
    stream = made.stream(opened_ns=0)
    made.segment(stream, 0, 60_000)
    made.reboot()
    made.anchor(0, T0 - HOUR, "rtc")
    made.stream(opened_ns=0)
    assert read_wall(tmp_path).open_gap(stream, 60_000, Moment(2, 0)) is None


def test_a_thousand_clock_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boots before network time, steps of a second, an hour (DST), a year, and to 1970."""
    monkeypatch.setattr("os.fsync", lambda fd: None)  # nobody cuts the power here
    random_ = random.Random(5)
    clock, mono = VirtualClock(trusted="unset"), Format(RATE, 1, 2)
    truth: dict[str, int] = {}  # true UTC at monotonic 0 of each boot
    synced: set[str] = set()
    places: list[tuple[Place, int]] = []  # and monotonic time of the first frame
    store = stream = None
    end_ns, next_frame, opened = T0, 0, 0
    for n_step in range(1000):
        if n_step % 25 == 0:  # a new boot, sometimes with power away for long
            if store:
                store.end_stream(next_frame, "schedule", Timing(opened, clock.now_ns, 0))
                store.close()
            end_ns += random_.choice([S, HOUR, YEAR])
            clock.kernel_id, clock.now_ns, clock.trusted = f"kernel {n_step}", 10 * S, "unset"
            truth[clock.kernel_id] = end_ns - clock.now_ns
            clock.offset_ns = random_.choice([0, T0, end_ns - clock.now_ns])
            store, opened, next_frame = Store(tmp_path, clock), clock.now_ns, 0
            store._ledger._db.execute("PRAGMA synchronous = OFF")
            stream = store.begin_stream("made", mono, opened)
        assert store
        assert stream
        if random_.random() < 0.05:
            clock.offset_ns, clock.trusted = truth[clock.kernel_id], "ntp"
        else:
            step = random_.choice([S, HOUR, YEAR, clock.utc_ns()]) * random_.choice([-1, 1])
            clock.offset_ns, clock.trusted = (clock.offset_ns + step) % (2 * T0), "unset"
        segment = store.begin_segment(next_frame, 500, Timing(opened, clock.now_ns, 0))
        assert segment
        if clock.trusted == "ntp":
            synced.add(clock.kernel_id)
        segment.write(bytes(1000))
        place = Place.of(segment.path.name)
        assert place
        places.append((place, clock.now_ns))
        next_frame += 500
        clock.now_ns += S // 2
        end_ns = truth[clock.kernel_id] + clock.now_ns
    assert store
    store.end_stream(next_frame, "schedule", Timing(opened, clock.now_ns, 0))
    store.close()

    names = sorted(path.name for path in (tmp_path / "audio").iterdir())
    assert [Place.of(name) for name in names] == [place for place, _ in places]  # none overwritten
    wall = read_wall(tmp_path)
    for place, when in places:
        stream_clock = wall.streams[place.stream]
        assert stream_clock.monotonic_ns(place.first_frame) == when
        kernel = f"kernel {(place.boot - 1) * 25}"
        if kernel in synced:  # from its first frame on, however late the network came
            assert stream_clock.at(place.first_frame) == (truth[kernel] + when, "ntp")
        else:
            assert stream_clock.at(place.first_frame).trust == "unset"
    assert 5 < len(synced) < 40
    effort = read(tmp_path / "capture.sqlite", lambda db: [*rows(db, None, None)], CAPTURE_VERSION)
    assert sum(row.frames.recorded for row in effort) == 500 * 1000
    assert all(row.end_utc_ns is None or row.start_utc_ns < row.end_utc_ns for row in effort)
    assert all(row.frame_s > 0 for row in effort)
