"""Compute torchaudio.json of this folder once more; torchaudio must be installed.

    PYTHONPATH=.:tests python tests/golden/encoders/derive_levels.py

Levels are natural logarithms of mel power before normalising, of the first, 58th and last frame.
"""

import json
import math
from collections.abc import Callable

import torch
import torchaudio
from host.test_encoder_front_end import sounds
from support.seeded_encoder import GOLDEN
from torch import Tensor
from torchaudio import transforms
from torchaudio.compliance.kaldi import fbank

from export.encoders.families import family


def main() -> None:
    """Rewrite the file."""
    frames = {name: _frames(name, levels) for name, levels in LEVELS.items()}
    code = f"torchaudio {torchaudio.__version__}: compliance.kaldi.fbank, transforms.MelSpectrogram"
    families = [
        f'  "{name}": {{\n' + ",\n".join(f'   "{i}": {json.dumps(row)}' for i, row in rows.items())
        for name, rows in frames.items()
    ]
    path = GOLDEN / "torchaudio.json"
    source = json.dumps({"code": code, "licence": "BSD-2-Clause"})
    levels = "\n  },\n".join(families)
    path.write_text(
        f'{{\n "source": {source},\n "levels": {{\n{levels}\n  }}\n }}\n}}\n', encoding="utf-8"
    )


def _frames(name: str, levels: Callable[[Tensor], Tensor]) -> dict[int, list[float]]:
    waveform = torch.from_numpy(sounds(family(name).front_end.sample_rate_hz)["int16"])[None]
    found = levels(waveform)
    return {i: [round(float(level), 5) for level in found[i]] for i in (0, 57, len(found) - 1)}


def _kaldi(rate_hz: int) -> Callable[[Tensor], Tensor]:
    return lambda waveform: fbank(
        waveform - waveform.mean(), htk_compat=True, sample_frequency=rate_hz, use_energy=False,
        window_type="hanning", num_mel_bins=128, dither=0.0, frame_shift=10,
    )  # fmt: skip


def _mel(range_db: float, **constants: int) -> Callable[[Tensor], Tensor]:
    power = transforms.MelSpectrogram(sample_rate=16_000, hop_length=160, f_min=0, **constants)
    level = transforms.AmplitudeToDB("power", top_db=range_db)
    return lambda waveform: level(power(waveform))[0].T * (math.log(10) / 10)


LEVELS: dict[str, Callable[[Tensor], Tensor]] = {
    "eat": _kaldi(16_000),
    "beats": lambda waveform: fbank(
        waveform * 2**15, num_mel_bins=128, sample_frequency=16_000, frame_length=25, frame_shift=10
    ),
    "birdmae": _kaldi(32_000),
    "bat": _mel(80.0, n_fft=1024, n_mels=128),
    "dasheng": _mel(120.0, n_fft=512, win_length=512, n_mels=64, f_max=8000),
}

if __name__ == "__main__":
    main()
