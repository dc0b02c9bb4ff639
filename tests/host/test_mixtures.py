"""Synthetic mixtures: both sounds are in them, and no split can part a sound from its mixtures."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from export.clips import Clip, ClipsError
from export.mixtures import DIFFERENCE_DB, LEVEL_DB, RMS, active_part, write_mixtures

RATE = 16_000


def tone(hz: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(seconds * RATE) / RATE)).astype(np.float32)


def clip(folder: Path, label: str, hz: float, group: str, seconds: float = 2.0) -> Clip:
    """A tone with silence around it."""
    path = folder / f"{label}_{group}_{hz}.wav"
    sf.write(path, np.pad(tone(hz, seconds), (RATE // 2, RATE)), RATE)
    return Clip(path, (label,), group)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return [
        clip(tmp_path, "low", 500, "a"), clip(tmp_path, "high", 3_000, "a", 1.0),
        clip(tmp_path, "low", 700, "b"), clip(tmp_path, "low", 900, "b"),
        clip(tmp_path, "mid", 1_500, "c"), clip(tmp_path, "high", 4_000, "c"),
    ]  # fmt: skip


def test_mixtures_hold_both_sounds_at_like_levels(tmp_path: Path, clips: list[Clip]) -> None:
    hz = {"low": 500, "mid": 1_500}
    for mixture in write_mixtures(clips, 20, tmp_path, rate_hz=RATE, seed=0):
        samples, rate = sf.read(mixture.path)
        assert (rate, len(samples)) == (RATE, 2 * RATE)
        assert np.abs(samples).max() <= 0.98
        high = 3_000 if mixture.group == "a" else 4_000
        low = hz[next(label for label in mixture.labels if label != "high")]
        power = np.abs(np.fft.rfft(samples)) ** 2
        bins = np.fft.rfftfreq(len(samples), 1 / RATE)
        low_db, high_db = (
            10 * np.log10(power[np.abs(bins - at) < 20].sum() / len(samples) ** 2 * 2)
            for at in (low, high)
        )
        shorter_db = 3.5 if mixture.group == "a" else 0.5  # half as long: half the energy
        assert abs(low_db - high_db) < DIFFERENCE_DB + shorter_db
        assert abs(low_db - 20 * np.log10(RMS)) < LEVEL_DB + DIFFERENCE_DB + 1


def test_pairs_share_a_group_and_no_label(tmp_path: Path, clips: list[Clip]) -> None:
    mixtures = write_mixtures(clips, 50, tmp_path, rate_hz=RATE, seed=0)
    kinds = {(mixture.labels, mixture.group) for mixture in mixtures}
    assert kinds == {(("high", "low"), "a"), (("high", "mid"), "c")}
    with pytest.raises(ClipsError, match="no two clips"):
        write_mixtures(clips[2:4], 1, tmp_path, rate_hz=RATE, seed=0)


def test_the_seed_decides_everything(tmp_path: Path, clips: list[Clip]) -> None:
    def content(name: str, seed: int) -> list[bytes]:
        (tmp_path / name).mkdir()
        mixtures = write_mixtures(clips, 5, tmp_path / name, rate_hz=RATE, seed=seed)
        return [mixture.path.read_bytes() for mixture in mixtures]

    assert content("one", 3) == content("other", 3)
    assert content("third", 4) != content("fourth", 5)


def test_silence_is_cut_and_the_level_set() -> None:
    part = active_part(np.pad(tone(440, 1.0), (3_200, 6_400)), RATE)
    assert len(part) == RATE
    assert np.sqrt(np.mean(part**2)) == pytest.approx(RMS, rel=1e-3)
    silence = np.zeros(RATE, np.float32)
    assert active_part(silence, RATE) is silence
