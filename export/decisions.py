"""Why a bundle decided as it did: its detections in a file, and the prototypes behind each.

Detections are those of the device's own code. A chunk is a pure function of the run and its
number, so the window of a detection is made a second time, when it is looked at, and nothing of
a long recording has to be kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.classify import ChunkAnalyser, Event, Run, RunClassifier
from edge_probe.detect import Box, token_box
from edge_probe.errors import AudioError
from edge_probe.head import PrototypeHead, WindowMaxima, WindowSummary, located, strongest
from edge_probe.source.files import AudioFile
from edge_probe.window import Window


class WindowTally:
    """Highest logits and spread of the scores over windows, one window at a time.

    Parameters
    ----------
    bundle : Bundle
    """

    def __init__(self, bundle: Bundle) -> None:
        self._head = bundle.head
        self.best_logits = np.full(len(bundle.labels), -np.inf)
        """(C,) the highest of any window."""
        self.n_windows = 0
        n_prototypes = self._head.n_prototypes if isinstance(self._head, PrototypeHead) else 0
        self._sum = np.zeros(n_prototypes)
        self._squares = np.zeros(n_prototypes)

    def push(self, window: WindowSummary, logits: NDArray[np.float64]) -> None:
        """Take a window; a `edge_probe.classify.Watcher`."""
        np.maximum(self.best_logits, logits, out=self.best_logits)
        self.n_windows += 1
        if isinstance(window, WindowMaxima) and isinstance(self._head, PrototypeHead):
            difference = window.scores.astype(np.float64) - self._head.reference_scores
            self._sum += difference
            self._squares += difference**2

    def add(self, other: "WindowTally") -> None:
        """Take all windows of another tally of the same bundle."""
        np.maximum(self.best_logits, other.best_logits, out=self.best_logits)
        self.n_windows += other.n_windows
        self._sum += other._sum
        self._squares += other._squares

    def score_sd(self) -> NDArray[np.float64]:
        """(M,) standard deviation of each prototype's score over the windows, one at least."""
        mean = self._sum / self.n_windows
        deviation: NDArray[np.float64] = np.sqrt(
            np.maximum(self._squares / self.n_windows - mean**2, 0)
        )
        return deviation


@dataclass(frozen=True, slots=True)
class Heard:
    """What a bundle made of one channel of one file."""

    path: Path
    channel: int
    events: tuple[Event, ...]
    tally: WindowTally
    """Of all its windows."""


@dataclass(frozen=True, slots=True)
class Place:
    """A token that explains a decision, and the prototypes that found it."""

    box: Box
    prototypes: tuple[int, ...]
    """The largest contribution first."""
    shares: tuple[float, ...]
    """Of each prototype in the positive evidence that has a place (`edge_probe.head.located`)."""

    @property
    def share(self) -> float:
        """Part of that evidence that lies here."""
        return sum(self.shares)


@dataclass(frozen=True, slots=True)
class Decision:
    """A detection, its best window, and what spoke for and against it."""

    heard: Heard
    event: Event
    class_index: int
    samples: NDArray[np.float32]
    """(n,) what the model heard: the audio of the window at the model's rate."""
    start_s: float
    """Where the window begins, on the time axis of the file."""
    logits: NDArray[np.float64]
    """(C,) of the window."""
    baseline: float
    """Logit when every prototype has its mean training score."""
    contributions: NDArray[np.float64] | None
    """(M,) what each prototype adds to the baseline; None for a head without prototypes."""
    places: tuple[Place, ...]
    """Tokens of the prototypes that explain half of the positive evidence, the largest first."""


def hear(analyser: ChunkAnalyser, path: Path, channel: int | None) -> Heard:
    """Classify a whole file as the device does.

    Parameters
    ----------
    analyser : ChunkAnalyser
    path : Path
    channel : int, optional
        Needed when there are several.

    Raises
    ------
    AudioError
        The file cannot be read to its end, or is too short to hold a token.
    EncoderError
        The encoder failed on a chunk.
    """
    tally = WindowTally(analyser.bundle)
    with AudioFile(path, channel) as audio:
        run = Run(audio.name, audio.channel, audio.sample_rate_hz)
        classifier = RunClassifier(analyser, run, tally.push)
        events: list[Event] = []
        with tqdm(
            desc=path.name, total=audio.n_samples, unit="sample", unit_scale=True,
            disable=None, leave=False,
        ) as bar:  # fmt: skip
            for block in audio:
                events += classifier.push(block)
                bar.update(len(block))
        if classifier.too_short:
            raise AudioError(
                f"{path}: {classifier.duration_s:.6f} s is too short to classify",
                hint=f"one chunk of this bundle is {analyser.bundle.encoder.chunk_s:g} s long",
            )
        return Heard(path, audio.channel, tuple(events + classifier.finish()), tally)


def best_events(heard: Sequence[Heard], n_per_class: int) -> list[tuple[Heard, Event]]:
    """The detections of each class with the highest logits, by file and time."""
    ranked = sorted(
        ((found, event) for found in heard for event in found.events),
        key=lambda pair: -pair[1].logit,
    )
    taken: dict[str, int] = {}
    chosen = []
    for found, event in ranked:
        taken[event.label.text] = taken.get(event.label.text, 0) + 1
        if taken[event.label.text] <= n_per_class:
            chosen.append((found, event))
    order = {id(found): number for number, found in enumerate(heard)}
    return sorted(chosen, key=lambda pair: (order[id(pair[0])], pair[1].start_s))


def explain(analyser: ChunkAnalyser, heard: Heard, event: Event) -> Decision:
    """Make the best window of a detection again and ask its head for reasons.

    Raises
    ------
    AudioError
        The file changed since it was heard.
    """
    bundle = analyser.bundle
    hop_s = bundle.windows.hop_chunks * bundle.encoder.chunk_s
    index = round(event.window_start_s / hop_s)
    chunks = _window_chunks(analyser, heard, index * bundle.windows.hop_chunks)
    summaries = tuple(analyser.summary(chunk) for chunk in chunks)
    window = Window(index, chunks[0].index, summaries, chunks[-1].n_valid)
    merged = bundle.head.merge(summaries)  # type: ignore[arg-type]
    class_index = bundle.labels.index(event.label)
    baseline, contributions = 0.0, None
    places: tuple[Place, ...] = ()
    if isinstance(bundle.head, PrototypeHead) and isinstance(merged, WindowMaxima):
        linear = bundle.head.linear
        usual = float(linear.row(class_index) @ bundle.head.reference_scores)
        baseline = float(linear.bias[class_index]) + usual
        contributions = bundle.head.contributions(merged, class_index)
        heard_of_it = located(contributions, linear.row(class_index))
        places = _places(bundle, window, merged, heard_of_it)
    return Decision(
        heard=heard,
        event=event,
        class_index=class_index,
        samples=np.concatenate([chunk.samples[: chunk.n_valid] for chunk in chunks]),
        start_s=chunks[0].index * bundle.encoder.chunk_s,
        logits=bundle.head.logits(merged),  # type: ignore[arg-type]
        baseline=baseline,
        contributions=contributions,
        places=places,
    )


def _window_chunks(analyser: ChunkAnalyser, heard: Heard, first: int) -> list[Chunk]:
    """The chunks of a window, read from the file."""
    with AudioFile(heard.path, heard.channel) as audio:
        grid, n_native = analyser.grid(audio.sample_rate_hz), audio.n_samples
        last = min(first + analyser.bundle.windows.window_chunks, grid.n_chunks(n_native))
        chunks = []
        for index in range(first, last):
            begin, end = grid.native_slice(index)
            n_model = grid.n_model_samples(n_native) if end > n_native else None
            chunks.append(grid.chunk(index, audio.read(begin, min(end, n_native)), n_model))
        return [chunk for chunk in chunks if analyser.holds_tokens(chunk)]


def _places(
    bundle: Bundle, window: Window, merged: WindowMaxima, contributions: NDArray[np.float64]
) -> tuple[Place, ...]:
    """The strongest prototypes, gathered by where each reached its maximum.

    Tokens of one time are one place where their bands are not known.
    """
    total = float(np.maximum(contributions, 0).sum())
    at: dict[Box, list[int]] = {}
    for m in strongest(contributions).tolist():
        box = token_box(bundle.encoder, window, int(merged.chunks[m]), int(merged.tokens[m]))
        if box is not None:
            at.setdefault(box, []).append(m)
    places = [
        Place(box, tuple(members), tuple(float(contributions[m]) / total for m in members))
        for box, members in at.items()
    ]
    return tuple(sorted(places, key=lambda place: -place.share))
