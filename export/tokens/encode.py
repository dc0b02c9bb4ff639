"""One clip through the frozen encoder: token maps and [cls] tokens in one pass, and levels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.chunk import Chunk
from edge_probe.encoder import Encoder
from edge_probe.errors import AudioError, EncoderError
from export.card import EncoderCard
from export.clips import Clip
from export.tokens.chunks import clip_chunks

SMALLEST, _LARGEST = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
FLOAT16_HOLDS = f"float16, as which they are kept, holds {SMALLEST:.2g} to {_LARGEST:g}"


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
    """(n_chunks,) root mean square of each chunk's audio, full scale 1; never None in the cache."""


class ClsEncoder(Encoder):
    """An encoder whose graph has a second output, the [cls] token.

    Parameters
    ----------
    card : EncoderCard
        With a `cls`.
    """

    def __init__(self, card: EncoderCard) -> None:
        super().__init__(card.graph, card.spec, profile="fast")
        self._outputs = [card.spec.output_name, str(card.cls)]

    def tokens_and_cls(
        self, chunk: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Both outputs of one run for one chunk (C,): (T, D) and (D_cls,) float32."""
        tokens, cls = self._run(chunk, self._outputs)
        return self._token_rows(tokens), cls[0]


class ClipEncoder:
    """Encodes clips; the graph is loaded for the first one.

    One session of one thread, so the same clip gives the same bits beside any number of others.

    Parameters
    ----------
    card : EncoderCard
    channel : int or None
        Channel of multi-channel clips, counted from 0.
    """

    def __init__(self, card: EncoderCard, channel: int | None) -> None:
        self.card = card
        self.channel = channel
        self._encoder: Encoder | None = None

    def encode(self, clip: Clip) -> ClipTokens:
        """All chunks of a clip.

        Raises
        ------
        AudioError
            The clip cannot be read, or is too short.
        EncoderError
            The graph fails, or its output does not fit into float16.
        """
        grid = self.card.spec.grid
        maps, valid, cls, levels = [], [], [], []
        for chunk in clip_chunks(clip, self.card.spec, self.channel):
            try:
                tokens, global_token = self._forward(chunk.samples)
            except EncoderError as error:
                raise EncoderError(f"{clip.path}: {error.message}", hint=error.hint) from error
            maps.append(self._to_float16(tokens, clip))
            if global_token is not None:
                cls.append(self._to_float16(global_token, clip))
            valid.append(grid.valid_tokens(chunk.n_valid))
            levels.append(_level(chunk))
        mask = np.stack(valid)
        if not mask.any():
            raise AudioError(f"{clip.path}: is too short to hold a single token")
        return ClipTokens(
            np.stack(maps), mask, np.stack(cls) if cls else None, np.array(levels, np.float32)
        )

    def _forward(
        self, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        if self._encoder is None:
            card = self.card
            has_cls = card.cls is not None
            self._encoder = (
                ClsEncoder(card) if has_cls else Encoder(card.graph, card.spec, profile="fast")
            )
        if isinstance(self._encoder, ClsEncoder):
            return self._encoder.tokens_and_cls(samples)
        return self._encoder.tokens(samples), None

    def _to_float16(self, values: NDArray[np.float32], clip: Clip) -> NDArray[np.float16]:
        largest = float(np.abs(values).max())
        if not largest <= _LARGEST:  # also where it is NaN
            raise EncoderError(
                f"{self.card.graph}: token components reach {largest:.3g} on {clip.path}; "
                f"{FLOAT16_HOLDS}",
                hint="let the graph divide its output, so that components are around 1",
            )
        return values.astype(np.float16)


def _level(chunk: Chunk) -> float:
    """Root mean square of the samples that are audio."""
    audio = chunk.samples[: chunk.n_valid].astype(np.float64)
    return float(np.sqrt(np.mean(audio**2)))
