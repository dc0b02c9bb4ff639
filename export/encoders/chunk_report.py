"""What it costs to hear a window chunk by chunk.

A recorder encodes each chunk once and keeps the maxima of its prototype scores; a window is the
maximum over some chunks. That is exact for the maxima, but a token does not hear across the border
of its chunk. Here the same clips are judged in windows of one long chunk and of several short
ones, by heads that never heard their recordings.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from tqdm import tqdm

from edge_probe.encoder import Encoder
from edge_probe.errors import EdgeProbeError
from edge_probe.head import Head
from edge_probe.spec import WindowSpec
from export.card import EncoderCard
from export.clips import ClipSet
from export.encoders.fidelity import HEADS, check_clips, folds_of, macro_map
from export.held_out import Windows
from export.material import Material, encode
from export.thresholds import window_logits
from export.tokens import ClipTokens, TokenCache
from export.train import fit_heads

PRECISION = "float"

_TIMED_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk length."""

    chunk_s: float
    window_chunks: int
    map_long: float
    """Macro mAP, percent, of heads trained on the long chunks: what chunking alone changes."""
    map_own: float
    """Of heads trained on chunks of this length: what is deployed."""
    ms_per_s: float
    """Encoder time for a second of sound, one core of this machine, any overlap of windows."""


def chunk_report(
    cards: Sequence[EncoderCard], clips: ClipSet, cache: Path, seed: int = 0
) -> list[ChunkRow]:
    """Judge chunk lengths.

    Parameters
    ----------
    cards : sequence of EncoderCard
        One encoder at several chunk lengths, the window first.
    clips : ClipSet
        Labelled; several recordings of each class.
    cache : Path
        Folder of the token cache.
    seed : int

    Raises
    ------
    EdgeProbeError
        There is nothing to compare, or the clips cannot judge it.
    """
    window, *_ = cards
    if len(cards) < 2:
        raise EdgeProbeError(
            f"{window.graph.name} takes chunks of {window.spec.chunk_samples} samples only",
            hint="export it at several chunk lengths and give all the files, or cut a graph that "
            "takes any length",
        )
    check_clips(clips)
    materials = [encode(clips, TokenCache(cache, card)) for card in cards]
    if len({tuple(clip.path for clip in material.clips) for material in materials}) != 1:
        raise EdgeProbeError(
            "some clips can be read for some of the chunk lengths only",
            hint="leave out the clips that edge-export tokens lists",
        )
    specs = [_window(card, window) for card in cards]
    materials = [
        replace(one, tokens=[_heard(clip, spec.window_chunks) for clip in one.tokens])
        for one, spec in zip(materials, specs, strict=True)
    ]
    long, own = _judged(materials, specs, seed)
    return [
        ChunkRow(
            card.spec.chunk_s, spec.window_chunks,
            macro_map(long[index], materials[0]), macro_map(own[index], materials[0]),
            _ms_per_s(card),
        )
        for index, (card, spec) in enumerate(zip(cards, specs, strict=True))
    ]  # fmt: skip


def _window(card: EncoderCard, window: EncoderCard) -> WindowSpec:
    """Chunks that come nearest to a window, one window after the other."""
    n = max(1, round(window.spec.chunk_s / card.spec.chunk_s))
    return WindowSpec(window_chunks=n, hop_chunks=n, refractory_s=0.0)


def _heard(clip: ClipTokens, window_chunks: int) -> ClipTokens:
    """A clip without its last window, if more than half of that is padding.

    How much sound is left for it differs with the length of chunks, and what is said of a
    millisecond would decide about the clip.
    """
    n_chunks = len(clip.valid)
    begin = (n_chunks - 1) // window_chunks * window_chunks
    if begin and clip.valid[begin:].sum() < window_chunks * clip.valid.shape[1] / 2:
        n_chunks = begin
    cls, level = clip.cls, clip.level
    return ClipTokens(
        clip.tokens[:n_chunks], clip.valid[:n_chunks],
        None if cls is None else cls[:n_chunks], None if level is None else level[:n_chunks],
    )  # fmt: skip


def _judged(
    materials: Sequence[Material], specs: Sequence[WindowSpec], seed: int
) -> tuple[list[Windows], list[Windows]]:
    """Logits of every clip by heads of the long chunks, and by heads of each length."""
    first = materials[0]
    folds = folds_of(first, seed)
    nothing = [np.full((1, len(first.labels)), np.nan) for _ in first.clips]
    long: list[Windows] = [list(nothing) for _ in materials]
    own: list[Windows] = [list(nothing) for _ in materials]
    for held_out in tqdm(folds, desc="held-out folds", unit="fold"):
        rest = np.setdiff1d(np.arange(len(first.clips)), held_out)
        heads: list[Head] = [
            fit_heads(material.bags(rest), [PRECISION], HEADS, seed=seed)[PRECISION]
            for material in materials
        ]
        for index, (material, spec) in enumerate(zip(materials, specs, strict=True)):
            for row in held_out:
                tokens = material.tokens[row]
                long[index][row] = window_logits(heads[0], tokens, spec)
                own[index][row] = window_logits(heads[index], tokens, spec)
    return long, own


def _ms_per_s(card: EncoderCard) -> float:
    encoder = Encoder(card.graph, card.spec, profile="fast")
    chunk = 0.1 * np.random.default_rng(0).normal(size=card.spec.chunk_samples).astype(np.float32)
    encoder.tokens(chunk)
    spent = []
    for _ in range(_TIMED_CHUNKS):
        begin = time.perf_counter()
        encoder.tokens(chunk)
        spent.append(time.perf_counter() - begin)
    return 1e3 * median(spent) / card.spec.chunk_s
