"""The data sets and encoders of `bench_probing.py`, from the shared data folder."""

import csv
from collections.abc import Sequence
from pathlib import Path

import soundfile as sf
from speech_tokens import join

from export.card import EncoderCard, read_card
from export.clips import Clip, Split, write_manifest
from export.demo.data import esc10_clips
from export.mixtures import ONE_TO_THREE, write_mixtures

CARDS = Path(__file__).with_name("cards")

FOLDS: dict[int, Split] = {1: "train", 2: "train", 3: "validation", 4: "test"}
"""Of ESC-10: folds never share a source recording."""

N_MIXTURES: dict[Split, int] = {"train": 1600, "validation": 600, "test": 600}
RATE_HZ = 44_100

WINDOW_S = 0.975
FIRST_TEST_SONG = 95
VALIDATION_EVERY = 5


def encoders(shared: Path, work: Path) -> list[EncoderCard]:
    """Six token maps of five encoders."""
    folder = shared / "encoders"
    speech = work / "speech_tokens.onnx"
    if not speech.is_file():
        join(folder / "speech_melspectrogram.onnx", folder / "speech_embedding.onnx", speech)
    stm32 = folder / "birdnet_stm32n6_100_encoder.onnx"
    return [
        read_card(folder / "yamnet_encoder_w8.onnx", CARDS / "yamnet.toml"),
        read_card(stm32, CARDS / "birdnet_stm32.toml"),
        read_card(stm32, CARDS / "birdnet_stm32_stage3.toml"),
        read_card(folder / "birdnet24_encoder.onnx", CARDS / "birdnet24.toml"),
        read_card(folder / "whisper_tiny_en_encoder_f16w.onnx", CARDS / "whisper_tiny.toml"),
        read_card(speech, CARDS / "speech_tokens.toml"),
    ]


def esc10(shared: Path, work: Path) -> Path:
    """Single-label clips as they are."""
    table = work / "esc10.csv"
    write_manifest(_esc10(shared), table)
    return table


def mixtures(shared: Path, work: Path, counts: dict[Split, int] = N_MIXTURES) -> Path:
    """Synthetic mixtures of 1 to 3 classes, the sources of each split from folds of its own."""
    table = work / "synthetic_mixtures.csv"
    if table.is_file():
        return table
    clips = _esc10(shared)
    mixed: list[Clip] = []
    for seed, (split, count) in enumerate(counts.items()):
        folder = work / f"synthetic_{split}"
        folder.mkdir(exist_ok=True)
        of_split = [clip for clip in clips if clip.split == split]
        mixed += write_mixtures(
            of_split, count, folder, rate_hz=RATE_HZ, seed=seed, mixing=ONE_TO_THREE
        )
    write_manifest(mixed, table)
    return table


def koumura(shared: Path, work: Path, songs: Sequence[int] = range(135)) -> Path:
    """Windows of a Bengalese finch's song; a syllable counts where half of it is inside.

    Songs 95 to 134 are the test, of the others every fifth is validation.
    """
    folder = shared / "koumura_bird0"
    paths = {path.name: path for path in folder.rglob("*.flac")}
    with (folder / "annotations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips = []
    for song in songs:
        path = paths[f"{song}.flac"]
        of_song = [row for row in rows if row["file"] == path.name]
        for index in range(int(sf.info(path).duration / WINDOW_S)):
            begin, end = index * WINDOW_S, (index + 1) * WINDOW_S
            heard = {row["label"] for row in of_song if _half_inside(row, begin, end)}
            clips.append(Clip(path, tuple(sorted(heard)), path.stem, begin, end,
                              split=_split_of(song)))  # fmt: skip
    table = work / "koumura.csv"
    write_manifest(clips, table)
    return table


def _split_of(song: int) -> Split:
    if song >= FIRST_TEST_SONG:
        return "test"
    return "validation" if song % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"


def _half_inside(row: dict[str, str], begin: float, end: float) -> bool:
    onset, offset = float(row["onset_s"]), float(row["offset_s"])
    return min(end, offset) - max(begin, onset) >= (offset - onset) / 2


def _esc10(shared: Path) -> list[Clip]:
    clips, names = esc10_clips(shared / "esc10")
    return [
        Clip(clip.path, (names[clip.target],), clip.path.stem.rsplit("-", 1)[0],
             split=FOLDS[clip.fold])
        for clip in clips
    ]  # fmt: skip
