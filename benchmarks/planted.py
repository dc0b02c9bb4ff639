"""Sounds at known places: tones, and syllables of a Bengalese finch, over field recordings."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from box_scores import Sound
from numpy.typing import NDArray
from support.koumura import BACKGROUND_GAIN, RATE

from export.clips import Clip, ClipSet

Samples = NDArray[np.float32]

GAP_S = 4.0
"""From one planted sound to the next."""

TONE = "tone"
TONE_HZ, TONE_S = (500.0, 3300.0), (0.05, 1.0)
"""Frequency and length of tones, evenly drawn in octaves."""
TONE_LEVEL, FADE_S = 0.1, 0.005

FIRST_TEST_SONG = 60
"""Training draws from those before it."""

Draw = Callable[[np.random.Generator], tuple[Samples, Sound]]
"""Random numbers -> a sound by itself, and what it is; its times count from the first sample."""

Background = Callable[[np.random.Generator, float], Samples]
"""Random numbers and seconds -> what sounds are added to."""


def tone(rng: np.random.Generator) -> tuple[Samples, Sound]:
    """Any tone."""
    hz, seconds = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (TONE_HZ, TONE_S))
    time = np.arange(round(seconds * RATE)) / RATE
    fade = np.minimum(1, np.minimum(time, time[::-1]) / FADE_S)
    samples = (TONE_LEVEL * fade * np.sin(2 * np.pi * hz * time)).astype(np.float32)
    return samples, Sound(TONE, 0.0, len(samples) / RATE, hz=hz)


class Bouts:
    """Syllables of songs, by themselves or several of a type in a row.

    Parameters
    ----------
    shared : Path
    kinds : sequence of str
        Types of syllables; each is drawn as often.
    songs : range
    n_syllables : (int, int)
        Least and most of a bout.
    """

    def __init__(
        self, shared: Path, kinds: Sequence[str], songs: range, n_syllables: tuple[int, int]
    ) -> None:
        self._kinds = kinds
        self._songs = {path.name: path for path in (shared / "koumura_bird0").rglob("*.flac")}
        with (shared / "koumura_bird0" / "annotations.csv").open(encoding="utf-8") as table:
            rows = [
                row
                for row in csv.DictReader(table)
                if int(row["file"].removesuffix(".flac")) in songs
            ]
        least, most = n_syllables
        self._bouts: dict[str, list[tuple[str, list[dict[str, str]]]]] = {}
        for (song, kind), group in groupby(rows, key=lambda row: (row["file"], row["label"])):
            bout = list(group)
            if kind in kinds and least <= len(bout):
                self._bouts.setdefault(kind, []).append((song, bout[:most]))

    def __call__(self, rng: np.random.Generator) -> tuple[Samples, Sound]:
        """Any bout, cut at the first onset and the last offset."""
        kind = self._kinds[int(rng.integers(len(self._kinds)))]
        song, bout = self._bouts[kind][rng.integers(len(self._bouts[kind]))]
        begin_s, end_s = float(bout[0]["onset_s"]), float(bout[-1]["offset_s"])
        first, last = round(begin_s * RATE), round(end_s * RATE)
        samples, _ = sf.read(self._songs[song], dtype="float32", start=first, stop=last)
        return samples, Sound(f"syllable {kind}", 0.0, end_s - begin_s, len(bout))


def hiss(rng: np.random.Generator, seconds: float) -> Samples:
    """White noise, 40 dB below a tone."""
    return (0.0007 * rng.normal(size=round(seconds * RATE))).astype(np.float32)


class Field:
    """Quiet field recordings of one microphone.

    Parameters
    ----------
    shared : Path
    first : int
        Of every eight, from 0: another one is other hours.
    """

    def __init__(self, shared: Path, first: int) -> None:
        self._recordings = []
        for path in sorted((shared / "soundscapes" / "maad_S4A03895_24h").glob("*.flac"))[first::8]:
            samples, rate = sf.read(path, dtype="float32")
            quiet = soxr.resample(samples, rate, RATE) * np.float32(BACKGROUND_GAIN)
            self._recordings.append(quiet)

    def __call__(self, rng: np.random.Generator, seconds: float) -> Samples:
        """Any part of any."""
        recording = self._recordings[rng.integers(len(self._recordings))]
        n_samples = round(seconds * RATE)
        first = rng.integers(len(recording) - n_samples)
        part: Samples = recording[first : first + n_samples].copy()
        return part


def _with(samples: Samples, sound: Samples, rng: np.random.Generator) -> tuple[Samples, int]:
    """A sound at any place of its background, and which one."""
    first = int(rng.integers(len(samples) - len(sound)))
    samples[first : first + len(sound)] += sound
    return samples, first


def clips(
    draws: Sequence[Draw], background: Background, folder: Path, seconds: float, n_clips: int
) -> ClipSet:
    """Write clips with one sound each, and a third of background alone.

    Parameters
    ----------
    draws : sequence of callable
        Taken in turn.
    background : callable
    folder : Path
    seconds : float
        Of a clip.
    n_clips : int
    """
    rng, made = np.random.default_rng(0), []
    for number in range(n_clips):
        samples = background(rng, seconds)
        labels: tuple[str, ...] = ()
        if number % 3:
            added, sound = draws[number % len(draws)](rng)
            samples, _ = _with(samples, added[: len(samples) - 1], rng)
            labels = (sound.label,)
        path = folder / f"{number}.wav"
        sf.write(path, samples, RATE)
        made.append(Clip(path, labels, str(number)))
    return ClipSet(tuple(made), tuple(sorted({label for clip in made for label in clip.labels})))


def scene(draw: Draw, background: Background, n_sounds: int) -> tuple[Samples, list[Sound]]:
    """One sound in every `GAP_S` seconds of background, at any moment of them."""
    rng = np.random.default_rng(1)
    parts, sounds = [], []
    for number in range(n_sounds):
        added, sound = draw(rng)
        part, first = _with(background(rng, GAP_S), added, rng)
        begin_s = number * GAP_S + first / RATE
        sounds.append(replace(sound, start_s=begin_s, end_s=begin_s + sound.end_s))
        parts.append(part)
    return np.concatenate(parts), sounds
