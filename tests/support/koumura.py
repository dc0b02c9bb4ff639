"""Syllables of a Bengalese finch, planted in quiet field background: clips and scenes."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from export.clips import Clip, ClipSet

RATE = 32_000
TYPES = ("0", "8")
"""A short harmonic one and a noisy one; the seven others differ from these only in detail."""

TRAINING, TEST = range(60), range(100, 120)
"""Songs the clips and the scenes are cut from."""

EDGE_S = 0.02
MIN_S = 0.1
BACKGROUND_GAIN = 0.05


@dataclass(frozen=True, slots=True)
class Planted:
    """One bout of a syllable in a scene."""

    label: str
    start_s: float
    end_s: float

    def within(self, start_s: float, end_s: float, window_s: float) -> bool:
        """Whether a time span lies within one window of it."""
        return start_s < self.end_s + window_s and end_s > self.start_s - window_s


class SyllableWorld:
    """Draws from the songs and the field recordings of the shared data folder."""

    def __init__(self, shared: Path) -> None:
        self._songs = {path.name: path for path in (shared / "koumura_bird0").rglob("*.flac")}
        with (shared / "koumura_bird0" / "annotations.csv").open(encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        self._bouts: dict[str, list[tuple[str, float, float]]] = {}
        for (song, label), syllables in groupby(rows, key=lambda row: (row["file"], row["label"])):
            bout = list(syllables)
            times = float(bout[0]["onset_s"]), float(bout[-1]["offset_s"])
            if times[1] - times[0] > MIN_S:
                self._bouts.setdefault(song, []).append((label, *times))
        self._field = []
        for path in sorted((shared / "soundscapes" / "maad_S4A03895_24h").glob("*.flac"))[::8]:
            samples, rate = sf.read(path, dtype="float32")
            self._field.append(soxr.resample(samples, rate, RATE) * np.float32(BACKGROUND_GAIN))

    def song(self, number: int) -> Path:
        """A whole song."""
        return self._songs[f"{number}.flac"]

    def background(self, rng: np.random.Generator, seconds: float) -> NDArray[np.float32]:
        """Some of the field recordings."""
        recording = self._field[rng.integers(len(self._field))]
        first = rng.integers(len(recording) - int(seconds * RATE))
        part: NDArray[np.float32] = recording[first : first + int(seconds * RATE)].copy()
        return part

    def bout(
        self, rng: np.random.Generator, label: str, songs: Sequence[int]
    ) -> tuple[NDArray[np.float32], str]:
        """Samples of one bout and the song it comes from."""
        drawn = [
            (song, start_s, end_s)
            for song in (f"{number}.flac" for number in songs)
            for kind, start_s, end_s in self._bouts[song]
            if kind == label
        ]
        song, start_s, end_s = drawn[rng.integers(len(drawn))]
        first, last = (round(t * RATE) for t in (start_s - EDGE_S, end_s + EDGE_S))
        samples, _ = sf.read(self._songs[song], dtype="float32", start=first, stop=last)
        return samples, song

    def clips(
        self, folder: Path, seconds: float, n_per_class: int, types: Sequence[str] = TYPES
    ) -> ClipSet:
        """Write training clips: a bout of one type each, or background alone."""
        rng = np.random.default_rng(0)
        clips = []
        for label in (*types, None):
            for number in range(n_per_class):
                samples, group = self.background(rng, seconds), f"background {number}"
                if label is not None:
                    sound, group = self.bout(rng, label, TRAINING)
                    first = rng.integers(len(samples) - RATE // 2)
                    sound = sound[: len(samples) - first]
                    samples[first : first + len(sound)] += sound
                path = folder / f"{label}_{number}.wav"
                sf.write(path, samples, RATE)
                clips.append(Clip(path, () if label is None else (f"syllable {label}",), group))
        return ClipSet(tuple(clips), tuple(f"syllable {label}" for label in types))

    def scene(
        self, n_planted: int, gap_s: float, types: Sequence[str] = TYPES,
        songs: Sequence[int] = TEST, seed: int = 1,
    ) -> tuple[NDArray[np.float32], list[Planted]]:  # fmt: skip
        """Bouts of unseen songs, the types in turn, one every ``gap_s`` seconds."""
        rng = np.random.default_rng(seed)
        parts, planted = [], []
        for number in range(n_planted):
            label = types[number % len(types)]
            samples = self.background(rng, gap_s)
            sound, _ = self.bout(rng, label, songs)
            sound = sound[: len(samples) - RATE]
            samples[RATE : RATE + len(sound)] += sound
            start_s = number * gap_s + 1
            planted.append(Planted(f"syllable {label}", start_s, start_s + len(sound) / RATE))
            parts.append(samples)
        return np.concatenate(parts), planted
