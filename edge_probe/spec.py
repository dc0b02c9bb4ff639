"""What a bundle says about its model: plain frozen facts, no behaviour that touches audio.

Every number here comes from a bundle, never from a setting of the recorder, so that a
rate or a size that contradicts the model cannot be configured (DESIGN section 4).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TokenBits = Literal["float", 1, 2, 3, 4, 5, 6, 7, 8]
"""Precision of a token component: float32, or an odd integer digit of that many bits."""


MAX_COMPONENT = 1e38
"""Largest magnitude of a token or offset component: their difference stays a float32."""


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Where the tokens of one chunk lie in time and frequency.

    Tokens are numbered ``t = i_time * n_freq + i_freq`` everywhere outside the graph.
    """

    n_dims: int
    """D, components of one token."""
    n_time: int
    """S_t, token columns of one chunk."""
    n_freq: int
    """S_f, token rows; 1 if the encoder keeps no frequency axis."""
    start_samples: float
    """Model-rate sample at which column 0 begins, counted from the start of the chunk."""
    step_samples: float
    """Model-rate samples from one column to the next."""
    band_edges_hz: tuple[float, ...] | None
    """S_f + 1 ascending edges of the rows, or None where they are unknown."""

    @property
    def n_tokens(self) -> int:
        """T = S_t * S_f, tokens of one chunk."""
        return self.n_time * self.n_freq

    def columns_samples(self) -> NDArray[np.float64]:
        """Begin and end of each token column.

        Returns
        -------
        (S_t, 2) float64
            Model-rate samples from the start of the chunk.
        """
        begin = self._begins()
        return np.stack([begin, begin + self.step_samples], axis=1)

    def valid_tokens(self, n_valid_samples: int) -> NDArray[np.bool_]:
        """Tokens whose centre lies inside the audio.

        Parameters
        ----------
        n_valid_samples : int
            Samples of the chunk that are audio; the rest is zero padding.

        Returns
        -------
        (T,) bool
        """
        begin = self._begins()
        centre = (begin + (begin + self.step_samples)) / 2
        return np.repeat(centre < n_valid_samples, self.n_freq)

    def _begins(self) -> NDArray[np.float64]:
        return self.start_samples + self.step_samples * np.arange(self.n_time, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """The frozen encoder graph: one chunk of waveform in, one token map out."""

    graph: str
    """Bare file name of the ONNX graph inside the bundle."""
    input_name: str
    """Graph input, float32 [1, chunk_samples]."""
    output_name: str
    """Graph output, float32 [1, D, S_t, S_f]."""
    sample_rate_hz: int
    """The rate the model hears, in Hz."""
    chunk_samples: int
    """C, model-rate samples of one chunk."""
    grid: TokenGrid

    @property
    def chunk_s(self) -> float:
        """Length of a chunk in seconds."""
        return self.chunk_samples / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How chunks become decisions."""

    window_chunks: int
    """k, chunks a decision looks at."""
    hop_chunks: int
    """h, chunks from one decision to the next, 1 <= h <= k."""
    refractory_s: float
    """Pauses shorter than this, in seconds, do not end a detection."""
