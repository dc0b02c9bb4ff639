"""Consecutive chunks of a run to rows: the part of classification that remembers."""

from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from edge_probe.analysis.recording import AudioRun
from edge_probe.analysis.rows import DetectionRow, ScoresRow, Stint, WindowRow
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.selection import Selection
from edge_probe.bundle import Bundle
from edge_probe.chunk import ChunkGrid
from edge_probe.classify import NOTHING_YET, Event, EventFinder, Progress, Run
from edge_probe.head import ChunkSummary, WindowSummary

BEST = np.dtype([("class_index", "<u4"), ("logit", "<f4")])
"""An entry of `WindowRow.best`."""

N_BEST = 8

_FRACTION = 1e-6
"""Of a frame: more than seconds lose to rounding, less than matters."""


@dataclass(slots=True)
class Found:
    """Rows that wait for the chunk they are kept with."""

    detections: list[DetectionRow]
    windows: list[WindowRow]
    scores: list[ScoresRow] = field(default_factory=list)


class StintFinder:
    """Summaries of consecutive chunks in, rows out.

    Parameters
    ----------
    bundle : Bundle
    rules : Rules
    grid : ChunkGrid
        Of the run.
    run : AudioRun
    channel : int
    first_n : int
        First chunk.
    selection : Selection
        Of the scores that are kept.
    before : Stint, optional
        As another one left it, to go on with: the chunks from `first_needed` on are pushed again.
    """

    def __init__(
        self,
        bundle: Bundle,
        rules: Rules,
        grid: ChunkGrid,
        run: AudioRun,
        channel: int,
        first_n: int,
        selection: Selection,
        before: Stint | None = None,
    ) -> None:
        self._bundle, self._rules, self._grid = bundle, rules, grid
        self._run, self._selection = run, selection
        self._first_n = self._last_n = first_n
        self._held: dict[int, ChunkSummary] = {}
        """Of chunks that a window to come looks at, those whose scores are not kept yet."""
        start_s = first_n * bundle.encoder.chunk_s
        progress = Progress(before.next_n - first_n, before.open) if before else NOTHING_YET
        self._finder = EventFinder(
            bundle, Run("", channel, run.rate_hz, start_s), self._watch, progress
        )
        self._found = Found([], [])

    @property
    def first_needed(self) -> int:
        """First chunk that a window to come looks at."""
        return self._first_n + self._finder.first_needed

    def push(self, run: AudioRun, n: int, summary: ChunkSummary, n_valid: int) -> None:
        """Take the summary of the next chunk, and the run as it is known by now."""
        self._run, self._last_n = run, n
        if self._selection.steps:
            self._held[n] = summary
        for event in self._finder.push(summary, n_valid):
            self._keep(event)
        for old in [one for one in self._held if one < self.first_needed]:
            del self._held[old]

    def state(self, next_n: int) -> Stint:
        """What to keep so that another one can go on."""
        return Stint(self._first_n, next_n, self._finder.progress.open)

    def end(self, run: AudioRun, next_n: int) -> None:
        """No chunk follows the one before ``next_n``."""
        self._run = run
        chunk_s = self._bundle.encoder.chunk_s
        done_s = (next_n - self._first_n) * chunk_s
        left_s = run.n_frames / run.rate_hz - self._first_n * chunk_s
        for event in self._finder.finish(min(done_s, left_s)):
            self._keep(event)

    def take(self) -> Found:
        """The rows found since the last call."""
        found, self._found = self._found, Found([], [])
        return found

    def _keep(self, event: Event) -> None:
        begin, end = self._frame(event.start_s), self._frame(event.end_s)
        span, span_end = self._frame(event.windows_start_s), self._frame(event.windows_end_s)
        label = event.label.text
        row = DetectionRow(
            label, begin, max(1, end - begin), event.low_hz, event.high_hz, event.score,
            event.calibrated, event.logit, event.threshold, self._frame(event.window_start_s),
            span, span_end - span,
            self._rules.is_suppressed(label, self._run.stream, begin, event.score),
            label in self._rules.private,
        )  # fmt: skip
        self._found.detections.append(row)

    def _frame(self, run_s: float) -> int:
        """Frame of the stream, not behind the end of the run."""
        frame = ceil(run_s * self._run.rate_hz - _FRACTION)
        return self._run.first_frame + min(frame, self._run.n_frames)

    def _watch(self, _merged: WindowSummary, logits: NDArray[np.float64]) -> None:
        hop = self._bundle.windows.hop_chunks
        first_n = self._first_n + (self._finder.n_windows - 1) * hop
        begin = self._grid.tile(first_n)[0]
        end = min(self._grid.tile(self._last_n)[1], self._run.n_frames)
        order = np.argsort(-logits, kind="stable")[:N_BEST]
        best = np.zeros(len(order), BEST)
        best["class_index"], best["logit"] = order, logits[order]
        score, _ = self._bundle.score(int(order[0]), float(logits[order[0]]))
        first_frame = self._run.first_frame + begin
        row = WindowRow(first_n, first_frame, end - begin, score, best.tobytes())
        self._found.windows.append(row)
        self._keep_scores(first_n, self._selection.wants_window(first_frame, logits, score))

    def _keep_scores(self, first_n: int, is_wanted: bool) -> None:
        """Of the chunks of a window."""
        selection = self._selection
        for n in [one for one in self._held if one >= first_n]:
            is_sampled = selection.is_sampled(*self._tile(n))
            if is_wanted or is_sampled:
                scores = selection.value_of(self._held.pop(n))
                most = None if is_sampled else selection.most
                self._found.scores.append(ScoresRow(n, selection.steps, scores, most))

    def _tile(self, n: int) -> tuple[int, int]:
        """First frame of a chunk in the stream, and frames."""
        begin, end = (min(at, self._run.n_frames) for at in self._grid.tile(n))
        return self._run.first_frame + begin, end - begin
