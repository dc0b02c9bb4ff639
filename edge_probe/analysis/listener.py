"""One channel of one run, chunk by chunk; it can be put down and taken up at any chunk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.analysis.gate import Gate, GateOptions, Verdict
from edge_probe.analysis.recording import AudioRun, LostAudioError, Recording
from edge_probe.analysis.rows import Key, Piece, Result, State, Stint
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.selection import Selection
from edge_probe.analysis.stint import Found, StintFinder
from edge_probe.chunk import Chunk
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk.sample import Design


@dataclass(frozen=True, slots=True)
class Tools:
    """What every listener works with."""

    analyser: ChunkAnalyser
    recording: Recording
    rules: Rules
    design: Design | None = None
    """Of the recorder's samples."""
    gate: GateOptions | None = None
    """None: every chunk is encoded."""


class Listener:
    """Takes the chunks of a run in order; every one gets a result.

    Parameters
    ----------
    tools : Tools
    run : AudioRun
        As far as it is known; the attribute is set anew when it has grown.
    channel : int
    next_n : int
        First chunk without a result.
    stint : Stint, optional
        To go on with, if ``next_n`` continues it.
    """

    def __init__(
        self, tools: Tools, run: AudioRun, channel: int, next_n: int, stint: Stint | None
    ) -> None:
        self.run = run
        self.next_n = next_n
        self._tools = tools
        self._channel = channel
        self._grid = tools.analyser.grid(run.rate_hz)
        self._selection = Selection(tools.analyser.bundle, tools.design, run.stream, run.rate_hz)
        place = run.stream, run.first_frame
        self._gate = Gate(tools.gate, self._grid, place) if tools.gate else None
        self._stint = stint if stint and stint.next_n == next_n else None
        self._finder: StintFinder | None = None

    def key(self, n: int) -> Key:
        """Name of a chunk."""
        return Key(self.run.stream, self.run.first_frame, n, self._channel)

    @property
    def n_in_stint(self) -> int:
        """Chunks since the stint began; 0 between two."""
        return self.next_n - self._stint.first_n if self._stint else 0

    @property
    def must_recall(self) -> bool:
        """Whether the end of the stint wants chunks that were encoded by another listener."""
        return self._stint is not None and self._finder is None

    @property
    def is_done(self) -> bool:
        """Whether every chunk of the run has its result."""
        return self.run.is_finished and self.next_n >= self._grid.n_chunks(self.run.n_frames)

    def is_due(self, n: int) -> bool:
        """Whether a chunk can be made; the last one of a run only once it is known to be."""
        if self.run.is_finished:
            return n < self._grid.n_chunks(self.run.n_frames)
        return self._grid.native_slice(n)[1] < self.run.n_frames

    def piece(self, n: int) -> Piece:
        """The frames that a chunk which is due stands for."""
        begin, end = self._grid.tile(n)
        begin, end = min(begin, self.run.n_frames), min(end, self.run.n_frames)
        return Piece(self.key(n), self.run.first_frame + begin, end - begin)

    def classify(self) -> Result:
        """Classify the next chunk; one whose audio is lost, or in which all is quiet, is skipped.

        Raises
        ------
        EncoderError
            The encoder failed on it.
        """
        n, analyser = self.next_n, self._tools.analyser
        try:
            native, n_model = self._native(n)
        except LostAudioError as error:
            return self.leave_out("skipped", error.reason)
        verdict = self._verdict(n, native)
        if verdict == "gated":
            return self.leave_out("skipped", verdict)
        chunk = self._grid.chunk(n, native, n_model)
        finder = self._taken_up()
        if finder is None:  # the stint cannot go on
            before = self._end_stint(recall=False)
            finder = self._finder = self._new_finder(n)
        else:
            before = Found([], [])
        if analyser.holds_tokens(chunk):
            finder.push(self.run, n, analyser.summary(chunk), chunk.n_valid)
        return self._advance("done", verdict if verdict == "probe" else None, before)

    def leave_out(self, state: State, reason: str, *, recall: bool = True) -> Result:
        """Leave the next chunk out; no window and no detection goes beyond it.

        Parameters
        ----------
        state : "skipped" or "quarantined"
        reason : str
        recall : bool
            Whether chunks before it may be encoded again, if the last window wants them.
        """
        found = self._end_stint(recall=recall)
        return self._advance(state, reason, found)

    def _advance(self, state: State, reason: str | None, found: Found) -> Result:
        piece = self.piece(self.next_n)
        self.next_n += 1
        if self._finder is not None:
            if self.is_done:
                self._finder.end(self.run, self.next_n)
            more = self._finder.take()
            found = Found(
                found.detections + more.detections, found.windows + more.windows,
                found.scores + more.scores,
            )  # fmt: skip
            self._stint = self._finder.state(self.next_n)
        if self.is_done:
            self._finder = self._stint = None
        return Result(
            piece, state, reason, tuple(found.detections), tuple(found.windows), self._stint,
            tuple(found.scores),
        )  # fmt: skip

    def _taken_up(self) -> StintFinder | None:
        """The finder of the stint; None if audio is lost that it would have to hear again."""
        if self._finder is not None:
            return self._finder
        finder = self._new_finder(self._stint.first_n if self._stint else self.next_n, self._stint)
        try:
            for n in range(finder.first_needed, self.next_n):
                chunk = self._chunk(n)
                finder.push(self.run, n, self._tools.analyser.summary(chunk), chunk.n_valid)
        except LostAudioError:
            return None
        self._finder = finder
        return finder

    def _end_stint(self, *, recall: bool) -> Found:
        """End what was open, if anything was."""
        finder = self._finder
        if finder is None and self._stint is not None:
            finder = self._taken_up() if recall else None
            finder = finder or self._new_finder(self._stint.first_n, self._stint)
        self._finder = self._stint = None
        if finder is None:
            return Found([], [])
        finder.end(self.run, self.next_n)
        return finder.take()

    def _new_finder(self, first_n: int, before: Stint | None = None) -> StintFinder:
        tools = self._tools
        return StintFinder(
            tools.analyser.bundle, tools.rules, self._grid, self.run, self._channel, first_n,
            self._selection, before,
        )  # fmt: skip

    def _verdict(self, n: int, native: NDArray[np.float32]) -> Verdict:
        """Of the gate about a chunk, given its slice; without one everything passes."""
        if self._gate is None:
            return "open"
        slice_begin, _ = self._grid.native_slice(n)
        begin, end = (at - slice_begin for at in self._grid.tile(n))
        return self._gate.verdict(n, native[begin:end], self._tile)

    def _tile(self, n: int) -> NDArray[np.float32]:
        """Samples that a chunk stands for; none if they are lost."""
        try:
            return self._tools.recording.read(self.run, self._channel, *self._grid.tile(n))
        except LostAudioError:
            return np.empty(0, np.float32)

    def _chunk(self, n: int) -> Chunk:
        return self._grid.chunk(n, *self._native(n))

    def _native(self, n: int) -> tuple[NDArray[np.float32], int | None]:
        """Slice of a chunk, and the length of the run at the model's rate where that is cut."""
        begin, end = self._grid.native_slice(n)
        n_frames, n_model = self.run.n_frames, None
        if end > n_frames:
            end, n_model = n_frames, self._grid.n_model_samples(n_frames)
        return self._tools.recording.read(self.run, self._channel, begin, end), n_model
