"""Chunks as a pure function of a gap-free run and a number.

Chunk n covers model-rate samples [nC, (n+1)C) counted from the first sample of the run. It is
resampled from one native slice with a fixed margin on both sides, so a file, a pipe in blocks of
any size and a restart in the middle all compute it from the same samples, to the same bit.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
import soxr
from numpy.typing import NDArray

from edge_probe.errors import AudioError

MARGIN_SAMPLES = 1024
"""Samples, at the lower of both rates, resampled and thrown away on either side of a chunk.

soxr's HQ filter is shorter than this: chunk and whole-run resampling then differ by less than
2e-6 of full scale (tests/device/test_chunk.py measures it)."""

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 1_000_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """One encoder input."""

    index: int
    samples: NDArray[np.float32]
    """(C,) model-rate samples, zero-padded after the end of the run."""
    n_valid: int
    """Samples that are audio."""


class ChunkGrid:
    """Where chunks lie in the native samples of a run; arithmetic in exact integers.

    Parameters
    ----------
    native_rate_hz : int
        Rate of the run in Hz.
    model_rate_hz : int
        Rate the encoder hears in Hz.
    chunk_samples : int
        C.

    Raises
    ------
    AudioError
        The native rate is not one that audio has.
    """

    def __init__(self, native_rate_hz: int, model_rate_hz: int, chunk_samples: int) -> None:
        if not MIN_RATE_HZ <= native_rate_hz <= MAX_RATE_HZ:
            raise AudioError(
                f"expected a sample rate of {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, "
                f"found {native_rate_hz}",
                hint="give the rate in Hz, for example 48000",
            )
        self.native_rate_hz = native_rate_hz
        self.model_rate_hz = model_rate_hz
        self.chunk_samples = chunk_samples
        common = gcd(native_rate_hz, model_rate_hz)
        self._up = model_rate_hz // common
        self._down = native_rate_hz // common
        margin = MARGIN_SAMPLES * max(1, -(-self._up // self._down))
        self._margin = 0 if self._up == self._down else margin

    def n_model_samples(self, n_native: int) -> int:
        """Model-rate samples of a run of ``n_native`` native ones."""
        return -(-n_native * self._up // self._down)

    def n_chunks(self, n_native: int) -> int:
        """Chunks of a run of ``n_native`` samples; the last one may be padded."""
        return -(-self.n_model_samples(n_native) // self.chunk_samples)

    def native_slice(self, index: int) -> tuple[int, int]:
        """Native samples chunk ``index`` is made from, in a run that goes on for ever.

        The begin is a multiple of ``native / gcd(native, model)``, where both rates have a
        sample at the same instant. A run that ends earlier cuts the slice at its end.
        """
        first = index * self.chunk_samples - self._margin
        last = (index + 1) * self.chunk_samples + self._margin
        begin = max(0, first) * self._down // self._up // self._down * self._down
        return begin, -(-last * self._down // self._up)

    def tile(self, index: int) -> tuple[int, int]:
        """Native samples chunk ``index`` stands for, in a run that goes on for ever.

        The tiles of a run follow each other without hole or overlap; its end cuts the last one.
        """
        first, last = index * self.chunk_samples, (index + 1) * self.chunk_samples
        return -(-first * self._down // self._up), -(-last * self._down // self._up)

    def chunk_at(self, native: int) -> int:
        """The chunk in whose `tile` a native sample lies."""
        return native * self._up // (self.chunk_samples * self._down)

    def chunk(self, index: int, native: NDArray[np.float32], n_model_samples: int | None) -> Chunk:
        """Make a chunk from the samples of its slice.

        Parameters
        ----------
        index : int
            n.
        native : (end - begin,) float32
            The samples of `native_slice`, cut at the end of the run.
        n_model_samples : int or None
            Length of the run where the slice was cut, None where the run goes on behind it.
        """
        begin, _ = self.native_slice(index)
        wanted = self.chunk_samples
        if n_model_samples is not None:
            wanted = min(wanted, n_model_samples - index * self.chunk_samples)
        skipped = index * self.chunk_samples - begin // self._down * self._up
        resampled = native
        if self._up != self._down:
            resampled = soxr.resample(native, self.native_rate_hz, self.model_rate_hz)
        audio = resampled[skipped : skipped + wanted]
        samples = np.zeros(self.chunk_samples, np.float32)
        samples[: len(audio)] = audio
        return Chunk(index, samples, wanted)


class Chunker:
    """Blocks of any size in, chunks out, as soon as each is complete.

    Parameters
    ----------
    grid : ChunkGrid
    """

    def __init__(self, grid: ChunkGrid) -> None:
        self._grid = grid
        self._blocks: list[NDArray[np.float32]] = []
        self._first = 0  # native index of the first sample still held
        self._next = 0
        self.n_native = 0
        """Native samples received."""

    def push(self, block: NDArray[np.float32]) -> list[Chunk]:
        """Take the next samples of the run: (n,) float32, n >= 0."""
        if len(block):
            self._blocks.append(block)
            self.n_native += len(block)
        chunks = []
        while self._grid.native_slice(self._next)[1] <= self.n_native:
            chunks.append(self._make(None))
        return chunks

    def finish(self) -> list[Chunk]:
        """End the run: the chunks whose slice its end cuts."""
        n_model = self._grid.n_model_samples(self.n_native)
        chunks = []
        while self._next < self._grid.n_chunks(self.n_native):
            chunks.append(self._make(n_model))
        return chunks

    def _make(self, n_model_samples: int | None) -> Chunk:
        begin, end = self._grid.native_slice(self._next)
        held = np.concatenate(self._blocks)[begin - self._first :]
        self._blocks, self._first = [held], begin
        chunk = self._grid.chunk(self._next, held[: end - begin], n_model_samples)
        self._next += 1
        return chunk
