"""A process that hears chunks: it is checked against the definitions, or tells what they cost.

``python chunk_process.py REQUEST`` with ``bundle``, ``audio``, ``n_chunks`` and ``check``.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import open_bundle
from edge_probe.chunk import ChunkGrid
from edge_probe.classify import ChunkAnalyser
from edge_probe.head import MeanLinearHead, reference
from edge_probe.head.protobin import ProtobinHead
from edge_probe.measure import peak_rss_mib
from edge_probe.source.files import AudioFile

FLOAT_TOLERANCE = 1e-6
"""Of scores of float tokens; everything else is equal to the bit."""

WARM_UP = 3

Native = tuple[int, NDArray[np.float32]]
"""Number of a chunk, and the native samples that it is made from."""


def slices(audio: AudioFile, grid: ChunkGrid, n_chunks: int) -> Iterator[Native]:
    """Whole chunks of a file, from its begin again where it ends."""
    n_there = max(1, grid.n_chunks(audio.n_samples) - 2)
    for number in range(n_chunks):
        begin, end = grid.native_slice(number % n_there)
        yield number % n_there, audio.read(begin, min(end, audio.n_samples))


def error_of(analyser: ChunkAnalyser, tokens: NDArray[np.float32]) -> float:
    """How far the head is from its definition on the tokens of a chunk."""
    head, valid = analyser.bundle.head, np.ones(len(tokens), bool)
    summary = head.summarise(tokens, valid)
    if isinstance(head, MeanLinearHead):
        expected = head.linear.weights.astype(np.float64) @ tokens.mean(axis=0, dtype=np.float64)
        found = head.logits(head.merge([summary])) - head.linear.bias  # type: ignore[list-item]
        return float(np.abs(found - expected).max() / np.abs(expected).max())
    assert isinstance(head, ProtobinHead)
    scores, _ = reference.max_scores(head.digits(tokens, valid), head.prototypes)
    return float(np.abs(scores - summary.scores).max())  # type: ignore[union-attr]


def check(analyser: ChunkAnalyser, audio: AudioFile, n_chunks: int) -> dict[str, object]:
    """The largest error over some chunks of audio."""
    grid = analyser.grid(audio.sample_rate_hz)
    worst = max(
        error_of(analyser, analyser.encoder.tokens(grid.chunk(index, native, None).samples))
        for index, native in slices(audio, grid, n_chunks)
    )
    exact = isinstance(analyser.bundle.head, ProtobinHead) and analyser.bundle.head.bits != "float"
    return {"max_error": worst, "right": worst <= (0 if exact else FLOAT_TOLERANCE)}


def measure(analyser: ChunkAnalyser, audio: AudioFile, n_chunks: int) -> dict[str, object]:
    """CPU seconds of each chunk, from native samples to logits; the peak of this process."""
    bundle, times = analyser.bundle, []
    head, grid = bundle.head, analyser.grid(audio.sample_rate_hz)
    for index, native in slices(audio, grid, WARM_UP + n_chunks):
        begin = process_time()
        summary = analyser.summary(grid.chunk(index, native, None))
        head.logits(head.merge([summary]))  # type: ignore[arg-type,list-item]
        times.append(process_time() - begin)
    return {"cpu_s": times[WARM_UP:], "peak_rss_mib": peak_rss_mib()}


def main() -> None:
    """Do what is asked, and print it."""
    request = json.loads(sys.argv[1])
    analyser = ChunkAnalyser(open_bundle(Path(request["bundle"])))
    with AudioFile(Path(request["audio"])) as audio:
        job = check if request["check"] else measure
        print(json.dumps(job(analyser, audio, request["n_chunks"])))


if __name__ == "__main__":
    main()
