"""The token cache: every clip is encoded once, however often heads are trained on it.

One safetensors file per clip, named by what it depends on: encoder, audio, part and code version.
A changed clip gets another name, so nothing has to be invalidated; a file appears whole or not at
all, so a killed run is simply run again.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from edge_probe.chunk import Chunk, Chunker, ChunkGrid
from edge_probe.encoder import Encoder
from edge_probe.errors import AudioError, EdgeProbeError
from edge_probe.source.files import AudioFile
from edge_probe.spec import EncoderSpec
from export.card import EncoderCard
from export.clips import Clip

CACHE_VERSION = "1"
"""Changes whenever the same audio would give other tokens."""


@dataclass(frozen=True, slots=True)
class ClipTokens:
    """The token maps of one clip's chunks."""

    tokens: NDArray[np.float16]
    """(n_chunks, T, D)"""
    valid: NDArray[np.bool_]
    """(n_chunks, T) False for padding."""


@dataclass(slots=True)
class Encoded:
    """What became of a list of clips."""

    clips: list[Clip] = field(default_factory=list)
    tokens: list[ClipTokens] = field(default_factory=list)
    """As many as `clips`."""
    unreadable: list[str] = field(default_factory=list)
    """One line per clip that could not be used."""


class TokenCache:
    """Tokens of clips under one encoder.

    Parameters
    ----------
    folder : Path
        Created if need be.
    card : EncoderCard
    channel : int, optional
        Channel of multi-channel clips, counted from 0.
    """

    def __init__(self, folder: Path, card: EncoderCard, channel: int | None = None) -> None:
        self.card = card
        self._channel = channel
        graph_sha = hashlib.sha256(card.graph.read_bytes()).hexdigest()
        self._folder = folder / f"{card.graph.stem}-{graph_sha[:16]}-{card.spec.chunk_samples}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._encoder: Encoder | None = None

    def encode(self, clips: Sequence[Clip], progress: str | None = None) -> Encoded:
        """Tokens of all clips; those that cannot be read are listed and left out.

        Raises
        ------
        EdgeProbeError
            Not a single clip could be read.
        """
        result = Encoded()
        for clip in tqdm(clips, desc=progress, unit="clip", disable=progress is None):
            try:
                tokens = self.tokens(clip)
            except AudioError as error:
                result.unreadable.append(error.message)
                continue
            result.clips.append(clip)
            result.tokens.append(tokens)
        if clips and not result.clips:
            raise EdgeProbeError(
                f"none of {len(clips)} clips could be read; the first: {result.unreadable[0]}",
                hint="see the list of readable formats in README.md",
            )
        return result

    def tokens(self, clip: Clip) -> ClipTokens:
        """Tokens of one clip, from the cache or from the encoder."""
        path = self._folder / f"{self._key(clip)}.safetensors"
        if path.is_file():
            arrays = load_file(path)
            return ClipTokens(arrays["tokens"], arrays["valid"].astype(bool))
        encoded = self._encode(clip)
        fresh = path.with_suffix(f".part{os.getpid()}")
        save_file({"tokens": encoded.tokens, "valid": encoded.valid.astype(np.uint8)}, fresh)
        fresh.replace(path)
        return encoded

    def clear(self) -> None:
        """Forget everything encoded with this encoder."""
        shutil.rmtree(self._folder)

    def _key(self, clip: Clip) -> str:
        try:
            audio = clip.path.read_bytes()
        except OSError as error:
            raise AudioError(f"{clip.path}: {error.strerror}") from error
        part = f"{CACHE_VERSION} {clip.start_s} {clip.end_s} {self._channel}"
        return hashlib.sha256(hashlib.sha256(audio).digest() + part.encode()).hexdigest()[:40]

    def _encode(self, clip: Clip) -> ClipTokens:
        if self._encoder is None:
            self._encoder = Encoder(self.card.graph, self.card.spec, profile="fast")
        grid = self.card.spec.grid
        maps, valid = [], []
        for chunk in clip_chunks(clip, self.card.spec, self._channel):
            maps.append(self._encoder.tokens(chunk.samples).astype(np.float16))
            valid.append(grid.valid_tokens(chunk.n_valid))
        mask = np.stack(valid)
        if not mask.any():
            raise AudioError(f"{clip.path}: is too short to hold a single token")
        return ClipTokens(np.stack(maps), mask)


def clip_chunks(clip: Clip, spec: EncoderSpec, channel: int | None) -> Iterable[Chunk]:
    """The chunks of a clip as the recorder would make them of the same run.

    Raises
    ------
    AudioError
        The clip cannot be read, or lies outside its file.
    """
    with AudioFile(clip.path, channel) as audio:
        rate = audio.sample_rate_hz
        begin = 0 if clip.start_s is None else round(clip.start_s * rate)
        end = audio.n_samples if clip.end_s is None else round(clip.end_s * rate)
        end = min(end, audio.n_samples)
        if begin >= end:
            raise AudioError(f"{clip.path}: {clip.start_s} s lies behind the end of the file")
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
