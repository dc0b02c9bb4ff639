"""Privacy: zeros exact to the frame, nothing else touched, and again after a crash the same."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysed_state import (
    SoundCard,
    detections,
    expected,
    small_bundle,
    work_off,
    worker_on,
)
from support.made_segments import MadeFindings, MadeSegments, decoded

from edge_probe.analysis.rules import Rules
from edge_probe.capture.segment import Format
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk import privacy as privacy_module
from edge_probe.disk import rows
from edge_probe.disk.chores import Chores
from edge_probe.disk.encoder import Encoder
from edge_probe.disk.findings import Findings
from edge_probe.disk.privacy import Privacy, merged, without
from edge_probe.disk.transcode import Transcoder
from edge_probe.source.wav import HEADER_BYTES
from edge_probe.spec import WindowSpec

RATE = 1000
MARGIN_S = 0.25
MARGIN = 250
FAR = 10**6
"""Frames; a classifier that came so far hears nothing here again."""


def never() -> bool:
    return False


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    made = Encoder()
    yield made
    made.stop()


def privacy(card: MadeSegments, encoder: Encoder) -> Privacy:
    findings = Findings(card.state / "detections.sqlite")
    return Privacy(card.audio, findings, encoder, MARGIN_S, never)


def frames_of(path: Path, format_: Format) -> np.ndarray:
    raw = np.frombuffer(path.read_bytes()[HEADER_BYTES:], np.uint8)
    return raw.reshape(-1, format_.frame_bytes)


def noted(card: MadeSegments) -> set[int]:
    """Frames the ledger calls private."""
    found = card.ledger.connection.execute("SELECT first_frame, n_frames FROM privacy").fetchall()
    frames = [frame for first, n in found for frame in range(first, first + n)]
    assert len(frames) == len(set(frames)), "pieces overlap"
    return set(frames)


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=6)


@given(intervals, intervals)
def test_interval_sets(first: list, second: list) -> None:
    def frames(pieces: list) -> set[int]:
        return {frame for begin, end in pieces for frame in range(begin, end)}

    one, other = merged(map(tuple, first)), merged(map(tuple, second))
    assert frames(one) == frames(first)
    assert all(a[1] < b[0] for a, b in pairwise(one))
    left = without(one, other)
    assert frames(left) == frames(first) - frames(second)
    assert all(begin < end for begin, end in left)


@settings(max_examples=25, deadline=None)
@given(
    n_channels=st.integers(1, 3),
    n_bytes=st.sampled_from((2, 3, 4)),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    rounds=st.lists(
        st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 900)), max_size=3), max_size=3
    ),
)
def test_zeros_are_exact_whenever_they_become_known(
    tmp_path_factory: pytest.TempPathFactory,
    n_channels: int,
    n_bytes: int,
    sizes: list[int],
    rounds: list[list[tuple[int, int]]],
) -> None:
    card = MadeSegments(tmp_path_factory.mktemp("card"), Format(RATE, n_channels, n_bytes))
    found = MadeFindings(card.state)
    found.classify(FAR, RATE)
    found.hold_open(0, RATE)  # so that more may become private everywhere
    made = [card.add_noise(n_frames) for n_frames in sizes]
    n_frames = sum(sizes)
    wanted = np.concatenate([frames for _, frames in made])
    private: set[int] = set()
    own = privacy(card, Encoder())
    for intervals_ in rounds:
        for first, length in intervals_:
            found.detect(first, length, private=True)
            private |= set(range(max(0, first - MARGIN), min(n_frames, first + length + MARGIN)))
        found.detect(0, n_frames)  # no class that is private
        own.step(card.ledger)
        own.step(card.ledger)
        wanted[sorted(private)] = 0
        stored = np.concatenate([frames_of(path, card.format) for path, _ in made])
        np.testing.assert_array_equal(stored, wanted)
        assert noted(card) == private
    found.close()


def test_a_margin_reaches_into_audio_that_comes_later(card: MadeSegments, encoder: Encoder) -> None:
    found = MadeFindings(card.state)
    card.add_noise(1000)
    found.detect(900, 100, private=True)
    found.classify(1000, RATE)
    own = privacy(card, encoder)
    assert own.step(card.ledger) == (0, 0), "what follows may be private up to here"
    assert noted(card) == set(), "the classifier may hear it again"
    path, frames = card.add_noise(1000)
    found.classify(2000, RATE)
    assert own.step(card.ledger) == (1, 0)
    assert noted(card) == set(range(650, 1250))
    stored = frames_of(path, card.format)
    assert not stored[:250].any()
    np.testing.assert_array_equal(stored[250:], frames[250:])
    found.close()


@pytest.fixture
def card(tmp_path: Path) -> MadeSegments:
    return MadeSegments(tmp_path, Format(RATE, 1, 2))


def test_flac_is_encoded_again(tmp_path: Path, encoder: Encoder) -> None:
    card = MadeSegments(tmp_path, Format(8000, 2, 3))
    found = MadeFindings(card.state)
    _, frames = card.add_noise(20_000)
    assert Transcoder(card.audio, encoder, never).step(card.ledger)
    found.detect(8000, 400, private=True)
    found.classify(FAR, 8000)
    own = privacy(card, encoder)
    own.step(card.ledger)
    own.step(card.ledger)
    wanted = frames.copy()
    wanted[6000:10_400] = 0
    (segment,) = card.segments()
    np.testing.assert_array_equal(decoded(card.audio / segment.name, 3), wanted)
    assert segment.n_bytes == (card.audio / segment.name).stat().st_size
    assert [path.suffix for path in card.audio.iterdir()] == [".flac"]
    assert noted(card) == set(range(6000, 10_400))
    found.close()


def test_a_file_that_resists_does_not_hold_up_the_others(
    card: MadeSegments, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    found = MadeFindings(card.state)
    for _ in range(3):
        card.add_noise(3000)
    transcoder = Transcoder(card.audio, encoder, never)
    while transcoder.step(card.ledger):
        pass
    bad = card.audio / card.segments()[0].name
    good = bad.read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    found.detect(1000, 500, private=True)
    found.detect(7000, 500, private=True)
    found.classify(20_000, RATE)
    own = privacy(card, encoder)
    assert own.step(card.ledger) == (0, 0), "it may have been memory that was short"
    assert noted(card) == set(range(6750, 7750))
    own.step(card.ledger)
    assert own.step(card.ledger) == (1, 6000), "FLAC does not wait for it for ever"
    assert own.step(card.ledger) == (1, 6000)
    assert sum("stays in it" in message for message in caplog.messages) == 1
    bad.write_bytes(good)
    assert privacy(card, encoder).step(card.ledger) == (1, 6000), "the next start tries again"
    assert noted(card) == set(range(6750, 7750)) | set(range(750, 1750))
    found.close()


def test_flac_for_which_there_is_no_room_waits(
    card: MadeSegments, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MadeFindings(card.state)
    card.add_noise(3000)
    assert Transcoder(card.audio, encoder, never).step(card.ledger)
    found.detect(1000, 500, private=True)
    found.classify(20_000, RATE)
    own = privacy(card, encoder)
    with monkeypatch.context() as full:
        full.setattr(privacy_module, "is_tight", lambda *_: True)
        for _ in range(5):
            assert own.step(card.ledger) == (0, 0)
    assert own.step(card.ledger) == (1, 0)
    assert noted(card) == set(range(750, 1750))
    found.close()


def test_a_kill_before_the_row_is_made_good(
    card: MadeSegments, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MadeFindings(card.state)
    path, frames = card.add_noise(3000)
    found.detect(1000, 500, private=True)
    found.classify(FAR, RATE)

    class Killed(BaseException): ...

    def kill(*_: object) -> None:
        raise Killed

    for module, name in ((privacy_module, "overwrite"), (rows, "add_private_pieces")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, kill)
            with pytest.raises(Killed):
                privacy(card, encoder).step(card.ledger)
        assert noted(card) == set()
    privacy(card, encoder).step(card.ledger)
    assert noted(card) == set(range(750, 1750))
    frames[750:1750] = 0
    np.testing.assert_array_equal(frames_of(path, card.format), frames)
    found.close()


def test_what_was_deleted_is_left_alone(card: MadeSegments, encoder: Encoder) -> None:
    found = MadeFindings(card.state)
    path, _ = card.add_noise(3000)
    path.unlink()
    found.detect(1000, 500, private=True)
    found.classify(FAR, RATE)
    privacy(card, encoder).step(card.ledger)
    assert not path.exists()
    assert noted(card) == set(range(750, 1750))
    found.close()


def test_chores_wait_for_a_database_that_cannot_be_read(
    card: MadeSegments, caplog: pytest.LogCaptureFixture
) -> None:
    found = MadeFindings(card.state)
    path, frames = card.add_noise(3000)
    found.detect(1000, 500, private=True)
    found.classify(3000, RATE)
    locker = sqlite3.connect(card.state / "detections.sqlite", isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")
    chores = Chores(card.state, margin_s=MARGIN_S, flac=True, is_busy=never)
    assert not chores.step()
    assert not chores.step()
    assert sum("locked" in message for message in caplog.messages) == 1
    np.testing.assert_array_equal(frames_of(path, card.format), frames)
    locker.close()
    assert not chores.step(), "FLAC waits until privacy is settled"
    frames[750:1750] = 0
    np.testing.assert_array_equal(frames_of(path, card.format), frames)
    found.classify(4000, RATE)
    assert chores.step()
    (segment,) = card.segments()
    np.testing.assert_array_equal(decoded(card.audio / segment.name, 2), frames)
    chores.close()
    found.close()


def test_chores_end_at_once(card: MadeSegments) -> None:
    card.add_noise(4_000_000)
    chores = Chores(card.state, margin_s=None, flac=True, is_busy=never)
    chores.start()
    while not list(card.audio.glob("*.flac.part")):
        chores.join(0.05)
        assert chores.is_alive()
    chores.end()
    chores.join(5)
    assert not chores.is_alive()
    assert [path.suffix for path in card.audio.iterdir()] == [".wav"]


N_HEARD = 1500


@pytest.mark.parametrize("spec", [WindowSpec(3, 2, 0.1), WindowSpec(1, 1, 0.0)])
def test_a_classifier_that_is_slow_and_dies_never_hears_the_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: WindowSpec
) -> None:
    """Scores stay: they are those of what was recorded, whenever the chores come."""
    monkeypatch.setattr(privacy_module, "_CONTEXT_S", 0.0)  # one rate: a chunk reads no more
    bundle = small_bundle(tmp_path / "bundle", spec)
    state, analyser = tmp_path / "state", ChunkAnalyser(bundle)
    card = SoundCard(state)
    for seed in range(2):
        card.noise(N_HEARD, seed)
        card.end()
    wanted = expected(state, analyser)
    rules = Rules(private=frozenset({bundle.labels[0].text}))
    chores = Chores(state, margin_s=MARGIN_S, flac=False)
    worker = worker_on(state, analyser, rules=rules)
    n_steps = 0
    while not worker.is_idle:
        worker.step()
        n_steps += 1
        if n_steps % 3 == 0:
            chores.step()
        if n_steps % 40 == 0:
            worker = worker_on(state, analyser, rules=rules)
    assert detections(state) == wanted
    card.noise(1000, 2)
    card.end()
    work_off(worker)
    chores.step()
    chores.close()
    with sqlite3.connect(state / "capture.sqlite") as db:
        noted = db.execute("SELECT first_frame, n_frames FROM privacy WHERE stream < 3").fetchall()
    with sqlite3.connect(state / "detections.sqlite") as db:
        private = db.execute(
            "SELECT stream, span_frame, span_n_frames FROM detection WHERE private"
        ).fetchall()
    assert private
    assert sum(n for _, n in noted) == sum(
        end - begin
        for stream in (1, 2)
        for begin, end in merged(
            (max(0, first - MARGIN), min(N_HEARD, first + n + MARGIN))
            for where, first, n in private
            if where == stream
        )
    )
