"""A frozen encoder as one torch module: waveform in, token map out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge_probe.errors import EncoderError
from edge_probe.spec import TokenGrid
from export.encoders.family import Family, Wish
from export.encoders.grid import token_grid
from export.encoders.naming import Named
from export.encoders.spectrogram import BATCH_NORM, Spectrogram
from export.foreign.containers import Checkpoint

_LEVELS = "levels."
"""Before our names of the batch norm of the front end."""


class FrozenEncoder(nn.Module):
    """(1, n_samples) waveform, full scale ±1 -> tokens (1, D, S_t, S_f) and, if any, [cls] (1, D).

    Parameters
    ----------
    spectrogram : Spectrogram
    body : Module
        Spectrogram (1, T, F) -> tokens (1, n_cls + S_t * S_f, D), time-major.
    n_cls : int
    n_rows : int
        S_f.
    """

    def __init__(self, spectrogram: Spectrogram, body: nn.Module, n_cls: int, n_rows: int) -> None:
        super().__init__()
        self.spectrogram, self.body = spectrogram, body
        self.n_cls, self.n_rows = n_cls, n_rows

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns."""
        return ("tokens", "cls") if self.n_cls else ("tokens",)

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """Tokens of one chunk."""
        tokens = self.body(self.spectrogram(waveform))
        token_map = tokens[:, self.n_cls :].transpose(1, 2).unflatten(2, (-1, self.n_rows))
        return (token_map, tokens[:, 0]) if self.n_cls else (token_map,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An encoder with its weights, for one length of chunk."""

    module: FrozenEncoder
    family: Family
    named: Named
    size: Any
    """As the family's body measures it."""
    chunk_samples: int
    unheard_samples: int
    """At the end of every chunk, where no further column fits."""
    grid: TokenGrid


def load_encoder(
    checkpoint: Checkpoint, family: Family, chunk_s: float, wish: Wish | None = None
) -> Loaded:
    """Build the encoder that a checkpoint holds, for chunks of a length.

    Parameters
    ----------
    checkpoint : Checkpoint
    family : Family
    chunk_s : float
        Seconds.
    wish : Wish, optional
        What the user says about its size.

    Raises
    ------
    EncoderError
        Tensors are missing, not expected or of another shape, or chunks are too short or too long.
    """
    named = family.read(checkpoint)
    front_end, body = family.front_end, family.body
    size = body.size(named, wish or Wish())
    chunk_samples = round(chunk_s * front_end.sample_rate_hz)
    n_columns = _columns(family, chunk_samples, body.max_columns(named))
    shapes = dict(body.shapes(named, size))
    if front_end.normalisation == "batch-norm":
        shapes |= {f"{_LEVELS}{part}": (front_end.n_mels,) for part in BATCH_NORM}
    tensors = named.take(shapes)
    spectrogram = Spectrogram(front_end, body.patches.n_frames(n_columns))
    if front_end.normalisation == "batch-norm":
        spectrogram.set_batch_norm(*(tensors.pop(f"{_LEVELS}{part}") for part in BATCH_NORM))
    module = FrozenEncoder(
        spectrogram, body.build(size, n_columns, tensors), body.n_cls, body.patches.n_rows
    )
    covered = (body.patches.n_frames(n_columns)) * front_end.hop_samples
    return Loaded(
        module.eval().requires_grad_(requires_grad=False),
        family,
        named,
        size,
        chunk_samples,
        chunk_samples - covered,
        token_grid(front_end, body.patches, size.width, n_columns),
    )


def _columns(family: Family, chunk_samples: int, most: int | None) -> int:
    """Whole token columns in a chunk; a frame counts for one hop.

    Positions are those of the beginning of the window that the encoder was trained on, so a chunk
    may be shorter than that window, never longer.
    """
    front_end, patches = family.front_end, family.body.patches
    n_columns = patches.n_columns(chunk_samples // front_end.hop_samples)
    second = front_end.sample_rate_hz / front_end.hop_samples
    least_s = patches.frames / second
    if n_columns < 1:
        raise EncoderError(
            f"{chunk_samples} samples are shorter than one token of {family.title}",
            hint=f"chunks of {least_s:g} s or more: --chunk-s",
        )
    if most is not None and n_columns > most:
        raise EncoderError(
            f"{chunk_samples} samples give {n_columns} token columns; the positions in this "
            f"checkpoint of {family.title} reach to {most}",
            hint=f"chunks of at most {patches.n_frames(most) / second:g} s: --chunk-s",
        )
    return n_columns


def tokens_of(module: FrozenEncoder, waveform: Tensor) -> tuple[Tensor, ...]:
    """Run the torch module without gradients."""
    with torch.no_grad():
        found: tuple[Tensor, ...] = module(waveform)
    return found
