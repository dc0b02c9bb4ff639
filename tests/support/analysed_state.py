"""State folders with real audio in them, and what a classifier should have made of it."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.analysis.gate import GateOptions
from edge_probe.analysis.listener import Tools
from edge_probe.analysis.recording import Recording
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.store import Store as Detections
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import Bundle
from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.classify import ChunkAnalyser, Event, EventFinder, Run
from edge_probe.disk.sample import Design
from edge_probe.source.ring import Ring
from edge_probe.source.wav import HEADER_BYTES
from edge_probe.spec import WindowSpec

from .numbered_source import VirtualClock
from .tiny_bundle import ENCODER, write_tiny_bundle

BLOCK = 100


def small_bundle(folder: Path, windows: WindowSpec, sample_rate_hz: int = 1000) -> Bundle:
    """The tiny bundle for audio of a rate that a recorder may have: chunks of 16 ms."""
    grid = replace(ENCODER.grid, band_edges_hz=(0.0, sample_rate_hz / 4, sample_rate_hz / 2))
    encoder = replace(ENCODER, sample_rate_hz=sample_rate_hz, grid=grid)
    return write_tiny_bundle(
        folder, encoder=encoder, windows=windows, threshold_on=[0.6, 0.7],
        threshold_off=[0.45, 0.2],
    )  # fmt: skip


class SoundCard:
    """Records what it is given: 16 bit, through ring and writer, in virtual time."""

    def __init__(
        self, state: Path, rate_hz: int = 1000, n_channels: int = 1, segment_s: float = 1.0
    ) -> None:
        self.format = Format(rate_hz, n_channels, 2)
        self.clock = VirtualClock()
        self._state, self._segment_s = state, segment_s
        self._begin()

    def _begin(self) -> None:
        self._ring = Ring(40 * self.format.rate_hz, self.format.frame_bytes)
        self._writer = Writer(
            self._ring, self.format, "card", segment_s=self._segment_s,
            open_store=lambda safe: Store(self._state, self.clock, safe), clock=self.clock,
        )  # fmt: skip

    def play(self, pcm: NDArray[np.int16]) -> None:
        """Frames, (n, n_channels)."""
        for begin in range(0, len(pcm), BLOCK):
            block = pcm[begin : begin + BLOCK]
            self._pass(len(block))
            self._ring.push(block.astype("<i2").tobytes(), self.clock.now_ns)
            self._writer.step()

    def noise(self, n_frames: int, seed: int) -> None:
        """Play noise whose loudness comes and goes."""
        random = np.random.default_rng(seed)
        shape = (n_frames, self.format.n_channels)
        slow = np.repeat(random.uniform(-1, 1, (n_frames // 64 + 1, shape[1])), 64, axis=0)
        sound = random.normal(0, 3000, shape) + 6000 * slow[:n_frames]
        self.play(np.clip(sound, -32768, 32767).astype(np.int16))

    def lose(self, n_frames: int) -> None:
        """Time passes and nothing comes."""
        self._pass(n_frames)

    def end(self, cause: str = "schedule") -> None:
        """Close the stream; what is played next belongs to another one."""
        assert self._writer.end(cause)
        self._begin()

    def _pass(self, n_frames: int) -> None:
        self.clock.now_ns += round(n_frames / self.format.rate_hz * 1e9)


def worker_on(
    state: Path, analyser: ChunkAnalyser, *, backlog_s: float = 1e9, rules: Rules | None = None,
    design: Design | None = None, gate: GateOptions | None = None,
    detections: type[Detections] = Detections, is_wanted: Callable[[], bool] = lambda: False,
) -> Worker:  # fmt: skip
    """A worker as a process would make it."""
    tools = Tools(analyser, Recording(state), rules or Rules(), design, gate)
    store = detections(state / "detections.sqlite", analyser.bundle)
    clock = VirtualClock()
    return Worker(tools, store, backlog_s=backlog_s, clock=clock, is_wanted=is_wanted)


def work_off(worker: Worker) -> None:
    """Until there is nothing more to do."""
    worker.step()
    while not worker.is_idle:
        worker.step()


def rows(state: Path, query: str, *values: Any) -> list[tuple]:
    """From detections.sqlite."""
    with sqlite3.connect(f"file:{state}/detections.sqlite?mode=ro", uri=True) as db:
        return db.execute(query, values).fetchall()


@dataclass(frozen=True)
class Recorded:
    """A gap-free run as the ledger and the files tell it."""

    stream: int
    first_frame: int
    rate_hz: int
    pcm: NDArray[np.int16] | NDArray[np.int32]

    def samples(self, channel: int) -> NDArray[np.float32]:
        """Of one channel, full scale ±1."""
        full = 2.0 ** (8 * self.pcm.itemsize - 1)
        return (self.pcm[:, channel] / full).astype(np.float32)


def recorded(state: Path) -> Iterator[Recorded]:
    """All runs, by another way than the classifier's."""
    with sqlite3.connect(f"file:{state}/capture.sqlite?mode=ro", uri=True) as db:
        found = db.execute(
            "SELECT stream, first_frame, name, rate_hz, n_channels, sample_bytes FROM segment"
            " JOIN stream USING (stream) WHERE n_frames IS NOT NULL ORDER BY 1, 2"
        ).fetchall()
    run: Recorded | None = None
    for stream, first_frame, name, rate_hz, n_channels, sample_bytes in found:
        pcm = np.fromfile(state / "audio" / name, f"<i{sample_bytes}", offset=HEADER_BYTES)
        pcm = pcm.reshape(-1, n_channels)
        if run and run.stream == stream and run.first_frame + len(run.pcm) == first_frame:
            run = replace(run, pcm=np.concatenate([run.pcm, pcm]))
            continue
        if run:
            yield run
        run = Recorded(stream, first_frame, rate_hz, pcm)
    if run:
        yield run


Found = tuple[int, int, str, int, int, float]
"""Stream, channel, label, first frame, frames, logit."""


def detections(state: Path) -> list[Found]:
    """What was kept."""
    return rows(
        state, "SELECT stream, channel, label, first_frame, n_frames, logit FROM detection"
        " ORDER BY 1, 2, 4, 3, 5, 6",
    )  # fmt: skip


def expected(
    state: Path, analyser: ChunkAnalyser, left_out: Set[tuple[int, int, int, int]] = frozenset()
) -> list[Found]:
    """What should have been: every stint of every run by itself, without a pause.

    Parameters
    ----------
    left_out : set of (stream, run_frame, n, channel)
    """
    found: list[Found] = []
    for run in recorded(state):
        for channel in range(run.pcm.shape[1]):
            key = (run.stream, run.first_frame)
            holes = {n for s, f, n, c in left_out if (s, f) == key and c == channel}
            for event in events_of(analyser, run, channel, holes):
                begin, end = (
                    run.first_frame + min(len(run.pcm), ceil(at * run.rate_hz - 1e-6))
                    for at in (event.start_s, event.end_s)
                )
                label = event.label.text
                found.append((run.stream, channel, label, begin, end - begin, event.logit))
    return sorted(found, key=lambda row: (*row[:2], row[3], row[2], *row[4:]))


def events_of(
    analyser: ChunkAnalyser, run: Recorded, channel: int, holes: set[int]
) -> Iterator[Event]:
    """Events of a run whose chunks ``holes`` are left out."""
    samples = run.samples(channel)
    grid, chunk_s = analyser.grid(run.rate_hz), analyser.bundle.encoder.chunk_s
    n_chunks, n_model = grid.n_chunks(len(samples)), grid.n_model_samples(len(samples))
    finder, first = None, 0
    for n in range(n_chunks + 1):
        if n in holes or n == n_chunks:
            if finder is not None:
                left_s = len(samples) / run.rate_hz - first * chunk_s
                yield from finder.finish(min((n - first) * chunk_s, left_s))
            finder = None
            continue
        if finder is None:
            first = n
            finder = EventFinder(analyser.bundle, Run("", channel, run.rate_hz, n * chunk_s))
        begin, end = grid.native_slice(n)
        chunk = grid.chunk(n, samples[begin:end], n_model if end > len(samples) else None)
        if analyser.holds_tokens(chunk):
            yield from finder.push(analyser.summary(chunk), chunk.n_valid)


def left_out(state: Path) -> set[tuple[int, int, int, int]]:
    """Chunks that were not classified: stream, run_frame, n, channel."""
    return set(rows(state, "SELECT stream, run_frame, n, channel FROM chunk WHERE state != 'done'"))


def states(state: Path) -> Counter[str]:
    """Chunks by what became of them."""
    return Counter(dict(rows(state, "SELECT state, count(*) FROM chunk GROUP BY 1")))


def check_account(state: Path) -> None:
    """Chunks tile every run and channel; windows and detections stay within what is done."""
    for run in recorded(state):
        for channel in range(run.pcm.shape[1]):
            where = run.stream, run.first_frame, channel
            chunks = rows(
                state, "SELECT first_frame, n_frames, state, n FROM chunk"
                " WHERE (stream, run_frame, channel) = (?, ?, ?) ORDER BY n", *where,
            )  # fmt: skip
            ends = [run.first_frame, *(begin + n for begin, n, _, _ in chunks)]
            assert [begin for begin, *_ in chunks] == ends[:-1]
            assert ends[-1] == run.first_frame + len(run.pcm)
            assert all(one[2] in ("done", "skipped", "quarantined") for one in chunks)
            done = np.zeros(len(run.pcm), bool)
            for begin, n, chunk_state, _ in chunks:
                done[begin - run.first_frame :][:n] = chunk_state == "done"
            windows = rows(
                state, "SELECT first_frame, n_frames FROM score_cache"
                " WHERE (stream, run_frame, channel) = (?, ?, ?) UNION ALL SELECT span_frame,"
                " span_n_frames FROM detection WHERE (stream, run_frame, channel) = (?, ?, ?)",
                *where, *where,
            )  # fmt: skip
            assert all(done[begin - run.first_frame :][:n].all() for begin, n in windows)
