"""The front end in torch: waveform in, normalised log-mel spectrogram out.

One convolution does offset, pre-emphasis, window and transform; all operators are plain ONNX.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.encoders.front_end import FrontEnd, Standard

BATCH_NORM = ("weight", "bias", "mean", "variance")
"""Tensors (n_mels,) of the batch norm, in the order of `Spectrogram.set_batch_norm`."""

_BATCH_NORM_EPS = 1e-5
_MIN_MAX_EPS = 1e-8


class Spectrogram(nn.Module):
    """(1, n_samples) waveform, full scale ±1 -> (1, n_frames, n_mels).

    Parameters
    ----------
    front_end : FrontEnd
    n_frames : int
        Frames that the encoder reads; those that the chunk does not fill are padded.
    """

    basis: Tensor
    filters: Tensor
    offset: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, front_end: FrontEnd, n_frames: int) -> None:
        super().__init__()
        self.front_end, self.n_frames = front_end, n_frames
        filters, basis = front_end.filters(), front_end.basis()
        heard = filters.any(axis=1)  # the other bins need no transform
        filters, basis = filters[heard], basis[heard]
        for name, values in {
            "basis": np.concatenate([basis.real, basis.imag])[:, None],
            "filters": filters,
            "offset": np.concatenate([basis.sum(axis=1).real, basis.sum(axis=1).imag])[:, None],
            "scale": np.ones(front_end.n_mels),
            "shift": np.zeros(front_end.n_mels),
        }.items():
            tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32))
            self.register_buffer(name, tensor, persistent=False)

    def set_batch_norm(self, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Take the running statistics and weights of a batch norm over the mel bands."""
        scale = weight.double() / (variance.double() + _BATCH_NORM_EPS).sqrt()
        self.scale = scale.float()
        self.shift = (bias.double() - mean.double() * scale).float()

    def forward(self, waveform: Tensor) -> Tensor:
        """The spectrogram as the encoder reads it."""
        level = self.levels(waveform)[:, : self.n_frames]
        padding = self.front_end.padding
        if padding == "zero level":
            return self._normalised(self._padded(level, 0.0))
        if padding == "lowest level":
            lowest = level.amin(dim=(1, 2), keepdim=True)
            return self._normalised(self._padded(level - lowest, 0.0) + lowest)
        return self._padded(self._normalised(level), 0.0)

    def levels(self, waveform: Tensor) -> Tensor:
        """Log-mel levels before padding and normalising: (1, frames that are filled, n_mels)."""
        constants = self.front_end
        # Subtracted before the sums of the convolution and put back behind them: float32 keeps
        # more of a quiet sound beside a constant offset.
        mean = waveform.mean(dim=1, keepdim=True)
        centred = (waveform - mean)[:, None]
        if constants.centred:
            half = constants.n_fft // 2
            centred = functional.pad(centred, (half, half), mode="reflect")
        parts = functional.conv1d(centred, self.basis, stride=constants.hop_samples)
        if not constants.remove_offset:
            parts = parts + self.offset * mean[:, None]
        real, imaginary = parts.chunk(2, dim=1)
        power = (real.square() + imaginary.square()).transpose(1, 2) @ self.filters
        level = power.clamp(min=constants.floor).log()
        if constants.decibels:
            level = level * (10 / math.log(10))
        if constants.range_db is not None:
            level = torch.maximum(level, level.amax(dim=(1, 2), keepdim=True) - constants.range_db)
        return level

    def _padded(self, image: Tensor, value: float) -> Tensor:
        missing = self.n_frames - image.shape[1]
        return functional.pad(image, (0, 0, 0, missing), value=value) if missing > 0 else image

    def _normalised(self, level: Tensor) -> Tensor:
        kind = self.front_end.normalisation
        if isinstance(kind, Standard):
            return (level - kind.mean) / kind.divisor
        if kind == "batch-norm":
            return level * self.scale + self.shift
        low = level.amin(dim=(1, 2), keepdim=True)
        return (level - low) / (level.amax(dim=(1, 2), keepdim=True) - low + _MIN_MAX_EPS)
