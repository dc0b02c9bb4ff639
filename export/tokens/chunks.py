"""Chunks of clips and of made-up audio, cut as the recorder cuts them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edge_probe.chunk import Chunk, Chunker, ChunkGrid
from edge_probe.errors import AudioError
from edge_probe.source.files import AudioFile
from edge_probe.spec import EncoderSpec
from export.clips import Clip


def clip_chunks(clip: Clip, spec: EncoderSpec, channel: int | None) -> Iterable[Chunk]:
    """The chunks of a clip as the recorder would make them of the same run.

    Raises
    ------
    AudioError
        The clip cannot be read, or some of it lies behind the end of a file that was cut off,
        or all of it behind that of a whole one.
    """
    with AudioFile(clip.path, channel) as audio:
        rate = audio.sample_rate_hz
        begin = 0 if clip.start_s is None else round(clip.start_s * rate)
        end = audio.n_samples if clip.end_s is None else round(clip.end_s * rate)
        if audio.is_cut and (clip.end_s is None or end > audio.n_samples):
            raise AudioError(
                f"{clip.path}: the file is cut off after {audio.n_samples / rate:.3f} s",
                hint="copy it again, or label the part that is there by start and end",
            )
        end = min(end, audio.n_samples)
        if begin >= end:
            raise AudioError(
                f"{clip.path}: no sample lies between {clip.start_s or 0:g} s and the end of the "
                f"clip at {end / rate:g} s"
            )
        grid = ChunkGrid(rate, spec.sample_rate_hz, spec.chunk_samples)
        n_native = end - begin
        for index in range(grid.n_chunks(n_native)):
            first, last = grid.native_slice(index)
            samples = audio.read(begin + first, begin + min(last, n_native))
            cut = grid.n_model_samples(n_native) if last > n_native else None
            yield grid.chunk(index, samples, cut)


def audio_chunks(audio: NDArray[np.int16], spec: EncoderSpec) -> list[Chunk]:
    """Chunks of model-rate PCM: (n,) int16."""
    rate = spec.sample_rate_hz
    chunker = Chunker(ChunkGrid(rate, rate, spec.chunk_samples))
    return chunker.push(audio.astype(np.float32) / np.float32(2**15)) + chunker.finish()
