"""Where the patches of a spectrogram lie: token columns and rows in samples and hertz."""

from dataclasses import dataclass

import numpy as np

from edge_probe.spec import TokenGrid
from export.encoders.front_end import FrontEnd


@dataclass(frozen=True, slots=True)
class Patches:
    """How a spectrogram is cut; one patch is one token."""

    frames: int
    bands: int
    n_mels: int
    """Bands of the whole spectrogram."""
    step_frames: int
    step_bands: int

    @property
    def shape(self) -> tuple[int, int]:
        """Frames and bands of one patch."""
        return self.frames, self.bands

    @property
    def stride(self) -> tuple[int, int]:
        """Frames and bands from one patch to the next."""
        return self.step_frames, self.step_bands

    @property
    def n_rows(self) -> int:
        """S_f."""
        return 1 + (self.n_mels - self.bands) // self.step_bands

    def n_columns(self, n_frames: int) -> int:
        """S_t of so many frames; 0 if they are fewer than one patch."""
        return max(0, 1 + (n_frames - self.frames) // self.step_frames)

    def n_frames(self, n_columns: int) -> int:
        """Frames that so many columns read."""
        return self.frames + (n_columns - 1) * self.step_frames


def squares(size: int, n_mels: int, step: int | None = None) -> Patches:
    """Square patches; without a step they do not overlap."""
    return Patches(size, size, n_mels, step or size, step or size)


def token_grid(front_end: FrontEnd, patches: Patches, width: int, n_columns: int) -> TokenGrid:
    """Times and band edges of the token map.

    A column stands for the time nearest to the centres of its frames, a row for the bands nearest
    to its centre; the outermost rows reach to the ends of the spectrogram.
    """
    hop = front_end.hop_samples
    beyond = (patches.frames - patches.step_frames) / 2
    edges = None
    if patches.n_rows > 1:  # one row hears everything: it says nothing about frequency
        inner = (patches.bands - patches.step_bands) / 2
        rows = np.arange(patches.n_rows + 1, dtype=np.float64) * patches.step_bands + inner
        rows[0], rows[-1] = 0, patches.bands + (patches.n_rows - 1) * patches.step_bands
        edges = front_end.edges_hz(rows)
    return TokenGrid(
        n_dims=width,
        n_time=n_columns,
        n_freq=patches.n_rows,
        start_samples=front_end.first_frame_samples + beyond * hop,
        step_samples=float(patches.step_frames * hop),
        band_edges_hz=edges,
    )
