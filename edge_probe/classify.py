"""From the samples of a run to its detections: chunk, encode, summarise, window, decide."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, Label
from edge_probe.chunk import Chunk, Chunker, ChunkGrid
from edge_probe.detect import Detection, Detector, OpenDetection, box_of
from edge_probe.encoder import Encoder, Profile
from edge_probe.errors import AudioError, EncoderError
from edge_probe.head import ChunkSummary, WindowSummary
from edge_probe.window import Window, Windower


@dataclass(frozen=True, slots=True)
class Run:
    """A gap-free stretch of one channel of one source."""

    source: str
    channel: int
    """Counted from 0."""
    sample_rate_hz: int
    start_s: float = 0.0
    """Where the run begins on the time axis of its source, in seconds."""
    start_utc: datetime | None = None
    """Wall time of the source's first sample, where known."""
    clock_trust: str = "unset"
    """unset, rtc, ntp, gps or manual."""


@dataclass(frozen=True, slots=True)
class Event:
    """A detection as it is reported; times in seconds on the time axis of its source."""

    source: str
    channel: int
    start_s: float
    end_s: float
    low_hz: float | None
    high_hz: float | None
    label: Label
    score: float
    calibrated: bool
    logit: float
    threshold: float
    window_start_s: float
    """Of the window with the largest logit."""
    windows_start_s: float
    """Of its first window."""
    windows_end_s: float
    """Of its last window."""
    time_utc: datetime | None
    """Wall time of ``start_s``."""
    clock_trust: str
    bundle: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What to keep of an `EventFinder`, so that another one can go on in its place."""

    n_chunks: int
    """Pushed so far."""
    open: Mapping[int, OpenDetection]
    """Detections that have not ended, by class index."""


NOTHING_YET = Progress(0, MappingProxyType({}))

Watcher = Callable[[WindowSummary, NDArray[np.float64]], None]
"""Told of every window: its summary and its logits, (C,)."""


class ChunkAnalyser:
    """The part that costs time, and that any order of chunks gives the same result of.

    Parameters
    ----------
    bundle : Bundle
    profile : "low-memory" or "fast"
    """

    def __init__(self, bundle: Bundle, profile: Profile = "low-memory") -> None:
        self.bundle = bundle
        self.encoder = Encoder(bundle.path / bundle.encoder.graph, bundle.encoder, profile=profile)

    def grid(self, native_rate_hz: int) -> ChunkGrid:
        """Where the chunks of a run at this rate lie."""
        spec = self.bundle.encoder
        return ChunkGrid(native_rate_hz, spec.sample_rate_hz, spec.chunk_samples)

    def holds_tokens(self, chunk: Chunk) -> bool:
        """Whether there is anything to hear in a chunk; a few samples at the end of a run are not.

        Such a chunk is in no window: its scores would be those of padding.
        """
        return bool(self.bundle.encoder.grid.valid_tokens(chunk.n_valid).any())

    def summary(self, chunk: Chunk) -> ChunkSummary:
        """Encode one chunk and keep what its windows need."""
        tokens = self.encoder.tokens(chunk.samples)
        valid = self.bundle.encoder.grid.valid_tokens(chunk.n_valid)
        return self.bundle.head.summarise(tokens, valid)


class EventFinder:
    """Chunk summaries of one run in ascending order in, events out.

    Parameters
    ----------
    bundle : Bundle
    run : Run
    watch : callable, optional
        Sees every window, whatever is decided.
    before : Progress, optional
        Of the finder whose place this one takes. The chunks from `first_needed` on must be
        pushed again; they give no events.
    """

    def __init__(
        self,
        bundle: Bundle,
        run: Run,
        watch: Watcher | None = None,
        before: Progress = NOTHING_YET,
    ) -> None:
        self._bundle = bundle
        self._run = run
        self._watch = watch
        self._windower = Windower(bundle.windows, before.n_chunks)
        self._n_chunks = self._windower.first_needed
        self._hop_s = bundle.windows.hop_chunks * bundle.encoder.chunk_s
        self._window_s = bundle.windows.window_chunks * bundle.encoder.chunk_s
        self._detector = Detector(
            bundle.threshold_on, bundle.threshold_off, self._hop_s, bundle.windows.refractory_s,
            before.open,
        )  # fmt: skip

    @property
    def first_needed(self) -> int:
        """First chunk, counted from the first one pushed, that a window to come looks at."""
        return self._windower.first_needed

    @property
    def n_windows(self) -> int:
        """Windows decided so far."""
        return self._windower.n_windows

    @property
    def progress(self) -> Progress:
        """As it is now; good until the next push."""
        return Progress(self._n_chunks, self._detector.open)

    def push(self, summary: ChunkSummary, n_valid: int) -> list[Event]:
        """Take the summary of the next chunk and return the events it ends.

        Parameters
        ----------
        summary : ChunkSummary
        n_valid : int
            Samples of the chunk that are audio.
        """
        self._n_chunks += 1
        windows = self._windower.push(summary, n_valid)
        return [event for window in windows for event in self._decide(window)]

    def finish(self, duration_s: float) -> list[Event]:
        """End the run, so many seconds long, and return its remaining events."""
        events = [event for window in self._windower.finish() for event in self._decide(window)]
        # The last model-rate sample may reach past the last native one by a fraction of it.
        return events + [self._event(found, duration_s) for found in self._detector.finish()]

    def _decide(self, window: Window) -> list[Event]:
        head = self._bundle.head
        merged = head.merge(window.chunks)  # type: ignore[arg-type]
        logits = head.logits(merged)  # type: ignore[arg-type]
        if self._watch is not None:
            self._watch(merged, logits)
        box = partial(box_of, self._bundle.encoder, head, window, merged)
        return [self._event(found) for found in self._detector.push(window.index, logits, box)]

    def _event(self, found: Detection, duration_s: float = inf) -> Event:
        run, bundle, box = self._run, self._bundle, found.box
        start_s = run.start_s + min(box.start_s, duration_s)
        end_s = run.start_s + min(box.end_s, duration_s)
        time_utc = run.start_utc + timedelta(seconds=start_s) if run.start_utc else None
        score, calibrated = bundle.score(found.class_index, found.logit)
        return Event(
            run.source, run.channel, start_s, end_s, box.low_hz, box.high_hz,
            bundle.labels[found.class_index], score, calibrated, found.logit,
            float(bundle.threshold_on[found.class_index]),
            run.start_s + found.best_window * self._hop_s,
            run.start_s + found.first_window * self._hop_s,
            run.start_s + min(found.last_window * self._hop_s + self._window_s, duration_s),
            time_utc.astimezone(UTC) if time_utc else None, run.clock_trust, bundle.id,
        )  # fmt: skip


class RunClassifier:
    """Blocks of one run in, events out.

    Parameters
    ----------
    analyser : ChunkAnalyser
    run : Run
    watch : callable, optional
        Sees every window, whatever is decided.

    Raises
    ------
    AudioError
        The sample rate of the run is not one that audio has.
    """

    def __init__(self, analyser: ChunkAnalyser, run: Run, watch: Watcher | None = None) -> None:
        self._analyser = analyser
        self._run = run
        try:
            self._grid = analyser.grid(run.sample_rate_hz)
        except AudioError as error:
            raise AudioError(f"{run.source}: {error.message}", hint=error.hint) from error
        self._chunker = Chunker(self._grid)
        self._finder = EventFinder(analyser.bundle, run, watch)
        self._found: list[Event] = []  # not given out yet
        self._n_done = 0
        self._failed = False

    @property
    def duration_s(self) -> float:
        """Seconds of audio received."""
        return self._chunker.n_native / self._run.sample_rate_hz

    @property
    def classified_s(self) -> float:
        """Seconds of it that were classified, once it is finished."""
        if self.too_short:
            return 0.0
        return min(self._n_done * self._analyser.bundle.encoder.chunk_s, self.duration_s)

    @property
    def too_short(self) -> bool:
        """Whether the run so far holds no token: nothing can be said about it."""
        n_model = self._grid.n_model_samples(self._chunker.n_native)
        return not self._analyser.bundle.encoder.grid.valid_tokens(n_model).any()

    def push(self, block: NDArray[np.float32]) -> list[Event]:
        """Take the next samples, (n,) float32, and return the events they end.

        Raises
        ------
        EncoderError
            The encoder failed on a chunk; `finish` then gives out what was found before it.
        """
        return self._take(self._chunker.push(block))

    def finish(self) -> list[Event]:
        """End the run and return its remaining events."""
        if self.too_short:
            return []
        if not self._failed:
            self._found = self._take(self._chunker.finish())
        return self._found + self._finder.finish(self.classified_s)

    def _take(self, chunks: list[Chunk]) -> list[Event]:
        for chunk in chunks:
            if not self._analyser.holds_tokens(chunk):
                self._n_done += 1
                continue
            try:
                summary = self._analyser.summary(chunk)
            except EncoderError as error:
                self._failed = True
                at_s = chunk.index * self._analyser.bundle.encoder.chunk_s
                raise EncoderError(
                    f"{self._run.source}: at {at_s:.2f} s: {error.message}", hint=error.hint
                ) from error
            self._found += self._finder.push(summary, chunk.n_valid)
            self._n_done += 1
        found, self._found = self._found, []
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a source."""

    duration_s: float
    """Of what could be read."""
    classified_s: float
    problem: AudioError | EncoderError | None
    """Why that is not all of it."""


def classify_blocks(
    blocks: Iterable[NDArray[np.float32]],
    run: Run,
    analyser: ChunkAnalyser,
    take: Callable[[Event], object],
) -> Outcome:
    """Classify the blocks of a gap-free source and give away its events.

    When the source breaks off, what came before is still decided.

    Raises
    ------
    AudioError
        The sample rate is not one that audio has.
    """
    classifier = RunClassifier(analyser, run)
    problem: AudioError | EncoderError | None = None
    try:
        for block in blocks:
            for event in classifier.push(block):
                take(event)
    except (AudioError, EncoderError) as error:
        problem = error
    try:
        rest = classifier.finish()
    except EncoderError as error:
        problem, rest = error, classifier.finish()
    for event in rest:
        take(event)
    if problem is None and classifier.too_short:
        problem = AudioError(
            f"{run.source}: {classifier.duration_s:.6f} s is too short to classify",
            hint=f"one chunk of this bundle is {analyser.bundle.encoder.chunk_s:g} s long",
        )
    return Outcome(classifier.duration_s, classifier.classified_s, problem)
