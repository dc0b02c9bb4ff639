"""A small bundle that was on a recorder, what it kept there, and a reviewer who knows the truth."""

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.replay import Replay
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk.sample import Design
from edge_probe.head import PrototypeHead
from edge_probe.head.vectors import from_int16, steps_of, to_int16
from edge_probe.spec import WindowSpec

from .analysed_state import SoundCard, work_off, worker_on
from .made_corrections import entry
from .tiny_bundle import ENCODER, tiny_head, write_tiny_bundle

LABEL, OTHER = "Parus major_Great Tit", "background"
DEPLOYMENT = "wood"
RATE_HZ, CHUNK, K = 1000, 16, 2
N_STREAMS, STREAM_FRAMES = 12, 800
ALL = Design(5, 0.1, 1.0)
"""Every window is drawn, so that scores of every chunk are kept."""


def learned_bundle(folder: Path, noise: NDArray[np.int16] | None = None, **changes: Any) -> Bundle:
    """It calls a class what its first row says, and knows nothing of prototype 1."""
    grid = replace(ENCODER.grid, band_edges_hz=(0.0, RATE_HZ / 4, RATE_HZ / 2))
    head = tiny_head(8)
    assert isinstance(head, PrototypeHead)
    rng = np.random.default_rng(0)
    tokens = rng.normal(0, 0.1, (120, 2, 4, 4)).astype(np.float32)
    windows = [head.merge([head.summarise(one, np.ones(4, bool)) for one in two])
               for two in tokens]  # fmt: skip
    scores = np.stack([window.scores for window in windows])
    logits = np.stack([head.logits(window) for window in windows])
    off, on = np.quantile(logits, [0.5, 0.6], axis=0)
    targets = logits >= on
    unlike = to_int16(scores[np.argsort(scores[:, 1] + targets.any(axis=1))[:20]], steps_of(head))
    quiet = unlike if noise is None else noise
    replay = Replay(
        to_int16(scores, steps_of(head)), targets.astype(np.int8),
        np.arange(len(scores), dtype=np.int32) // 3, quiet,
        np.arange(len(quiet), dtype=np.int32) // 10,
    )  # fmt: skip
    return write_tiny_bundle(folder, **{
        "head": head, "replay": replay, "windows": WindowSpec(K, 1, 0.03),
        "encoder": replace(ENCODER, sample_rate_hz=RATE_HZ, grid=grid),
        "threshold_on": on, "threshold_off": off,
    } | changes)  # fmt: skip


def recorded(state: Path, bundle: Bundle, first: int = 0) -> Path:
    """A state folder with `N_STREAMS` streams of noise number ``first`` and on, classified."""
    state.mkdir()
    (state / "deployment.toml").write_text(f'deployment_id = "{DEPLOYMENT}"\n', encoding="utf-8")
    card = SoundCard(state, RATE_HZ, segment_s=0.4)
    for number in range(N_STREAMS):
        card.noise(STREAM_FRAMES, first + number)
        card.end()
    worker = worker_on(state, ChunkAnalyser(bundle), design=ALL)
    work_off(worker)
    worker.rest()
    del worker, card
    gc.collect()  # nobody has it open any more
    return state


@dataclass(frozen=True)
class Seen:
    """A window and its scores."""

    stream: int
    start: int
    scores: NDArray[np.float32]

    @property
    def holds(self) -> bool:
        """Whether the class is in it: by prototype 1, which the parent does not mind."""
        return bool(self.scores[1] > 0.45)


def windows(state: Path) -> Iterator[Seen]:
    """Two chunks each, none twice."""
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        kept = {
            (stream, n): from_int16(np.frombuffer(data, "<i2"), steps)
            for stream, n, steps, data in db.execute(
                "SELECT stream, n, steps, scores FROM chunk_scores"
            )
        }
    for stream, n in sorted(kept):
        if n % 2 == 0 and (stream, n + 1) in kept:
            highest = np.maximum(kept[stream, n], kept[stream, n + 1])
            yield Seen(stream, n * CHUNK, highest)


def reviewed(state: Path, bundle: Bundle, n: int, **changes: Any) -> list[dict[str, Any]]:
    """Entries of ``n`` windows, as many with the class as without, of all streams."""
    rng = np.random.default_rng(1)
    seen = list(windows(state))
    chosen = []
    for holds in (True, False):
        of_kind = [one for one in seen if one.holds is holds]
        chosen += [of_kind[i] for i in rng.choice(len(of_kind), n // 2, replace=False)]
    return [said(one, bundle, **changes) for one in chosen]


def said(one: Seen, bundle: Bundle, **changes: Any) -> dict[str, Any]:
    """What the reviewer says of a window."""
    return entry(**{
        "deployment_id": DEPLOYMENT, "bundle_sha256": bundle.sha256, "stream": one.stream,
        "start_sample": one.start, "end_sample": one.start + K * CHUNK, "rate_hz": RATE_HZ,
        "label": LABEL, "verdict": "correct" if one.holds else "wrong", "draw": "detection",
        "probability": None, "logit": None,
    } | changes)  # fmt: skip
