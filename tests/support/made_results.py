"""Results of a classifier that there never was."""

from collections.abc import Sequence
from dataclasses import replace

from edge_probe.analysis.rows import (
    DetectionRow,
    Key,
    Piece,
    Result,
    ScoresRow,
    Stint,
    Try,
    WindowRow,
)
from edge_probe.detect import Box, OpenDetection

ROW = DetectionRow(
    "background", 7, 9, None, 250.0, 0.1 + 0.2, True, 1.5, 0.5, 0, 0, 48, False, False
)  # fmt: skip
OPEN = {
    3: OpenDetection(1, 2, 1),
    5: OpenDetection(0, 4, 0, 2, 0.1 + 0.2, Box(1 / 3, 0.5, None, 7.0)),
}
CHUNK_FRAMES = 16


def piece(n: int) -> Piece:
    """A chunk of one run."""
    return Piece(Key(1, 0, n, 0), CHUNK_FRAMES * n, CHUNK_FRAMES)


def result(n: int, stint: Stint | None = None) -> Result:
    """A chunk that ended a window and a detection."""
    window = WindowRow(n, CHUNK_FRAMES * n, 48, 0.5, bytes(64))
    return Result(piece(n), "done", None, (ROW,), (window,), stint)


def batch(first_n: int, n_chunks: int, n_scores: int = 0) -> tuple[Sequence[Result], Sequence[Try]]:
    """What a worker commits at once: a detection in every fourth chunk, the tries of the next.

    With ``n_scores``, scores of that many prototypes are kept of every chunk.
    """
    results = [
        replace(
            result(n, Stint(0, n + 1, OPEN)),
            detections=(ROW,) * (n % 4 == 0),
            scores=(ScoresRow(n, 32_767, bytes(2 * n_scores), None),) * bool(n_scores),
        )
        for n in range(first_n, first_n + n_chunks)
    ]
    end = first_n + n_chunks
    return results, [Try(piece(n), 1) for n in range(end, end + n_chunks)]
