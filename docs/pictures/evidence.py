"""The picture of a decision: a scene, its tokens, the logits of its windows."""

import csv
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import soundfile as sf
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sheet import BLUE, GREEN, INK, LINE, PALE, RED

from edge_probe.bundle import open_bundle
from edge_probe.chunk import Chunker
from edge_probe.classify import ChunkAnalyser, EventFinder, Run
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.head import PrototypeHead


def evidence(class_name: str = "Clock tick") -> Figure:
    """The demo scene, and what the demo bundle hears of one class in it."""
    found = listen(class_name)
    figure: Figure
    figure, panels = plt.subplots(
        4, 1, figsize=(9.2, 6.6), sharex=True, height_ratios=(1.5, 1.1, 1, 0.5)
    )
    sound, place, verdict, truth = panels
    levels = np.log10(np.abs(found.spectrum) ** 2 + 1e-9)
    end_s = found.tokens.shape[1] / found.n_time * found.chunk_s
    sound.imshow(levels, origin="lower", aspect="auto", cmap="magma", extent=(0, end_s, 0, 8))
    sound.set(ylabel="kHz", title="the sound (16 kHz), ten sounds mixed so that neighbours overlap")
    edges_s = np.arange(found.tokens.shape[1] + 1) * found.chunk_s / found.n_time
    place.pcolormesh(
        edges_s, np.arange(found.tokens.shape[0] + 1), found.tokens, cmap="Blues", vmin=0
    )
    place.set(ylabel="row of\nthe token map", title=f"what each token says for {class_name}")
    hop_s, window_s = found.chunk_s, found.window_s
    for number, logit in enumerate(found.logits):
        heard = logit >= found.threshold
        verdict.plot(
            [hop_s * number, hop_s * number + window_s], [logit, logit], linewidth=2.5,
            color=BLUE if heard else LINE, solid_capstyle="butt",
        )  # fmt: skip
    verdict.axhline(found.threshold, color=RED, linewidth=1, linestyle="--")
    verdict.text(0.2, found.threshold, "threshold", color=RED, va="bottom", fontsize=8)
    verdict.set(
        ylabel="logit", title="the maximum of each window, weighted and summed: one bar a window"
    )
    for number, (begin_s, until_s, label) in enumerate(found.planted):
        is_it, row = label == class_name, number % 2
        truth.broken_barh([(begin_s, until_s - begin_s)], (row + 0.1, 0.8),
                          color=GREEN if is_it else PALE, edgecolor=LINE)  # fmt: skip
        is_wide = until_s - begin_s > 2
        truth.text((begin_s + until_s) / 2 if is_wide else until_s + 0.1, row + 0.5, label,
                   ha="center" if is_wide else "left", va="center", fontsize=7,
                   color="white" if is_it else INK)  # fmt: skip
    truth.set(yticks=[], ylim=(0, 2), xlabel="s", xlim=(0, 28.4), title="what was played")
    for axes in panels:
        axes.title.set_fontsize(9)
    figure.tight_layout()
    return figure


@dataclass(frozen=True)
class Heard:
    """What a bundle made of the demo scene."""

    spectrum: NDArray[np.complex64]
    tokens: NDArray[np.float64]
    """(S_f, columns): what a token would add to the logit, were it the best one."""
    logits: NDArray[np.float64]
    """Of the class, of each window."""
    threshold: float
    chunk_s: float
    window_s: float
    n_time: int
    planted: list[tuple[float, float, str]]


def listen(class_name: str) -> Heard:
    """Let the demo bundle hear the demo scene, token by token."""
    bundle = open_bundle(DEMO_BUNDLE)
    if not isinstance(bundle.head, PrototypeHead):
        raise TypeError(f"expected a head with prototypes, found {bundle.head.kind}")
    index = [label.common_name for label in bundle.labels].index(class_name)
    samples, rate_hz = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="float32")
    analyser = ChunkAnalyser(bundle)
    chunker = Chunker(analyser.grid(rate_hz))
    chunks = [*chunker.push(samples), *chunker.finish()]
    grid, weights = bundle.encoder.grid, bundle.head.linear.row(index)
    columns, logits = [], []
    finder = EventFinder(
        bundle, Run("", 0, rate_hz), lambda _window, found: logits.append(float(found[index]))
    )
    for chunk in chunks:
        said = [
            np.maximum(weights, 0)
            @ np.maximum(bundle.head.summarise(token[None], np.ones(1, bool)).scores
                         - bundle.head.reference_scores, 0)
            for token in analyser.encoder.tokens(chunk.samples)
        ]  # fmt: skip
        columns.append(np.reshape(said, (grid.n_time, grid.n_freq)).T)
        list(finder.push(analyser.summary(chunk), chunk.n_valid))
    list(finder.finish(len(samples) / rate_hz))
    audio = np.concatenate([chunk.samples for chunk in chunks]).reshape(-1, 640)
    spectrum = np.fft.rfft(audio * np.hanning(640)).T
    with (DEMO_BUNDLE.parent / "demo_scene.csv").open(encoding="utf-8") as file:
        planted = [(float(row["start_s"]), float(row["end_s"]), row["label"])
                   for row in csv.DictReader(file)]  # fmt: skip
    return Heard(
        spectrum.astype(np.complex64), np.concatenate(columns, axis=1), np.array(logits),
        float(bundle.threshold_on[index]), bundle.encoder.chunk_s,
        bundle.windows.window_chunks * bundle.encoder.chunk_s, grid.n_time, planted,
    )  # fmt: skip
