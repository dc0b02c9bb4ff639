"""What overlapping windows cost: ours, and a program that encodes each window anew."""

from dataclasses import replace
from statistics import median
from time import process_time

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.spec import WindowSpec

WINDOW_CHUNKS = 6
HOPS = (6, 3, 2, 1)
BLOCK = 4_800

SCENES = 4
"""Of half a minute: what is left over behind the last window hardly counts."""


def measure(rounds: int, scenes: int = SCENES) -> list[dict[str, object]]:
    """A row for each overlap of windows of six chunks, demo encoder and head, on the demo scene.

    ``anew`` resamples and encodes all chunks of every window, and decides as ours does; both must
    decide the same.
    """
    scene, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="float32")
    samples = np.tile(scene, scenes)
    bundle = open_bundle(DEMO_BUNDLE)
    roads = {"ours": _once, "anew": _anew}
    analysers = {hop: ChunkAnalyser(_with_hop(bundle, hop)) for hop in HOPS}
    for hop, analyser in analysers.items():
        ours, anew = (road(analyser, samples, rate) for road in roads.values())
        if not np.array_equal(ours, anew):
            raise SystemExit(f"hop {hop}: windows encoded anew decide otherwise, nothing is timed")
    spent: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for hop, analyser in analysers.items():
            for name, road in roads.items():
                begin = process_time()
                road(analyser, samples, rate)
                spent.setdefault((hop, name), []).append(process_time() - begin)
    hours = len(samples) / rate / 3600
    return [
        {
            "overlap": round(1 - hop / WINDOW_CHUNKS, 3), "hop_chunks": hop,
            "window_chunks": WINDOW_CHUNKS, "rounds": rounds,
            **{f"{name}_cpu_s_per_hour": round(median(spent[hop, name]) / hours, 2)
               for name in roads},
        }
        for hop in HOPS
    ]  # fmt: skip


def _with_hop(bundle: Bundle, hop: int) -> Bundle:
    windows = WindowSpec(WINDOW_CHUNKS, hop, 0.0)
    return replace(bundle, manifest=replace(bundle.manifest, windows=windows))


def _once(analyser: ChunkAnalyser, samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Logits of all whole windows, (n, C): every chunk is encoded once."""
    logits: list[NDArray[np.float64]] = []
    classifier = RunClassifier(
        analyser, Run("scene", 0, rate), lambda _, found: logits.append(found)
    )
    for at in range(0, len(samples), BLOCK):
        classifier.push(samples[at : at + BLOCK])
    return np.stack(logits)


def _anew(analyser: ChunkAnalyser, samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The same with each window by itself."""
    bundle: Bundle = analyser.bundle
    head, grid, hop = bundle.head, analyser.grid(rate), bundle.windows.hop_chunks
    n_whole = sum(grid.native_slice(index)[1] <= len(samples)
                  for index in range(grid.n_chunks(len(samples))))  # fmt: skip
    logits = []
    for first in range(0, n_whole - WINDOW_CHUNKS + 1, hop):
        heard = []
        for index in range(first, first + WINDOW_CHUNKS):
            begin, end = grid.native_slice(index)
            heard.append(analyser.summary(grid.chunk(index, samples[begin:end], None)))
        logits.append(head.logits(head.merge(heard)))  # type: ignore[arg-type]
    return np.stack(logits)
