"""The activity gate: a function of the audio alone, and what it does to results."""

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.analysed_state import (
    SoundCard,
    check_account,
    detections,
    expected,
    left_out,
    rows,
    small_bundle,
    work_off,
    worker_on,
)

from edge_probe.analysis import gate as gates
from edge_probe.analysis.gate import PROBE_EVERY, Gate, GateOptions, Verdict
from edge_probe.analysis.tables import VERSION
from edge_probe.chunk import ChunkGrid
from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.database import read
from edge_probe.deployment.effort import read_both
from edge_probe.deployment.effort import rows as effort_rows
from edge_probe.deployment.gated import gated
from edge_probe.deployment.state import StateFolder
from edge_probe.errors import EdgeProbeError
from edge_probe.spec import WindowSpec
from firmware_tools.slots import evidence

RATE = 16_000
GRID = ChunkGrid(RATE, RATE, RATE)
"""Chunks of a second."""

BAND = GateOptions(6.0, 1_000.0, 4_000.0)


def nothing(_n: int) -> NDArray[np.float32]:
    raise AssertionError("every chunk was seen")


def verdicts(sound: NDArray[np.float32], options: GateOptions = BAND) -> list[Verdict]:
    gate = Gate(options, GRID)
    return [gate.verdict(n, part, nothing) for n, part in enumerate(sound.reshape(-1, RATE))]


def hiss(n_s: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.01, n_s * RATE).astype(np.float32)


def beep(hz: float, length_s: float, rms: float) -> NDArray[np.float32]:
    at = np.arange(round(length_s * RATE)) / RATE
    return (rms * 2**0.5 * np.sin(2 * np.pi * hz * at)).astype(np.float32)


@pytest.mark.parametrize(
    ("hz", "times", "passes"), [(2_000, 2.0, True), (2_000, 0.3, False), (6_000, 5.0, False)]
)
def test_what_is_louder_than_usual_in_the_band_passes(
    hz: float, times: float, *, passes: bool
) -> None:
    """A beep as long as a frame or two; the hiss has 3/8 of its power in the band."""
    sound = hiss(60)
    begin = round(45.3 * RATE)
    call = beep(hz, 0.15, times * 0.01)
    sound[begin : begin + len(call)] += call
    found = verdicts(sound)
    assert found[:10] == ["open"] * 10, "until it knows what is usual"
    for n, verdict in enumerate(found[10:], 10):
        assert (verdict == "open") == (passes and n == 45)


def test_probes_are_drawn_in_short_runs_too() -> None:
    """A minute by schedule, chunks of three seconds: twenty, of which the first pass."""
    grid, sound = ChunkGrid(RATE, RATE, 3 * RATE), hiss(60).reshape(-1, 3 * RATE)
    found = np.array([
        [gate.verdict(n, part, nothing) for n, part in enumerate(sound)]
        for gate in (Gate(BAND, grid, (1, minute * 300 * RATE)) for minute in range(200))
    ])  # fmt: skip
    assert set(found[:, :4].flat) == {"open"}
    assert set(found[:, 4:].flat) == {"gated", "probe"}
    n_probes = (found == "probe").sum(axis=0)[4:]
    assert n_probes.min() > 0
    assert n_probes.sum() == pytest.approx(16 * 200 / PROBE_EVERY, rel=0.3)


def test_a_gate_that_is_open_stays_so_while_it_is_nearly_as_loud() -> None:
    """Half a second at 9 dB, then two at 4.5: below what opens, above what closes."""
    sound = beep(2_000, 60, 0.01)  # no noise: levels are exact
    begin = round(30.6 * RATE)
    for level_db, length_s in ((9.0, 0.5), (4.5, 2.0)):
        end = begin + round(length_s * RATE)
        sound[begin:end] *= 10 ** (level_db / 20)
        begin = end
    assert [n for n, verdict in enumerate(verdicts(sound)) if n >= 10 and verdict == "open"] == [
        30, 31, 32, 33,
    ]  # fmt: skip
    sound = beep(2_000, 60, 0.01)
    sound[31 * RATE : 33 * RATE] *= 10 ** (4.5 / 20)
    assert "open" not in verdicts(sound)[10:]


def test_rain_becomes_usual() -> None:
    sound = hiss(200)
    sound[60 * RATE :] *= 10
    found = verdicts(sound)
    assert set(found[60:100]) == {"open"}
    assert "open" not in found[150:]


def test_spectra_of_a_long_chunk_are_not_in_memory_together() -> None:
    grid = ChunkGrid(384_000, 256_000, 10 * 256_000)
    gate, chunk = Gate(GateOptions(6.0, 20_000.0, 120_000.0), grid), np.zeros(3_840_000, np.float32)
    tracemalloc.start()
    try:
        gate.verdict(0, chunk, nothing)
        assert tracemalloc.get_traced_memory()[1] < chunk.nbytes
    finally:
        tracemalloc.stop()


def test_digital_silence_is_quiet() -> None:
    assert "open" not in verdicts(np.zeros(30 * RATE, np.float32))[10:]


def test_a_band_that_the_audio_does_not_have_passes_everything_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert set(verdicts(hiss(30), GateOptions(6.0, 8_500.0, 9_000.0))) == {"open"}
    assert "audio at 16000 Hz has nothing of the gate's band" in caplog.text


@pytest.mark.parametrize("band", [(4_000, 1_000), (1_000, 9_000), (1_001, 1_019)])
def test_a_band_in_which_the_encoder_hears_nothing_is_refused(band: tuple[float, float]) -> None:
    with pytest.raises(EdgeProbeError, match="below 8000 Hz") as refused:
        GateOptions(6.0, *band).check(16_000)
    assert "--gate-low" in str(refused.value.hint)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 100),
    asked=st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True).map(sorted),
)
def test_a_gate_that_was_not_there_before_says_the_same(seed: int, asked: Sequence[int]) -> None:
    random = np.random.default_rng(seed)
    sound = hiss(100, seed) * np.repeat(random.uniform(0.5, 4, 100), RATE).astype(np.float32)
    parts = sound.reshape(-1, RATE)
    late = Gate(BAND, GRID)
    found = [late.verdict(n, parts[n], lambda before: parts[before]) for n in asked]
    whole = verdicts(sound)
    assert found == [whole[n] for n in asked]


def test_what_was_lost_is_not_remembered() -> None:
    parts = hiss(30).reshape(-1, RATE)
    lost = np.empty(0, np.float32)
    gate = Gate(BAND, GRID)
    assert gate.verdict(25, parts[25], lambda n: lost if n < 20 else parts[n]) == "open"
    gate = Gate(BAND, GRID)
    assert gate.verdict(25, parts[25], lambda n: lost if n < 10 else parts[n]) == "gated"


def test_what_was_blanked_lets_more_pass() -> None:
    """A worker that begins behind what was private: a quarter of the minute is zeros by now."""
    parts = hiss(60).reshape(-1, RATE)
    assert Gate(BAND, GRID).verdict(59, parts[59], lambda n: parts[n]) == "gated"
    blanked = np.zeros(RATE, np.float32)
    heard = Gate(BAND, GRID).verdict(59, parts[59], lambda n: blanked if n > 43 else parts[n])
    assert heard == "open"


def test_no_audio_is_no_silence() -> None:
    gate = Gate(BAND, GRID)
    parts = hiss(30).reshape(-1, RATE)
    assert gate.verdict(25, np.empty(0, np.float32), lambda n: parts[n]) == "open"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of these states last 16 ms."""
    monkeypatch.setattr(gates, "LEARNING_S", 0.4)
    monkeypatch.setattr(gates, "MEMORY_S", 2.0)


@pytest.fixture(scope="module")
def analyser(tmp_path_factory: pytest.TempPathFactory) -> ChunkAnalyser:
    folder = tmp_path_factory.mktemp("bundle")
    return ChunkAnalyser(small_bundle(folder / "bundle", WindowSpec(3, 1, 0.03)))


GATE = GateOptions(5.0, 50.0, 450.0)


def play(card: SoundCard, n_frames: int, seed: int) -> None:
    """Noise, some hundred frames of which are loud enough for the gate."""
    random = np.random.default_rng(seed)
    sound = random.normal(0, 300, (n_frames, card.format.n_channels))
    for begin in range(0, n_frames, 700):
        sound[begin : begin + int(random.integers(0, 300))] *= 30
    card.play(np.clip(sound, -32768, 32767).astype(np.int16))


def results(state: Path) -> list[tuple]:
    return rows(
        state, "SELECT stream, run_frame, n, channel, state, reason FROM chunk ORDER BY 1, 2, 3, 4"
    )  # fmt: skip


@pytest.mark.usefixtures("quick")
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_deaths_change_no_verdict(
    analyser: ChunkAnalyser, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dying, whole = tmp_path_factory.mktemp("dying"), tmp_path_factory.mktemp("whole")
    cards = [SoundCard(dying, n_channels=2), SoundCard(whole, n_channels=2)]
    for seed in range(data.draw(st.integers(1, 3))):
        n_frames = data.draw(st.integers(500, 4_000))
        for card in cards:
            play(card, n_frames, seed)
        worker = worker_on(dying, analyser, gate=GATE)
        for _ in range(data.draw(st.integers(0, 60))):
            worker.step()  # and is never asked again
    for card in cards:
        card.end()
    work_off(worker_on(dying, analyser, gate=GATE))
    work_off(worker_on(whole, analyser, gate=GATE))
    assert results(dying) == results(whole)
    assert detections(dying) == detections(whole) == expected(whole, analyser, left_out(whole))
    check_account(dying)
    check_account(whole)


@pytest.fixture
def heard(tmp_path: Path, analyser: ChunkAnalyser, quick: None) -> Path:
    """A state folder after a gate was at work."""
    card = SoundCard(tmp_path)
    play(card, 12_000, 3)
    card.end()
    work_off(worker_on(tmp_path, analyser, gate=GATE))
    return tmp_path


def test_effort_tells_what_was_gated(heard: Path) -> None:
    frames = dict(
        rows(heard, "SELECT coalesce(reason, state), sum(n_frames) FROM chunk GROUP BY 1")
    )  # fmt: skip
    (row,) = read_both(
        StateFolder(heard), lambda capture, found: [*effort_rows(capture, found, None)]
    )
    assert row.frames.gated == frames["gated"] > 2_000
    assert row.frames.classified == frames["done"] + frames["probe"] > 2_000
    assert row.frames.skipped == 0


def test_a_quiet_place_keeps_no_update_from_being_confirmed(
    heard: Path, analyser: ChunkAnalyser
) -> None:
    """Where a gate leaves nearly all out, ten minutes were not encoded before time was up."""
    bundle = analyser.bundle
    found = evidence.heard(heard, bundle.sha256)
    ((n_chunks,),) = rows(heard, "SELECT count(*) FROM chunk")
    assert found.classified_s == pytest.approx(n_chunks * bundle.encoder.chunk_s)
    assert found.n_quarantined == 0


def test_probes_measure_what_is_missed(
    heard: Path, analyser: ChunkAnalyser, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chunk by chunk: a probe is missed if it alone, as a window, is a detection."""
    (counted,) = read(heard / "detections.sqlite", lambda db: [*gated(db)], VERSION)
    probes = rows(heard, "SELECT n, first_frame, n_frames FROM chunk WHERE reason = 'probe'")
    quiet = rows(heard, "SELECT n FROM chunk WHERE reason IN ('gated', 'probe')")
    assert (counted.n_quiet, counted.n_probes) == (len(quiet), len(probes))
    assert len(probes) > 10
    spans = rows(heard, "SELECT span_frame, span_frame + span_n_frames FROM detection")
    missed = [
        n for n, begin, n_frames in probes
        if any(begin <= first and last <= begin + n_frames for first, last in spans)
    ]  # fmt: skip
    assert counted.n_missed == len(missed) > 0
    assert main(["effort", str(heard)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{heard / 'effort.csv'}\n"
    assert f"of {len(probes)} that were encoded all the same {len(missed)} hold" in told.err
