r"""The demo bundle: ten ESC-10 classes and mixtures of them, background at several levels.

python -m export.demo.build ESC10 --background FIELD_RECORDINGS --encoder encoder.onnx \
        --out edge_probe/data/demo_bundle
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch
from numpy.typing import NDArray

from edge_probe.spec import WindowSpec
from export.assemble import Job, fit_bundle
from export.card import CARDS, read_card
from export.clips import Clip, ClipSet
from export.demo import data
from export.demo.model import SAMPLE_RATE_HZ
from export.mixtures import write_mixtures
from export.tokens import TokenCache
from export.train import HeadOptions

NOISE_GAINS_DB = (-20, 0, 20)
FIELD_GAINS_DB = (-18, -12, -6, 0, 6, 12)
"""Field recordings are not made 20 dB louder: some would then be mostly clipping."""

N_MIXTURES = 500

WINDOWS = WindowSpec(window_chunks=2, hop_chunks=1, refractory_s=0.0)
SEED = 0


def background_clips(field: Path, folder: Path) -> Iterator[Clip]:
    """Write synthetic and field background at every level and name it as clips."""
    rng = np.random.default_rng(SEED)
    sounds: list[tuple[str, NDArray[np.float32], tuple[int, ...]]] = [
        (f"synthetic{number}", sound, NOISE_GAINS_DB)
        for number, sound in enumerate(data.synthetic_background(rng))
    ]
    for path in data.field_background(field):
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        sound = soxr.resample(samples[:, 0], rate, SAMPLE_RATE_HZ)
        sounds.append((path.stem, sound, FIELD_GAINS_DB))
    for name, sound, gains_db in sounds:
        for gain_db in gains_db:
            path = folder / f"{name}_{gain_db}.wav"
            sf.write(path, np.clip(sound * 10 ** (gain_db / 20), -1, 1), SAMPLE_RATE_HZ)
            yield Clip(path, (), name)


def esc10_clipset(esc10: Path, folds: list[int], field: Path, folder: Path) -> ClipSet:
    """ESC-10 clips of some folds, mixtures of them and background; a fold is a group.

    Parameters
    ----------
    esc10, field : Path
        ESC-10, and field recordings.
    folds : list of int
    folder : Path
        Where mixtures and background are written.
    """
    clips, names = data.esc10_clips(esc10)
    chosen = [
        Clip(clip.path, (names[clip.target],), f"fold {clip.fold}")
        for clip in clips
        if clip.fold in folds
    ]
    mixtures = write_mixtures(chosen, N_MIXTURES, folder, rate_hz=SAMPLE_RATE_HZ, seed=SEED)
    background = background_clips(field, folder)
    return ClipSet((*chosen, *mixtures, *background), tuple(sorted(names)))


def main() -> None:
    """Build the bundle."""
    parser = argparse.ArgumentParser(description="Build the demo bundle.")
    parser.add_argument("esc10", type=Path, help="folder with meta.csv and audio/")
    parser.add_argument("--background", type=Path, required=True, help="field recordings (FLAC)")
    parser.add_argument("--encoder", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = esc10_clipset(args.esc10, args.folds, args.background, folder)
        cache = TokenCache(folder / "cache", read_card(args.encoder, CARDS / "demo_encoder.toml"))
        job = Job(
            "esc10-demo", cache.card, HeadOptions(), WINDOWS, SEED, no_background=False,
            favour="precision",
        )  # fmt: skip
        outcome = fit_bundle(clips, cache, job, args.out, replace=True)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{outcome.bundle.id}: {size / 1024:.0f} KiB, on {outcome.thresholds.on.round(2)}")


if __name__ == "__main__":
    main()
