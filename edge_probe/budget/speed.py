"""Time for a chunk, from native samples to prototype maxima."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.encoder import Encoder

N_ROUNDS = 21
MAX_S = 30.0
"""After which no new round begins; three are made whatever they take."""

_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds for a chunk."""

    one_core_s: float
    """Median of CPU time: what other programs do at the same time hardly matters."""
    p95_s: float
    """95th percentile by the clock on the wall: what a busy machine takes."""
    all_cores_s: float
    """Median by the clock; the encoder on all cores, the rest on one."""
    n_rounds: int


def speed_of(bundle: Bundle, rate_hz: int) -> Speed:
    """Time the road of the recorder on noise.

    Parameters
    ----------
    bundle : Bundle
    rate_hz : int
        Native sample rate.
    """
    analyser = ChunkAnalyser(bundle)
    grid = analyser.grid(rate_hz)
    begin, end = grid.native_slice(1)
    noise = np.random.default_rng(0).normal(0, 0.1, end - begin).astype(np.float32)
    chunk = grid.chunk(1, noise, None)

    def whole() -> None:
        analyser.summary(grid.chunk(1, noise, None))

    cpu, wall = _rounds(whole)
    encoder_s = float(np.median(_rounds(lambda: analyser.encoder.tokens(chunk.samples))[1]))
    wide = Encoder(bundle.graph_path, bundle.encoder, n_threads=os.cpu_count() or 1)
    wide_s = float(np.median(_rounds(lambda: wide.tokens(chunk.samples))[1]))
    rest_s = max(0.0, float(np.median(wall)) - encoder_s)
    return Speed(float(np.median(cpu)), float(np.percentile(wall, 95)), wide_s + rest_s, len(cpu))


def _rounds(work: Callable[[], object]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CPU and wall seconds of each round, after one that does not count."""
    work()
    times: list[tuple[float, float]] = []
    stop = time.monotonic() + MAX_S
    while len(times) < _LEAST_ROUNDS or (len(times) < N_ROUNDS and time.monotonic() < stop):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = np.array(times).T
    return cpu_s, wall_s
