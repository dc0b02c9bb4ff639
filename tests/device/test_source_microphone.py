"""What a listener is given: all that came, what is missing in its place, the same as a recorder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numbered_source import stretches
from support.scripted_card import Script, ScriptedCard

from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer, ring_for
from edge_probe.errors import DeviceLostError
from edge_probe.source.microphone import PIECE_S, RING_S, SILENT_S
from edge_probe.source.timeline import LATE_S
from edge_probe.source.wav import HEADER_BYTES

RATE, BLOCK = 1000, 100


class Heard(NamedTuple):
    """A stream as somebody kept it."""

    frames: np.ndarray
    gaps: list[tuple[int, int]]
    """First frame, lost ones counted, and frames."""


class Listener:
    """Takes all there is, until the microphone is lost."""

    def __init__(self, card: ScriptedCard, patch: pytest.MonkeyPatch) -> None:
        self.microphone = microphone = card.listener(patch)
        self.given_ns: list[int] = []
        pieces = [np.zeros((0, card.n_channels), np.int16)]
        gaps, n_axis = [], 0
        try:
            for frames, n_missing in microphone.frames():
                if n_missing:
                    gaps.append((n_axis, n_missing))
                assert len(frames) <= PIECE_S * card.rate_hz
                pieces.append(frames)
                n_axis += n_missing + len(frames)
                self.given_ns.append(card.clock.now_ns)
        except DeviceLostError as error:
            self.error = error
        self.heard = Heard(np.concatenate(pieces), gaps)


def recorded(state: Path, n_channels: int) -> Heard:
    """What a recorder kept of its first stream, but for the gap at its end."""
    found = list(stretches(state, 1))
    files = [state / "audio" / str(name) for *_, cause, name in found if cause is None]
    frames = [np.fromfile(path, "<i2", offset=HEADER_BYTES) for path in files]
    gaps = [(first, n) for first, n, cause, _ in found if cause and n is not None]
    return Heard(np.concatenate(frames).reshape(-1, n_channels), gaps)


def for_seconds(seconds: int) -> Script:
    def script(card: ScriptedCard) -> Iterator[None]:
        for _ in range(10 * seconds):
            card.deliver(card.rate_hz // 10)
            yield

    return script


@settings(max_examples=25)
@given(data=st.data())
def test_a_listener_is_given_what_a_recorder_keeps(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rate_hz = data.draw(st.sampled_from((1000, 8000)))
    n_channels = data.draw(st.sampled_from((1, 2, 3, 8)))
    block = st.integers(rate_hz // 50, rate_hz // 2)

    def script(card: ScriptedCard) -> Iterator[None]:
        yield from for_seconds(4)(card)
        for _ in range(data.draw(st.integers(1, 8))):
            match data.draw(st.sampled_from(("lose", "report", "busy", "late", "go on"))):
                case "lose":
                    card.lose(data.draw(st.integers(rate_hz // 50, 9 * rate_hz)))
                case "report":
                    card.lose(data.draw(st.integers(rate_hz // 20, rate_hz // 5)))
                    card.deliver(data.draw(block), flagged=True)
                case "busy":
                    card.deliver(*data.draw(st.lists(block, max_size=40)))
                case "late":
                    card.deliver(data.draw(block), late_s=data.draw(st.floats(0.1, 1.5)))
                case _:
                    for n_frames in data.draw(st.lists(block, max_size=20)):
                        card.deliver(n_frames)
                        yield
        if data.draw(st.booleans()):
            yield from for_seconds(2)(card)

    state = tmp_path_factory.mktemp("state")
    card, format_ = ScriptedCard(rate_hz, n_channels, script), Format(rate_hz, n_channels, 2)
    ring = ring_for(format_)
    writer = Writer(
        ring, format_, "card", segment_s=5.0, clock=card.clock,
        open_store=lambda safe: Store(state, card.clock, safe),
    )  # fmt: skip
    card.also, card.aside = ring.push, writer.step
    with pytest.MonkeyPatch.context() as patch:
        heard = Listener(card, patch).heard
    assert writer.end("device")
    kept = recorded(state, n_channels)
    assert heard.gaps == kept.gaps
    np.testing.assert_array_equal(heard.frames, kept.frames)
    np.testing.assert_array_equal(heard.frames, np.concatenate(card.delivered))


def test_a_loss_is_told_in_its_place_and_what_follows_waits_for_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def script(card: ScriptedCard) -> Iterator[None]:
        yield from for_seconds(4)(card)
        card.lose(600)
        yield from for_seconds(3)(card)

    card = ScriptedCard(RATE, 1, script)
    listener = Listener(card, monkeypatch)
    assert listener.heard.gaps == [(4000, 600)]
    assert listener.microphone.n_missing == 600
    np.testing.assert_array_equal(listener.heard.frames, np.concatenate(card.delivered))
    waits_s = np.diff(listener.given_ns) * 1e-9
    (held,) = np.flatnonzero(waits_s > 1.01 * BLOCK / RATE)  # else a block is given as it comes
    assert held == 39
    assert waits_s[held] < 0.6 + LATE_S + 2.01 * BLOCK / RATE


def test_a_full_ring_is_a_gap_where_frames_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier is busy while more than the ring holds comes in; nothing is misplaced."""
    n_ring = round(RING_S * RATE)

    def script(card: ScriptedCard) -> Iterator[None]:
        yield from for_seconds(4)(card)
        card.deliver(*[BLOCK] * (n_ring // BLOCK + 10))
        yield
        yield from for_seconds(1)(card)

    card = ScriptedCard(RATE, 2, script)
    heard = Listener(card, monkeypatch).heard
    assert heard.gaps == [(4000 + n_ring, 10 * BLOCK)]
    whole = np.concatenate(card.delivered)
    dropped = np.s_[4000 + n_ring : 4000 + n_ring + 10 * BLOCK]
    np.testing.assert_array_equal(heard.frames, np.delete(whole, dropped, axis=0))


def test_a_card_that_takes_long_to_begin_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(card: ScriptedCard) -> Iterator[None]:
        for _ in range(8):
            card.rest(0.5)
            yield
        yield from for_seconds(5)(card)

    card = ScriptedCard(RATE, 1, script)
    began = datetime.fromtimestamp((card.clock.utc_ns() + 4 * 10**9) * 1e-9, UTC)
    listener = Listener(card, monkeypatch)
    assert (len(listener.heard.frames), listener.heard.gaps) == (5 * RATE, [])
    assert listener.microphone.start_utc is not None
    assert abs((listener.microphone.start_utc - began).total_seconds()) < 1e-5


@pytest.mark.parametrize("began", [False, True])
def test_a_card_that_falls_silent_is_lost_and_all_that_came_is_given_out(
    monkeypatch: pytest.MonkeyPatch, began: bool
) -> None:
    def script(card: ScriptedCard) -> Iterator[None]:
        if began:
            yield from for_seconds(4)(card)
            card.lose(500)
            card.deliver(BLOCK)  # not told yet whether the 500 are lost or only late
        while True:
            card.rest(0.5)
            yield

    card = ScriptedCard(RATE, 1, script)
    listener = Listener(card, monkeypatch)
    assert listener.heard.gaps == ([(4000, 500)] if began else [])
    assert len(listener.heard.frames) == (4000 + BLOCK if began else 0)
    assert f"no audio for {SILENT_S + 0.5:.1f} s" in listener.error.message
    assert listener.error.hint


def test_a_duration_is_kept_to_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    microphone = ScriptedCard(RATE, 1, for_seconds(9)).listener(monkeypatch, duration_s=3.217)
    assert sum(len(frames) for frames, _ in microphone.frames()) == 3217


def test_overflows_that_portaudio_reports_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(card: ScriptedCard) -> Iterator[None]:
        yield from for_seconds(4)(card)
        card.lose(50)
        card.deliver(BLOCK, flagged=True)
        yield from for_seconds(2)(card)

    listener = Listener(ScriptedCard(RATE, 1, script), monkeypatch)
    assert listener.heard.gaps == [(4000, 50)]
    assert listener.microphone.n_overflows == 1
