"""The token cache: nothing is encoded twice, nothing changed is believed, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from edge_probe.encoder import Encoder
from edge_probe.errors import EdgeProbeError, EncoderError
from export.card import CARDS, EncoderCard, read_card
from export.clips import Clip
from export.commands.tokens import DEMO_ENCODER
from export.tokens import TokenCache

RATE = 22_050


@pytest.fixture(scope="module")
def card() -> EncoderCard:
    return read_card(DEMO_ENCODER, CARDS / "demo_encoder.toml")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts real passes through the encoder."""
    counter: Counter[str] = Counter()
    real = Encoder.tokens

    def counted(self: Encoder, samples: np.ndarray) -> np.ndarray:
        counter["chunks"] += 1
        return real(self, samples)

    monkeypatch.setattr(Encoder, "tokens", counted)
    return counter


def clip(folder: Path, name: str, seconds: float = 2.0, seed: int = 0) -> Clip:
    path = folder / name
    sound = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    sf.write(path, sound, RATE)
    return Clip(path, ("a",), name)


def test_a_clip_is_encoded_once(tmp_path: Path, card: EncoderCard, runs: Counter[str]) -> None:
    first = clip(tmp_path, "a.wav", 3.0)
    fresh = TokenCache(tmp_path / "cache", card).tokens(first)
    assert runs["chunks"] == 3
    again = TokenCache(tmp_path / "cache", card).tokens(first)
    assert runs["chunks"] == 3
    assert fresh.tokens.dtype == np.float16
    assert fresh.tokens.shape == (3, card.spec.grid.n_tokens, card.spec.grid.n_dims)
    np.testing.assert_array_equal(again.tokens, fresh.tokens)
    np.testing.assert_array_equal(again.valid, fresh.valid)
    assert fresh.valid[:2].all()
    assert not fresh.valid[2].all()


def test_a_moved_clip_is_known_and_a_changed_one_is_not(
    tmp_path: Path, card: EncoderCard, runs: Counter[str]
) -> None:
    cache = TokenCache(tmp_path / "cache", card)
    first = clip(tmp_path, "a.wav", 1.28)
    tokens = cache.tokens(first)
    moved = Clip(first.path.rename(tmp_path / "b.wav"), ("b",), "b")
    np.testing.assert_array_equal(cache.tokens(moved).tokens, tokens.tokens)
    assert runs["chunks"] == 1
    changed = clip(tmp_path, "b.wav", 1.28, seed=1)
    assert not np.array_equal(cache.tokens(changed).tokens, tokens.tokens)
    assert runs["chunks"] == 2


def test_another_card_is_another_cache(tmp_path: Path, card: EncoderCard) -> None:
    spec, grid = card.spec, card.spec.grid
    changes: list[dict[str, Any]] = [
        {"sample_rate_hz": 24_000}, {"chunk_samples": 24_000}, {"input_name": "x"},
        {"output_name": "y"}, {"grid": replace(grid, start_samples=7.0)},
        {"grid": replace(grid, step_samples=7.0)}, {"grid": replace(grid, n_time=7)},
    ]  # fmt: skip
    (tmp_path / "weights.bin").write_bytes(b"one")
    with_data = replace(card, external_data=(tmp_path / "weights.bin",))
    cards = [card, with_data]
    cards += [replace(card, spec=replace(spec, **change)) for change in changes]
    for each in (*cards, *cards):
        TokenCache(tmp_path / "cache", each)
    (tmp_path / "weights.bin").write_bytes(b"two")
    TokenCache(tmp_path / "cache", with_data)
    assert len(list((tmp_path / "cache").iterdir())) == len(cards) + 1


@pytest.mark.parametrize("n_bytes", [0, 4, 100, -1])
def test_a_damaged_cache_file_is_made_again(
    tmp_path: Path, card: EncoderCard, runs: Counter[str], n_bytes: int
) -> None:
    first = clip(tmp_path, "a.wav", 1.28)
    cache = TokenCache(tmp_path / "cache", card)
    tokens = cache.tokens(first).tokens
    (kept,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:n_bytes])
    np.testing.assert_array_equal(cache.tokens(first).tokens, tokens)
    assert runs["chunks"] == 2
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    ("gain", "problem"),
    [
        (1e5, r"reach [\d.]+e\+0[56] on .*/a\.wav; float16.* holds 6\.1e-05 to 65504"),
        (1e-6, r"1 clips reach at most [\d.]+e-0[56] when rounded"),
        (1e-9, r"1 clips reach at most 0 when rounded"),
    ],
)
def test_tokens_that_float16_cannot_hold(
    tmp_path: Path, card: EncoderCard, monkeypatch: pytest.MonkeyPatch, gain: float, problem: str
) -> None:
    real = Encoder.tokens
    monkeypatch.setattr(Encoder, "tokens", lambda *given: real(*given) * np.float32(gain))
    sound = clip(tmp_path, "a.wav")
    for _ in range(2):  # from the encoder, then from the cache
        with pytest.raises(EncoderError, match=problem) as caught:
            TokenCache(tmp_path / "cache", card).encode([sound])
        assert "components are around 1" in str(caught.value.hint)


def test_parts_and_channels_are_kept_apart(
    tmp_path: Path, card: EncoderCard, runs: Counter[str]
) -> None:
    whole = clip(tmp_path, "a.wav", 4.0)
    cache = TokenCache(tmp_path / "cache", card)
    part = Clip(whole.path, (), "a", 1.0, 2.0)
    assert len(cache.tokens(whole).tokens) == 4
    assert len(cache.tokens(part).tokens) == 1
    assert runs["chunks"] == 5
    samples, _ = sf.read(whole.path)
    alone = Clip(tmp_path / "part.wav", (), "part")
    sf.write(alone.path, samples[RATE : 2 * RATE], RATE)
    np.testing.assert_array_equal(cache.tokens(alone).tokens, cache.tokens(part).tokens)
    stereo = tmp_path / "stereo.wav"
    sf.write(stereo, np.stack([0 * samples, samples], axis=1), RATE)
    right = TokenCache(tmp_path / "cache", card, channel=1)
    np.testing.assert_array_equal(
        right.tokens(Clip(stereo, (), "s")).tokens, cache.tokens(whole).tokens
    )


def test_unreadable_clips_are_listed_and_stop_nothing(tmp_path: Path, card: EncoderCard) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    os.mkfifo(tmp_path / "pipe.wav")
    not_utf8 = Path(os.fsdecode(b"%s/M\xf6we.wav" % os.fsencode(tmp_path)))
    clip(tmp_path, "moewe.wav", seed=1).path.rename(not_utf8)
    bad = [
        Clip(tmp_path / "pipe.wav", (), ""),
        Clip(tmp_path / "text.wav", (), ""), Clip(tmp_path / "none.wav", (), ""),
        Clip(tmp_path, (), ""), clip(tmp_path, "short.wav", 0.001),
        Clip(clip(tmp_path, "a.wav").path, (), "", 9.0, 10.0),
    ]  # fmt: skip
    good = [clip(tmp_path, "good.wav"), Clip(not_utf8, (), "")]
    cache = TokenCache(tmp_path / "cache", card)
    encoded = cache.encode([*bad, *good])
    assert encoded.clips == good
    assert len(encoded.tokens) == len(good)
    assert len(encoded.unreadable) == len(bad)
    assert all(str(tmp_path) in line and "\n" not in line for line in encoded.unreadable)
    with pytest.raises(EdgeProbeError, match=f"none of {len(bad)} clips"):
        cache.encode(bad)


def test_killed_run_goes_on_where_it_was(tmp_path: Path, card: EncoderCard) -> None:
    """kill -9 in the middle: what is in the cache is whole, and only the rest is encoded."""
    folder = tmp_path / "clips" / "a"
    folder.mkdir(parents=True)
    for number in range(60):
        clip(folder, f"{number}.wav", 5.0, number)
    command = [sys.executable, "-m", "export", "tokens", str(folder.parent),
               "--cache", str(tmp_path / "cache")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(done := list((tmp_path / "cache").rglob("*.safetensors"))) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = list((tmp_path / "cache").rglob("*.safetensors"))
    assert 5 <= len(done) < 60
    written = {path: path.stat().st_mtime_ns for path in done}
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "60 clips of 1 classes are encoded" in finished.stdout
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 60
    assert {path: path.stat().st_mtime_ns for path in done} == written
