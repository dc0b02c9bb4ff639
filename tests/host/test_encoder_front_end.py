"""The front end in the graph against float64, for every variant that a family has."""

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from support.kaldi_twin import exact_levels
from support.seeded_encoder import GOLDEN

from edge_probe.encoder import session_options
from export.encoders.families import NAMES, family
from export.encoders.front_end import FrontEnd, Standard
from export.encoders.spectrogram import Spectrogram
from export.torch_graph import write_graph

LIMIT = 2.5e-3
"""Natural logarithm of mel power."""

WITHIN_DB = 80.0
"""Below the loudest level of the chunk; where a pure tone leaves less than that in a band, float32
itself gives out, in torchaudio no less than here (export/encoders/README.md)."""

CHUNK_S = 1.28


def sounds(rate_hz: int) -> dict[str, NDArray[np.float32]]:
    """What recorders hear."""
    n = round(CHUNK_S * rate_hz)
    noise = np.random.default_rng(5).standard_normal(n)
    time_s = np.arange(n) / rate_hz
    warble_hz = 3000 + 1500 * np.sin(2 * np.pi * 4 * time_s)
    glide_hz = np.geomspace(40, 0.45 * rate_hz, n)
    made = {
        "silence": np.zeros(n),
        "loud noise": 0.1 * noise,
        "faint noise": 1e-4 * noise,
        "warble": 0.5 * np.sin(2 * np.pi * np.cumsum(warble_hz) / rate_hz),
        "glide": 0.5 * np.sin(2 * np.pi * np.cumsum(glide_hz) / rate_hz),
        "hum": 0.3 + 0.2 * np.sin(2 * np.pi * 50 * time_s),
    }
    made["int16"] = np.round((0.6 * made["warble"] + 0.01 * noise) * 32768) / 32768
    return {name: sound.astype(np.float32) for name, sound in made.items()}


def _compare(
    front_end: FrontEnd, sound: str, waveform: NDArray[np.float32], found: NDArray[np.float32]
) -> None:
    """Hold levels against float64."""
    exact = exact_levels(front_end, waveform)
    difference = np.abs(found * (math.log(10) / 10 if front_end.decibels else 1) - exact)
    if "noise" not in sound and sound != "int16":
        difference = difference[exact > exact.max() - WITHIN_DB * math.log(10) / 10]
    assert difference.max() <= LIMIT, sound


def levels(front_end: FrontEnd, waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ours, as natural logarithms."""
    module = Spectrogram(front_end, front_end.n_frames(len(waveform)))
    found = module.levels(torch.from_numpy(waveform)[None])[0].numpy().astype(np.float64)
    return found * (math.log(10) / 10 if front_end.decibels else 1)


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_those_of_float64(name: str) -> None:
    front_end = family(name).front_end
    for sound, waveform in sounds(front_end.sample_rate_hz).items():
        module = Spectrogram(front_end, 1)
        found = module.levels(torch.from_numpy(waveform)[None])[0].numpy()
        _compare(front_end, sound, waveform, found)


class Levels(torch.nn.Module):
    """The front end up to its levels, as a graph of its own."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(front_end, 1)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return self.spectrogram.levels(waveform)


@pytest.mark.parametrize("name", ["bat", "birdmae"])
def test_levels_of_the_graph_are_those_of_float64(name: str, tmp_path: Path) -> None:
    front_end = family(name).front_end
    made = sounds(front_end.sample_rate_hz)
    write_graph(Levels(front_end), len(made["hum"]), tmp_path / "levels.onnx", ("levels",))
    options = session_options("low-memory")
    session = ort.InferenceSession(str(tmp_path / "levels.onnx"), options)
    for sound, waveform in made.items():
        (found,) = session.run(["levels"], {"waveform": waveform[None]})
        _compare(front_end, sound, waveform, found[0])


def test_a_band_without_a_bin_is_empty_as_in_kaldi() -> None:
    front_end = family("eat").front_end
    empty = np.flatnonzero(~front_end.filters().any(axis=0))
    assert empty.tolist() == [3]
    found = levels(front_end, sounds(16_000)["loud noise"])
    assert found[:, 3] == pytest.approx(math.log(2.0**-23))
    assert not np.isin(found[:, [2, 4]], found[:, 3]).any()


@pytest.mark.parametrize("sound", ["loud noise", "warble"])
def test_normalising_and_padding(sound: str) -> None:
    """Of three frames too many: where zeros stand depends on the family."""
    for name, padded in {"eat": 4.268 / 9.138, "beats": 0.0, "birdmae": None, "bat": 0.0}.items():
        front_end = family(name).front_end
        waveform = torch.from_numpy(sounds(front_end.sample_rate_hz)[sound])[None]
        n_frames = front_end.n_frames(waveform.shape[1])
        found = Spectrogram(front_end, n_frames + 3)(waveform)[0]
        assert found.shape == (n_frames + 3, front_end.n_mels)
        level = Spectrogram(front_end, n_frames).levels(waveform)[0]
        if isinstance(front_end.normalisation, Standard):
            expected = (level - front_end.normalisation.mean) / front_end.normalisation.divisor
        else:
            expected = (level - level.min()) / (level.max() - level.min())
        lowest = float(expected.min()) if padded is None else padded
        np.testing.assert_allclose(found[:-3], expected, atol=1e-6)
        np.testing.assert_allclose(found[-3:], lowest, atol=1e-6)


@pytest.mark.parametrize(("name", "range_db"), [("bat", 80.0), ("ced", 120.0)])
def test_no_level_is_far_below_the_highest(name: str, range_db: float) -> None:
    found = levels(family(name).front_end, sounds(16_000)["warble"]) * 10 / math.log(10)
    assert found.max() - found.min() == pytest.approx(range_db, abs=1e-3)


def test_batch_norm_of_the_levels() -> None:
    front_end = family("dasheng").front_end
    torch.manual_seed(1)
    norm = torch.nn.BatchNorm2d(front_end.n_mels).eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        assert tensor is not None
        tensor.uniform_(0.5, 20.0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    module = Spectrogram(front_end, 40)
    module.set_batch_norm(norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var)
    waveform = torch.from_numpy(sounds(16_000)["int16"])[None]
    level = module.levels(waveform)[:, :40]
    expected = norm(level.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
    np.testing.assert_allclose(module(waveform), expected.detach(), rtol=1e-5, atol=1e-4)


def test_torchaudio_agrees() -> None:
    """A few levels that torchaudio 2.11 computed once from the same waveforms."""
    known = json.loads((GOLDEN / "torchaudio.json").read_text(encoding="utf-8"))
    for name, frames in known["levels"].items():
        front_end = family(name).front_end
        waveform = sounds(front_end.sample_rate_hz)["int16"]
        exact = exact_levels(front_end, waveform)
        for frame, values in frames.items():
            np.testing.assert_allclose(exact[int(frame)], values, atol=2e-3)
