"""What the demonstration encoder learns from: ESC-10 clips, and sounds of none of its classes."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from edge_probe.errors import AudioError
from export.demo.model import CHUNK_SAMPLES, SAMPLE_RATE_HZ, MelPower
from export.noise import made_up_noise

BAG_CHUNKS = 4
"""Chunks of one training bag: a 5 s clip, zero-padded to 5.12 s."""

BAG_SAMPLES = BAG_CHUNKS * CHUNK_SAMPLES

SHIFTS = (0, *range(2_000, CHUNK_SAMPLES, 2_600))
"""Rotations of a clip, in samples, of which one is drawn at every use."""

N_SYNTHETIC = 80


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled clip."""

    path: Path
    fold: int
    target: int


def esc10_clips(folder: Path) -> tuple[list[Clip], list[str]]:
    """Clips and class names, in the order of ESC-10's numbers.

    Raises
    ------
    AudioError
        The folder holds no ``meta.csv``.
    """
    table = folder / "meta.csv"
    if not table.is_file():
        raise AudioError(f"{folder}: no meta.csv", hint="name the folder that holds ESC-10")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {int(row["target"]): row["category"] for row in rows}
    clips = [
        Clip(folder / "audio" / row["file"], int(row["fold"]), int(row["target"])) for row in rows
    ]
    return clips, [names[target] for target in sorted(names)]


def read_bag(path: Path) -> NDArray[np.float32]:
    """The first channel of a file at model rate, cut or zero-padded: (BAG_SAMPLES,) float32."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    resampled = soxr.resample(samples[:, 0], rate, SAMPLE_RATE_HZ)[:BAG_SAMPLES]
    return np.pad(resampled, (0, BAG_SAMPLES - len(resampled)))


def field_background(folder: Path) -> list[Path]:
    """Recordings of even hours; those of odd hours are kept for testing.

    File names end in ``_YYYYMMDD_HHMMSS``.
    """
    paths = [path for path in sorted(folder.glob("*.flac")) if int(path.stem[-6:-4]) % 2 == 0]
    if not paths:
        raise AudioError(
            f"{folder}: no recordings named like NAME_20190522_083000.flac",
            hint="name a folder of field background",
        )
    return paths


def synthetic_background(rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """White, pink, brown and band noise, mains hum and digital silence, 5.12 s each."""
    return made_up_noise(rng, N_SYNTHETIC, BAG_SAMPLES, SAMPLE_RATE_HZ)


@torch.no_grad()
def power_maps(bags: Iterable[NDArray[np.float32]], progress: str | None = None) -> Tensor:
    """Mel power of bags.

    Parameters
    ----------
    bags : iterable of (BAG_SAMPLES,) float32
    progress : str, optional
        Name of a progress bar.

    Returns
    -------
    (N, BAG_CHUNKS, 128, N_MELS) float32 tensor
    """
    mel = MelPower()
    rows = tqdm(bags, desc=progress, unit="clip", disable=progress is None)
    return torch.stack([mel(torch.from_numpy(bag.reshape(BAG_CHUNKS, -1))) for bag in rows])


def shifted_maps(paths: Sequence[Path], progress: str | None = None) -> Tensor:
    """Mel power of clips at every rotation: (len(SHIFTS), N, BAG_CHUNKS, 128, N_MELS)."""
    bags = [
        read_bag(path) for path in tqdm(paths, desc=progress, unit="clip", disable=not progress)
    ]
    return torch.stack([power_maps(np.roll(bag, shift) for bag in bags) for shift in SHIFTS])


def background_maps(field: Sequence[Path], seed: int) -> Tensor:
    """Mel power of field recordings (both ends of each) and synthetic sounds."""
    bags = list(synthetic_background(np.random.default_rng(seed)))
    for path in field:
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        whole = soxr.resample(samples[:, 0], rate, SAMPLE_RATE_HZ)
        whole = np.pad(whole, (0, max(0, BAG_SAMPLES - len(whole))))
        bags += [whole[:BAG_SAMPLES], whole[-BAG_SAMPLES:]]
    return power_maps(bags)
