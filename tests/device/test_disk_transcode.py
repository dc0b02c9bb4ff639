"""FLAC: every sample comes back, and a kill at any moment is harmless."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_segments import MadeSegments, decoded

from edge_probe.capture.rebuild import open_ledger
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import PART, Format
from edge_probe.disk import rows, transcode
from edge_probe.disk.encoder import Abandoned, Encoder
from edge_probe.disk.transcode import ATTEMPTS, Transcoder, repair
from edge_probe.errors import AudioError
from edge_probe.source import flac

MONO = Format(8000, 1, 2)


def never() -> bool:
    return False


@pytest.fixture
def card(tmp_path: Path) -> MadeSegments:
    return MadeSegments(tmp_path, MONO)


@pytest.fixture
def encoder() -> Iterator[Encoder]:
    made = Encoder()
    yield made
    made.stop()


def names(card: MadeSegments) -> list[str]:
    return sorted(path.name for path in card.audio.iterdir())


@settings(max_examples=25, deadline=None)
@given(
    rate_hz=st.sampled_from((8000, 22_050, 48_000, 250_000, 384_000)),
    n_channels=st.integers(1, 8),
    n_bytes=st.sampled_from((2, 3)),
    n_frames=st.integers(1, 40_000),
    silences=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 40_000)), max_size=3),
)
def test_every_sample_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rate_hz: int,
    n_channels: int,
    n_bytes: int,
    n_frames: int,
    silences: list[tuple[int, int]],
) -> None:
    card = MadeSegments(tmp_path_factory.mktemp("card"), Format(rate_hz, n_channels, n_bytes))
    path, frames = card.add_noise(n_frames)
    target = path.with_suffix(".flac")
    assert flac.encode(path, target, silences) == target.stat().st_size
    wanted = frames.copy()
    for begin, end in silences:
        wanted[begin : max(begin, end)] = 0
    np.testing.assert_array_equal(decoded(target, n_bytes), wanted)
    assert sf.info(target).samplerate == rate_hz
    again = path.with_name("again.flac")
    flac.encode(target, again, [(0, 5)])
    wanted[:5] = 0
    np.testing.assert_array_equal(decoded(again, n_bytes), wanted)


def test_a_flac_that_differs_is_noticed(
    card: MadeSegments, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of one sample, between encoder and file."""
    path, _ = card.add_noise(9000)
    write = sf.SoundFile.write

    def flip(self: sf.SoundFile, block: np.ndarray) -> None:
        changed = block.copy()
        changed[5000] ^= 1 << 16
        write(self, changed)

    monkeypatch.setattr(sf.SoundFile, "write", flip)
    with pytest.raises(AudioError, match="differ"):
        flac.encode(path, path.with_suffix(".flac"))


def test_oldest_first_row_then_file(card: MadeSegments, encoder: Encoder) -> None:
    made = [card.add_noise(8000) for _ in range(3)]
    transcoder = Transcoder(card.audio, encoder, never)
    assert transcoder.step(card.ledger)
    first = made[0][0]
    assert names(card) == [first.with_suffix(".flac").name, made[1][0].name, made[2][0].name]
    segment = card.segments()[0]
    assert segment.name == first.with_suffix(".flac").name
    assert segment.n_bytes == (card.audio / segment.name).stat().st_size
    np.testing.assert_array_equal(decoded(card.audio / segment.name, 2), made[0][1])
    assert not transcoder.step(card.ledger, settled=segment.place), "privacy is not settled there"
    assert transcoder.step(card.ledger)
    assert transcoder.step(card.ledger)
    assert not transcoder.step(card.ledger)
    assert all(name.endswith(".flac") for name in names(card))


def test_the_process_is_idle_and_alone_has_soundfile(card: MadeSegments, encoder: Encoder) -> None:
    path, _ = card.add_noise(8000)
    encoder.encode(path, path.with_suffix(".flac"), (), never)
    assert encoder._process
    pid = encoder._process.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    said = subprocess.run(["ionice", "-p", str(pid)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "idle"
    encoder.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_load_stops_it_halfway_and_it_begins_again(card: MadeSegments, encoder: Encoder) -> None:
    card.add_noise(4_000_000)
    asked = []

    def loaded() -> bool:
        asked.append(True)
        return len(asked) > 2

    assert not Transcoder(card.audio, encoder, loaded).step(card.ledger)
    assert len(asked) == 3
    assert [Path(name).suffix for name in names(card)] == [".wav"]
    assert encoder._process is None
    assert Transcoder(card.audio, encoder, never).step(card.ledger)


def test_a_process_that_dies_costs_nothing_and_is_given_up_in_the_end(
    card: MadeSegments, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = card.add_noise(8000)
    path.write_bytes(path.read_bytes()[:20])  # no WAV at all
    good, _ = card.add_noise(8000)
    transcoder = Transcoder(card.audio, encoder, never)
    for _ in range(ATTEMPTS):
        assert not transcoder.step(card.ledger)
    assert transcoder.step(card.ledger)
    assert names(card) == [path.name, good.with_suffix(".flac").name]
    assert sum("stays WAV" in message for message in caplog.messages) == 1


def test_a_killed_process_is_an_error_not_a_hang(card: MadeSegments, encoder: Encoder) -> None:
    path, _ = card.add_noise(8000)
    process = encoder._start()
    process.kill()
    process.wait()
    with pytest.raises(AudioError, match="died"):
        encoder.encode(path, path.with_suffix(".flac"), (), never)
    assert encoder.encode(path, path.with_suffix(".flac"), (), never)


def test_32_bits_stay_wav_and_that_is_said_once(
    tmp_path: Path, encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    card = MadeSegments(tmp_path, Format(8000, 1, 4))
    for _ in range(3):
        card.add_noise(800)
    transcoder = Transcoder(card.audio, encoder, never)
    assert not transcoder.step(card.ledger)
    card.add_noise(800)
    assert not transcoder.step(card.ledger)
    assert [name[-4:] for name in names(card)] == [".wav"] * 4
    assert len(caplog.messages) == 1


class Killed(BaseException): ...


MOMENTS = ("encoded", "renamed", "noted")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_is_repaired(
    card: MadeSegments, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    made = [card.add_noise(8000) for _ in range(2)]

    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if moment == "encoded":
            patched.setattr(Path, "rename", kill)
        elif moment == "renamed":
            patched.setattr(Transcoder, "_swap", kill)
        else:
            patched.setattr(Path, "unlink", kill)
        with pytest.raises(Killed):
            Transcoder(card.audio, encoder, never).step(card.ledger)
    assert len(names(card)) == 3
    repair(card.audio, card.ledger)
    assert names(card) == [segment.name for segment in card.segments()]
    assert card.segments()[0].name.endswith(".flac" if moment == "noted" else ".wav")
    transcoder = Transcoder(card.audio, encoder, never)
    while transcoder.step(card.ledger):
        pass
    assert names(card) == [segment.name for segment in card.segments()]
    for segment, (_, frames) in zip(card.segments(), made, strict=True):
        np.testing.assert_array_equal(decoded(card.audio / segment.name, 2), frames)


def test_what_is_deleted_meanwhile_does_not_come_back(
    card: MadeSegments, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = card.add_noise(8000)
    swap = Transcoder._swap

    def delete_first(*args: object) -> None:
        rows.add_deletions(
            card.ledger.connection, card.segments(), "quota", "unknown", ("first", 0, 0)
        )
        path.unlink()
        swap(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Transcoder, "_swap", delete_first)
    Transcoder(card.audio, encoder, never).step(card.ledger)
    assert names(card) == []


def test_a_damaged_ledger_finds_flac_again(card: MadeSegments, encoder: Encoder) -> None:
    card.add_noise(8000)
    card.add_noise(7000)
    Transcoder(card.audio, encoder, never).step(card.ledger)
    before = card.segments()
    leftover = card.audio / before[1].name
    leftover.with_suffix(".flac").write_bytes((card.audio / before[0].name).read_bytes())
    card.ledger.close()
    (card.state / "capture.sqlite").write_bytes(b"damaged" * 1000)
    card.ledger = open_ledger(card.state, Remains())
    assert card.segments() == before


def test_no_time_ends_the_process(card: MadeSegments, encoder: Encoder) -> None:
    path, _ = card.add_noise(2_000_000)
    began = time.monotonic()
    with pytest.raises(Abandoned):
        encoder.encode(path, path.with_name(path.name + PART), (), lambda: True)
    assert time.monotonic() - began < 5
    assert encoder._process is None


def test_load_is_a_yes_or_no() -> None:
    assert transcode.is_loaded() in (True, False)
