"""Synthetic speech by espeak-ng: what is said, by whom, and which samples of it are speech."""

import itertools
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

RATE_HZ = 22_050
"""Of espeak-ng, and of everything in this benchmark."""

Part = Literal["train", "test"]
Samples = NDArray[np.float64]

TEXTS = Path(__file__).with_name("speech_texts.toml")
VARIANTS: dict[Part, tuple[str, ...]] = {
    "train": ("m1", "m3", "m5", "m7", "f1", "f3"),
    "test": ("m2", "m4", "m6", "f2", "f4", "f5"),
}
"""Voices of espeak-ng: of men and of women."""

_WORDS_A_MINUTE, _PITCH = (130, 210), (25, 75)
_FRAME_S, _BELOW_LOUDEST_DB, _PAUSE_S = 0.01, 35.0, 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and who says it how."""

    language: str
    variant: str
    text: str
    words_a_minute: int
    pitch: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence that was said, without the silence around it."""

    line: Line
    samples: Samples
    active: NDArray[np.bool_]
    """Of each sample: speech, pauses below 0.2 s included."""


def version() -> str:
    """What espeak-ng calls itself.

    Raises
    ------
    SystemExit
        It is not installed.
    """
    if shutil.which("espeak-ng") is None:
        raise SystemExit("espeak-ng is not here: apt-get install espeak-ng")
    told = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split("Data at")[0].strip()


def lines(part: Part, random: np.random.Generator) -> list[Line]:
    """Every sentence of a part by every voice of it, in random order, speed and pitch."""
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))[part]
    all_of_it = [
        Line(language, variant, text, int(random.integers(*_WORDS_A_MINUTE)),
             int(random.integers(*_PITCH)))
        for language, sentences in texts.items()
        for text, variant in itertools.product(sentences, VARIANTS[part])
    ]  # fmt: skip
    return [all_of_it[at] for at in random.permutation(len(all_of_it))]


def say(line: Line) -> Utterance:
    """Have a line spoken."""
    command = ["espeak-ng", "--stdout", "-v", f"{line.language}+{line.variant}",
               "-s", str(line.words_a_minute), "-p", str(line.pitch), line.text]  # fmt: skip
    spoken = subprocess.run(command, capture_output=True, check=True)
    samples, rate_hz = sf.read(BytesIO(spoken.stdout), dtype="float64")
    if rate_hz != RATE_HZ:
        raise SystemExit(f"expected {RATE_HZ} Hz of espeak-ng, found {rate_hz}")
    active = activity(samples)
    spans = np.flatnonzero(active)
    inside = slice(spans[0], spans[-1] + 1)
    return Utterance(line, samples[inside], active[inside])


def activity(samples: Samples) -> NDArray[np.bool_]:
    """Which samples of clean speech are speech.

    Frames of 10 ms within 35 dB of the loudest one, and pauses shorter than 0.2 s between them.
    """
    size = round(_FRAME_S * RATE_HZ)
    n_frames = -(-len(samples) // size)
    frames = np.pad(samples, (0, n_frames * size - len(samples))).reshape(n_frames, size)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-_BELOW_LOUDEST_DB / 10))
    active = np.zeros(n_frames, bool)
    active[loud] = True
    for before, after in itertools.pairwise(loud):
        if (after - before - 1) * _FRAME_S < _PAUSE_S:
            active[before:after] = True
    return np.repeat(active, size)[: len(samples)]
