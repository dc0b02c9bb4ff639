"""Training clips of the privacy benchmark: ESC-10, background, and people who speak."""

from collections import Counter
from pathlib import Path

import field_audio
import numpy as np
import soundfile as sf
from scenes import as_pcm, gain
from speech import RATE_HZ, Samples, lines, say

from export.clips import Clip, write_manifest
from export.demo.data import esc10_clips

LABEL = "Homo sapiens_Human speech"
SNR_DB = (0.0, 20.0)
"""Of the training clips, uniform."""

CLIP_S = 5.0
_AROUND_S = 0.5


def write_clips(shared: Path, folder: Path, *, n_speech: int, n_of_class: int, seed: int) -> Path:
    """Write clips and the manifest that ``edge-export fit`` takes.

    Parameters
    ----------
    shared : Path
        Data folder.
    folder : Path
        Of the new clips; it must not exist.
    n_speech : int
        Clips of speech.
    n_of_class : int
        At most so many clips of each class of ESC-10.
    seed : int
    """
    folder.mkdir(parents=True)
    recordings = field_audio.training(shared)
    found = _background(recordings, folder)
    found += _speech(recordings, folder, n_speech, np.random.default_rng(seed))
    seen: Counter[int] = Counter()
    clips, names = esc10_clips(shared / "esc10")
    for clip in clips:
        seen[clip.target] += 1
        if seen[clip.target] <= n_of_class:
            group = clip.path.stem.rsplit("-", 1)[0]
            found.append(Clip(clip.path, (names[clip.target],), group))
    table = folder / "clips.csv"
    write_manifest(found, table)
    return table


def _background(recordings: list[tuple[str, Samples]], folder: Path) -> list[Clip]:
    """All of the recordings, in pieces."""
    size, found = round(CLIP_S * RATE_HZ), []
    for name, samples in recordings:
        for at in range(0, max(1, len(samples) - size // 2), size):
            path = folder / f"{name}_{at // size}.wav"
            sf.write(path, as_pcm(samples[at : at + size]), RATE_HZ)
            found.append(Clip(path, (), name))
    return found


def _speech(
    recordings: list[tuple[str, Samples]], folder: Path, n: int, random: np.random.Generator
) -> list[Clip]:
    """Clips with one sentence each, over background; a voice is a source of its own."""
    found = []
    long = [samples for _, samples in recordings if len(samples) > 9 * RATE_HZ]
    for number, line in enumerate(lines("train", random)[:n]):
        utterance = say(line)
        n_spoken = len(utterance.samples)
        size = max(round(CLIP_S * RATE_HZ), n_spoken + round(2 * _AROUND_S * RATE_HZ))
        samples = long[random.integers(len(long))]
        first = random.integers(len(samples) - size + 1)
        mixed = samples[first : first + size].copy()
        begin = random.integers(size - n_spoken + 1)
        here = slice(begin, begin + n_spoken)
        mixed[here] += gain(utterance, mixed[here], random.uniform(*SNR_DB)) * utterance.samples
        path = folder / f"speech_{number}.wav"
        sf.write(path, as_pcm(mixed), RATE_HZ)
        found.append(Clip(path, (LABEL,), f"{line.language}+{line.variant}"))
    return found
