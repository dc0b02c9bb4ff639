"""The token cache: every clip is encoded once, however often heads are trained on it.

One safetensors file per clip, named by what it depends on: encoder and card, audio, part and code
version. What changed gets another name, so nothing has to be invalidated; a file appears whole or
not at all, so a killed run is simply run again.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from edge_probe.chunk import Chunk, Chunker, ChunkGrid
from edge_probe.encoder import Encoder
from edge_probe.errors import AudioError, EdgeProbeError, EncoderError
from edge_probe.source.files import AudioFile
from edge_probe.spec import EncoderSpec
from export.card import EncoderCard
from export.clips import Clip

CACHE_VERSION = "1"
"""Changes whenever the same audio would give other tokens."""

_SMALLEST, _LARGEST = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
_KEPT = f"float16, as which they are kept, holds {_SMALLEST:.2g} to {_LARGEST:g}"


@dataclass(frozen=True, slots=True)
class ClipTokens:
    """The token maps of one clip's chunks."""

    tokens: NDArray[np.float16]
    """(n_chunks, T, D)"""
    valid: NDArray[np.bool_]
    """(n_chunks, T) False for padding."""
    cls: NDArray[np.float16] | None = None
    """(n_chunks, D_cls) [cls] tokens; None where the encoder has none."""
    level: NDArray[np.float32] | None = None
    """(n_chunks,) root mean square of each chunk's audio, full scale 1."""


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
        self._folder = folder / f"{card.graph.stem}-{encoder_key(card)}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._encoder: Encoder | None = None

    def encode(self, clips: Sequence[Clip], progress: str | None = None) -> Encoded:
        """Tokens of all clips; those that cannot be read are listed and left out.

        Raises
        ------
        EdgeProbeError
            Not a single clip could be read.
        EncoderError
            The tokens do not fit into float16.
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
        if result.tokens:
            self._refuse_underflow(result.tokens)
        return result

    def tokens(self, clip: Clip) -> ClipTokens:
        """Tokens of one clip, from the cache or from the encoder."""
        path = self._folder / f"{self._key(clip)}.safetensors"
        if kept := _load(path):
            return kept
        encoded = self._encode(clip)
        fresh = path.with_suffix(f".part{os.getpid()}")
        save_file({"tokens": encoded.tokens, "valid": encoded.valid.astype(np.uint8)}, fresh)
        fresh.replace(path)
        return encoded

    def _key(self, clip: Clip) -> str:
        try:
            if not stat.S_ISREG(clip.path.stat().st_mode):  # a pipe would be waited for
                raise AudioError(f"{clip.path}: is not a regular file")
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
            maps.append(self._to_float16(self._encoder.tokens(chunk.samples), clip))
            valid.append(grid.valid_tokens(chunk.n_valid))
        mask = np.stack(valid)
        if not mask.any():
            raise AudioError(f"{clip.path}: is too short to hold a single token")
        return ClipTokens(np.stack(maps), mask)

    def _to_float16(self, tokens: NDArray[np.float32], clip: Clip) -> NDArray[np.float16]:
        largest = float(np.abs(tokens).max())
        if largest > _LARGEST:
            raise EncoderError(
                f"{self.card.graph}: token components reach {largest:.3g} on {clip.path}; {_KEPT}",
                hint="let the graph divide its output, so that components are around 1",
            )
        return tokens.astype(np.float16)

    def _refuse_underflow(self, clips: Sequence[ClipTokens]) -> None:
        """A silent clip may vanish in float16, but not all of them."""
        largest = max(float(np.abs(clip.tokens).max()) for clip in clips)
        if largest < _SMALLEST:
            raise EncoderError(
                f"{self.card.graph}: token components of {len(clips)} clips reach at most "
                f"{largest:.3g} when rounded; {_KEPT}",
                hint="let the graph multiply its output, so that components are around 1",
            )


def encoder_key(card: EncoderCard) -> str:
    """What tokens depend on besides the audio: graph, external data, everything in the spec."""
    digest = hashlib.sha256(repr(card.spec).encode())
    for path in (card.graph, *card.external_data):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def _load(path: Path) -> ClipTokens | None:
    """Tokens from the cache; None where there are none, or a damaged file."""
    try:
        arrays = load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None
    return ClipTokens(arrays["tokens"], arrays["valid"].astype(bool))


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
