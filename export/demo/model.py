"""The demonstration encoder: waveform, log-mel, a small depthwise CNN, a signed token map."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edge_probe.spec import EncoderSpec, TokenGrid

SAMPLE_RATE_HZ = 16_000
CHUNK_SAMPLES = 20_480
"""1.28 s: 128 spectrogram frames."""

N_FFT, HOP = 320, 160
N_MELS, LOW_HZ, HIGH_HZ = 64, 50.0, 8_000.0
LOG_FLOOR = 1e-5
"""Added to mel power before the logarithm: about the noise of a 16-bit recorder."""

N_DIMS = 96
_STRIDE = 16
"""Frames per token column, and mel bands per token row."""


def mel_edges_hz() -> NDArray[np.float64]:
    """Corner frequencies of the triangular filters, evenly spaced in mel.

    Returns
    -------
    (N_MELS + 2,) float64
        Filter m rises from entry m to entry m + 1 and falls to entry m + 2. Mel scale
        ``2595 log10(1 + f / 700)``: O'Shaughnessy, "Speech communication", 1987.
    """
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOW_HZ, HIGH_HZ))
    edges: NDArray[np.float64] = 700 * (10 ** (np.linspace(low, high, N_MELS + 2) / 2595) - 1)
    return edges


def mel_filters() -> NDArray[np.float32]:
    """Triangular filters over the DFT bins: (N_FFT / 2 + 1, N_MELS) float32."""
    edges = mel_edges_hz()
    bins = np.arange(N_FFT // 2 + 1)[:, None] * SAMPLE_RATE_HZ / N_FFT
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def dft_basis() -> NDArray[np.float32]:
    """Cosines, then sines, of every bin under a periodic Hann window, as Conv1d weights.

    Returns
    -------
    (2 * (N_FFT / 2 + 1), 1, N_FFT) float32
    """
    bins, samples = np.arange(N_FFT // 2 + 1), np.arange(N_FFT)
    phase = 2 * np.pi * np.outer(bins, samples) / N_FFT
    window = 0.5 - 0.5 * np.cos(2 * np.pi * samples / N_FFT)
    basis = np.concatenate([np.cos(phase) * window, np.sin(phase) * window])
    return basis[:, None].astype(np.float32)


class MelPower(nn.Module):
    """Mel power spectrogram by one convolution and one matrix product."""

    basis: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", torch.from_numpy(dft_basis()), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters()), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, CHUNK_SAMPLES) full scale ±1 -> (B, 128 frames, N_MELS) power."""
        pad = (N_FFT - HOP) // 2
        parts = functional.conv1d(waveform[:, None], self.basis, stride=HOP, padding=pad)
        real, imaginary = parts.chunk(2, dim=1)
        return (real.square() + imaginary.square()).transpose(1, 2) @ self.filters


def _separable(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in, bias=False),
        nn.BatchNorm2d(n_in),
        nn.ReLU(),
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


class TokenNet(nn.Module):
    """Mel power to a token map; the last layer is linear, so tokens have signs that mean something.

    Depthwise-separable convolutions after Howard et al., "MobileNets", arXiv 1704.04861.
    """

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(N_MELS)
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            _separable(32, 48, 2),
            _separable(48, 80, 1),
            _separable(80, 112, 2),
            _separable(112, 112, 1),
            _separable(112, 176, 2),
            _separable(176, 176, 1),
        )
        self.tokens = nn.Conv2d(176, N_DIMS, 1)

    def forward(self, power: Tensor) -> Tensor:
        """(B, 128 frames, N_MELS) -> (B, N_DIMS, S_t = 8, S_f = 4)."""
        level = torch.log(power + LOG_FLOOR)
        level = self.normalise(level.transpose(1, 2)[..., None])  # (B, mel, frame, 1)
        tokens: Tensor = self.tokens(self.trunk(level.permute(0, 3, 2, 1)))
        return tokens


class DemoEncoder(nn.Module):
    """What the ONNX graph computes: (1, CHUNK_SAMPLES) -> (1, N_DIMS, 8, 4)."""

    def __init__(self, net: TokenNet) -> None:
        super().__init__()
        self.power = MelPower()
        self.net = net

    def forward(self, waveform: Tensor) -> Tensor:
        """Tokens of one chunk."""
        tokens: Tensor = self.net(self.power(waveform))
        return tokens


def encoder_spec(graph: str) -> EncoderSpec:
    """The facts of the exported graph.

    Four stride-2 convolutions with padding 1 centre the field of column i on frame 16 i and that of
    row j on mel band 16 j. Within its field a column of the trained net answers most to what comes
    6 to 7 frames later, and boxes would be so much too early (benchmarks/bench_boxes.py): columns
    tile the chunk, as ``edge-export encoder cut`` measures it. Rows show no such shift.
    """
    edges = mel_edges_hz()
    step = _STRIDE * HOP
    n_time, n_freq = CHUNK_SAMPLES // step, N_MELS // _STRIDE
    bands = [0, *range(_STRIDE // 2, N_MELS - _STRIDE // 2, _STRIDE), N_MELS]
    return EncoderSpec(
        graph=graph,
        input_name="waveform",
        output_name="tokens",
        sample_rate_hz=SAMPLE_RATE_HZ,
        chunk_samples=CHUNK_SAMPLES,
        grid=TokenGrid(
            n_dims=N_DIMS,
            n_time=n_time,
            n_freq=n_freq,
            start_samples=0.0,
            step_samples=float(step),
            band_edges_hz=tuple(round(float(edges[band + (band == N_MELS)]), 1) for band in bands),
        ),
    )
