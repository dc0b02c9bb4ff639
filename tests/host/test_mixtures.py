"""Synthetic mixtures: both sounds are in them, and no split can part a sound from its mixtures."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from export.clips import Clip, ClipsError, read_clips, write_manifest
from export.clips.splits import split_clips
from export.mixtures import (
    DIFFERENCE_DB,
    LEVEL_DB,
    ONE_TO_THREE,
    RMS,
    Mixing,
    active_part,
    write_mixtures,
)

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


def test_pairs_are_the_demonstration_bundle_s_to_the_bit(tmp_path: Path) -> None:
    """The hash was taken from the code that made the demonstration bundle."""
    sources = []
    for number, (label, period, n_samples, group) in enumerate([
        ("a", 8, 4_000, "x"), ("b", 16, 2_400, "x"), ("c", 4, 4_000, "x"),
        ("a", 20, 3_200, "y"), ("b", 10, 48_000, "y"),
    ]):  # fmt: skip
        square = np.where(np.arange(n_samples) // period % 2, -0.5, 0.5)
        path = tmp_path / f"{number}.wav"
        sf.write(path, np.pad(square.astype(np.float32), (800, 1_600)), 8_000)
        sources.append(Clip(path, (label,), group))
    digest = hashlib.sha256()
    for mixture in write_mixtures(sources, 6, tmp_path, rate_hz=8_000, seed=7):
        digest.update(mixture.path.read_bytes())
    assert digest.hexdigest() == "a13db6695891f6f3ab1d64177af8940bc3b60d07d48f597606c31ba96a235c06"


HZ = {f"{hz} Hz": hz for hz in (400, 880, 1_600, 2_520, 3_600, 4_880, 6_400)}


@pytest.fixture
def seven(tmp_path: Path) -> list[Clip]:
    """Two tones of each of seven classes, each a recording of its own, of 0.5 to 2 s."""
    sources = [
        replace(
            clip(tmp_path, label, hz, f"{label} {copy}", 0.5 * (1 + hz % 3 + copy)), split="test"
        )
        for label, hz in HZ.items()
        for copy in range(2)
    ]
    vague = [replace(sources[0], labels=("vague",), unknown=("other",)),
             replace(sources[0], labels=("vague",), absent=("other",)),
             replace(sources[0], labels=())]  # fmt: skip
    return [*sources, *vague]


def test_one_to_three_sounds_somewhere_in_five_seconds(tmp_path: Path, seven: list[Clip]) -> None:
    differences = []
    for mixture in write_mixtures(seven, 60, tmp_path, rate_hz=RATE, seed=0, mixing=ONE_TO_THREE):
        assert mixture.path.name.startswith("synthetic_")
        samples, rate = sf.read(mixture.path)
        assert (rate, len(samples)) == (RATE, 5 * RATE)
        frames = samples[: len(samples) // 400 * 400].reshape(-1, 400)  # whole periods
        loudest = np.abs(np.fft.rfft(frames)).max(axis=0) / 200
        levels = {name: 20 * np.log10(max(loudest[hz // 40], 1e-9)) for name, hz in HZ.items()}
        full = 20 * np.log10(RMS * np.sqrt(2))
        heard = {name for name, level in levels.items() if level > full - 14}
        assert heard == set(mixture.labels)
        assert max(levels.values()) == pytest.approx(full, abs=0.5)
        differences += sorted(full - levels[name] for name in heard)[1:]
    assert -0.5 <= min(differences) < 3
    assert 9 < max(differences) <= 12.5


def test_numbers_of_sounds_and_classes_are_even(tmp_path: Path, seven: list[Clip]) -> None:
    mixtures = write_mixtures(seven, 90, tmp_path, rate_hz=RATE, seed=1, mixing=ONE_TO_THREE)
    assert Counter(len(mixture.labels) for mixture in mixtures) == {1: 30, 2: 30, 3: 30}
    count = Counter(label for mixture in mixtures for label in mixture.labels)
    assert set(count) == set(HZ)
    assert max(count.values()) - min(count.values()) <= 1
    assert len({mixture.labels for mixture in mixtures if len(mixture.labels) == 2}) > 12


def test_mixtures_stay_in_the_split_of_their_sounds(tmp_path: Path, seven: list[Clip]) -> None:
    train = [replace(clip, split="train", labels=(f"train {clip.labels}",)) for clip in seven]
    mixtures = write_mixtures(
        [*seven[:14], *train[:14]], 40, tmp_path, rate_hz=RATE, seed=2, mixing=ONE_TO_THREE
    )
    for mixture in mixtures:
        assert mixture.group == f"synthetic {mixture.split}"
        assert {label.startswith("train") for label in mixture.labels} == {mixture.split == "train"}
    splits = split_clips(mixtures, 0)
    assert {mixtures[row].split for row in splits.train} == {"train"}
    assert {mixtures[row].split for row in splits.test} == {"test"}
    write_manifest(mixtures, tmp_path / "synthetic.csv")
    assert read_clips(tmp_path / "synthetic.csv").clips == tuple(mixtures)


def test_classes_of_small_groups_are_mixed_too(tmp_path: Path, clips: list[Clip]) -> None:
    """Group a has low and high, b only low, c mid and high."""
    mixing = Mixing(1, 2, (-3, 0))
    mixtures = write_mixtures(clips, 40, tmp_path, rate_hz=RATE, seed=3, mixing=mixing)
    kinds = {(mixture.labels, mixture.group) for mixture in mixtures}
    assert kinds >= {(("high", "low"), "a"), (("high", "mid"), "c"), (("low",), "b")}
    assert all(group != "b" or labels == ("low",) for labels, group in kinds)
    with pytest.raises(ClipsError, match="single-label clips of 3 classes"):
        write_mixtures(clips, 1, tmp_path, rate_hz=RATE, seed=0, mixing=ONE_TO_THREE)


def test_a_part_of_a_file_is_mixed(tmp_path: Path) -> None:
    path = tmp_path / "night.wav"
    sf.write(path, np.concatenate([tone(400, 1.0), tone(1_600, 1.0)]), RATE)
    source = Clip(path, ("1600 Hz",), "night", 1.0, 2.0)
    alone = Mixing(1, 1, (0, 0))
    (mixture,) = write_mixtures([source], 1, tmp_path, rate_hz=RATE, seed=0, mixing=alone)
    power = np.abs(np.fft.rfft(sf.read(mixture.path)[0]))
    assert len(power) == RATE // 2 + 1
    assert power.argmax() == 1_600
    for start_s, end_s in ((1.99, None), (7.0, None), (7.0, 9.0)):
        late = replace(source, start_s=start_s, end_s=end_s)
        with pytest.raises(ClipsError, match="at least 20 ms of sound, found"):
            write_mixtures([late], 1, tmp_path, rate_hz=RATE, seed=0, mixing=alone)
