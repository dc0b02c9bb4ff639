"""The cache as its users see it: clips in, tokens out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_probe.errors import AudioError, EdgeProbeError, EncoderError
from edge_probe.processes import available_cores
from export.card import EncoderCard
from export.clips import Clip
from export.tokens.encode import FLOAT16_HOLDS, SMALLEST, ClipEncoder, ClipTokens
from export.tokens.keys import Order, encoder_key, identify
from export.tokens.shards import Shards
from export.tokens.workers import Encoding, encode_missing

CACHE_VERSION = "2"
"""Changes whenever the same audio would give other tokens, or the files another form."""


@dataclass(slots=True)
class Encoded:
    """What became of a list of clips."""

    clips: list[Clip] = field(default_factory=list)
    tokens: list[ClipTokens] = field(default_factory=list)
    """As many as `clips`; their arrays are read from the cache when they are looked at."""
    keys: list[str] = field(default_factory=list)
    """As many as `clips`: 40 hex digits of what a clip's audio is, wherever it lies."""
    unreadable: list[str] = field(default_factory=list)
    """One line per clip that could not be used."""
    n_encoded: int = 0
    """Clips that were not in the cache; those of the same audio count once."""
    wall_s: float = 0.0
    """Time it took to encode them."""
    cache_bytes: int = 0
    """Size of the encoder's whole cache."""

    def summary(self) -> str:
        """One line of counts."""
        rate = f" ({self.n_encoded / self.wall_s:.1f} clips/s)" if self.n_encoded else ""
        return (
            f"{self.n_encoded} encoded{rate}, {len(self.clips) - self.n_encoded} from the cache, "
            f"{len(self.unreadable)} unreadable; {self.cache_bytes / 2**20:.1f} MiB on disk"
        )


class TokenCache:
    """Tokens of clips under one encoder.

    Parameters
    ----------
    folder : Path
        Created if need be.
    card : EncoderCard
    channel : int, optional
        Channel of multi-channel clips, counted from 0.
    workers : int, optional
        Processes that encode, at most; default: the CPU cores at hand. Each has its own copy of
        the encoder. A script that encodes with more than one needs the usual
        ``if __name__ == "__main__":``.
    """

    def __init__(
        self,
        folder: Path,
        card: EncoderCard,
        channel: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.card = card
        self._channel = channel
        self._n_workers = workers or available_cores()
        name = f"{card.graph.stem}-{encoder_key(card)}-v{CACHE_VERSION}"
        self._shards = Shards(folder / name)
        self._encoder = ClipEncoder(card, channel)

    def encode(self, clips: Sequence[Clip], progress: str | None = None) -> Encoded:
        """Tokens of all clips; those that cannot be read are listed and left out.

        What is not in the cache yet is encoded and kept there. Interrupted or killed, the same
        call goes on where it was.

        Parameters
        ----------
        clips : sequence of Clip
        progress : str, optional
            Name of a progress bar.

        Raises
        ------
        EdgeProbeError
            Not a single clip could be read, or a worker process was killed.
        EncoderError
            The encoder fails, or its tokens do not fit into float16.
        """
        orders = identify(clips, self._channel, progress and f"{progress}: hash")
        found, encoding = self._fetch([o for o in orders if isinstance(o, Order)], progress)
        result = Encoded(
            n_encoded=encoding.n_encoded,
            wall_s=encoding.wall_s,
            cache_bytes=self._shards.n_bytes,
        )
        errors: list[AudioError] = []
        for clip, order in zip(clips, orders, strict=True):
            if isinstance(order, Order) and order.key in found:
                result.clips.append(clip)
                result.tokens.append(found[order.key])
                result.keys.append(order.key)
            else:
                error = order if isinstance(order, AudioError) else encoding.unreadable[order.key]
                errors.append(error)
                result.unreadable.append(_about(clip, error))
        if errors and not result.clips:
            raise EdgeProbeError(
                f"none of {len(clips)} clips could be read; the first: {result.unreadable[0]}",
                hint=errors[0].hint,
            )
        self._refuse_vanished(result)
        return result

    def tokens(self, clip: Clip) -> ClipTokens:
        """Tokens of one clip; raises what `encode` raises."""
        return self.encode([clip]).tokens[0]

    def _fetch(
        self, orders: Sequence[Order], progress: str | None
    ) -> tuple[dict[str, ClipTokens], Encoding]:
        """Tokens by key of all orders that can be read, and what had to be encoded for that."""
        self._shards.remove_parts()
        buckets: dict[str, dict[str, Order]] = defaultdict(dict)
        for order in orders:
            buckets[self._shards.bucket(order.key)].setdefault(order.key, order)
        found: dict[str, ClipTokens] = {}
        missing: dict[str, list[Order]] = {}
        for bucket, wanted in buckets.items():
            kept = self._shards.read_or_set_aside(bucket)
            if lacking := [order for key, order in wanted.items() if key not in kept]:
                missing[bucket] = lacking
            else:
                found |= {key: kept[key] for key in wanted}
        encoding = encode_missing(self._shards, self._encoder, missing, self._n_workers, progress)
        for bucket in missing:
            kept = self._shards.read(bucket)
            found |= {key: kept[key] for key in buckets[bucket] if key not in encoding.unreadable}
        return found, encoding

    def _refuse_vanished(self, result: Encoded) -> None:
        """Refuse a pass without any token above the least of float16."""
        # A silent clip may vanish in float16, but not all of them.
        largest = 0.0
        for clip in result.tokens:
            largest = max(largest, float(np.abs(clip.tokens).max()))
            if largest >= SMALLEST:
                return
        if result.tokens:
            raise EncoderError(
                f"{self.card.graph}: token components of {len(result.tokens)} clips reach at most "
                f"{largest:.3g} when rounded; {FLOAT16_HOLDS}",
                hint="let the graph multiply its output, so that components are around 1",
            )


def _about(clip: Clip, error: AudioError) -> str:
    """The line about a clip; its audio may have been read under another name, or none."""
    path = str(clip.path)
    return error.message if path in error.message else f"{path}: {error.message}"
