"""Plans: exact where arithmetic is, ranges where nothing was measured, and no silent deletion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.capture.segment import Format
from edge_probe.disk.plan import Plan, Question, Span, describe, plan, require_acceptance, size
from edge_probe.disk.sample import Design
from edge_probe.errors import StateError

MONO = Format(48_000, 1, 2)
CARD = 128 * 10**9


def ask(**changes: object) -> Plan:
    known: dict = {
        "days": 30, "format": MONO, "segment_s": 60.0, "keep": "all", "room_bytes": CARD,
        "flac": False,
    }  # fmt: skip
    return plan(Question(**{**known, **changes}))


def test_bytes_of_pcm_are_exact() -> None:
    made = ask()
    assert made.audio_bytes == Span(*[86_400 * 48_000 * 2 + 1440 * 44] * 2)
    half = ask(schedule_share=0.5, format=Format(384_000, 8, 3))
    assert half.audio_bytes.low == 43_200 * 384_000 * 24 + 720 * 44


def test_the_day_the_card_fills() -> None:
    made = ask()
    assert made.full_days.high == pytest.approx(CARD / (8.2944e9 + 1440 * 444))
    assert made.full_days.low <= made.full_days.high
    assert "recording stops on that day" in "\n".join(describe(made))
    assert not made.deletes
    require_acceptance(made, accepted=False)


def test_flac_is_a_range_until_it_is_measured() -> None:
    pcm = ask().audio_bytes.high
    guess = ask(flac=True)
    assert guess.audio_bytes.low < 0.3 * pcm
    assert guess.audio_bytes.high == pcm
    assert "not measured" in "\n".join(describe(guess))
    known = ask(flac=True, flac_share=Span(0.5, 0.5))
    assert known.audio_bytes.low == known.audio_bytes.high == pytest.approx(pcm / 2, rel=1e-4)
    wide = ask(flac=True, format=Format(48_000, 1, 4))
    assert wide.audio_bytes.low == wide.audio_bytes.high
    assert "32 bits stay WAV" in "\n".join(describe(wide))


def test_a_plan_that_deletes_needs_a_yes() -> None:
    made = ask(keep="detections", detection_share=Span(0.01, 0.1))
    assert made.deletes
    assert "needs --accept-deletion" in "\n".join(describe(made))
    with pytest.raises(StateError, match="full after 15") as refused:
        require_acceptance(made, accepted=False)
    assert "--accept-deletion" in str(refused.value.hint)
    require_acceptance(made, accepted=True)


def test_a_card_that_is_large_enough_keeps_everything() -> None:
    made = ask(days=10, keep="detections")
    assert not made.deletes
    assert describe(made)[-1] == "all of the 10 days stays"


def test_what_is_left_beside_what_is_kept() -> None:
    """20 units of room, 30 days of one unit, a tenth of it kept: 3 units, and 17 / 0.9 days."""
    unit = 86_400 * 48_000 * 2 + 1440 * 44
    made = ask(keep="detections", detection_share=Span(0.1, 0.1), room_bytes=20 * unit)
    assert made.recent_days.high == pytest.approx(17 / 0.9, rel=1e-3)
    nothing = ask(keep="detections", detection_share=Span(1.0, 1.0), room_bytes=20 * unit)
    assert nothing.recent_days.high == pytest.approx(20, rel=1e-3)


def test_a_segment_is_sampled_if_any_of_its_windows_is() -> None:
    design = Design(1, 3.0, 0.01)
    made = ask(keep="sample+detections", detection_share=Span(0, 0), design=design)
    assert made.kept_share.low == pytest.approx(1 - 0.99**20)
    assert ask(keep="detections", detection_share=Span(0, 0), design=design).kept_share.high == 0


@given(
    days=st.floats(0.1, 1000), room=st.integers(1, 10**13), share=st.floats(0.01, 1),
    found=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    keep=st.sampled_from(("all", "sample+detections", "detections")), flac=st.booleans(),
)  # fmt: skip
def test_ranges_are_ranges(
    days: float, room: int, share: float, found: list[float], keep: str, flac: bool
) -> None:
    made = ask(
        days=days, room_bytes=room, schedule_share=share, detection_share=Span(*found), keep=keep,
        flac=flac, design=Design(1, 3.0, 0.01),
    )  # fmt: skip
    for span in (made.audio_bytes, made.full_days, made.kept_share, made.recent_days):
        assert 0 <= span.low <= span.high
    assert made.recent_days.high <= days
    assert all(line.isprintable() for line in describe(made))


@pytest.mark.parametrize("wrong", [{"days": 0}, {"schedule_share": 0}, {"schedule_share": 1.1}])
def test_plans_that_make_no_sense_are_refused(wrong: dict) -> None:
    with pytest.raises(StateError):
        ask(**wrong)


def test_sizes_are_those_on_the_label() -> None:
    assert [size(n) for n in (999, 1000, 8_294_400_000)] == ["999 bytes", "1 kB", "8.29 GB"]
