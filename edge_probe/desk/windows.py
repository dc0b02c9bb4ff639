"""Windows that the recorder drew for people to check, and what the classifier thought of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from edge_probe.analysis.stint import BEST
from edge_probe.desk.archive import Deployment
from edge_probe.desk.clip_audio import private_parts
from edge_probe.errors import StateError

_DRAWN = (
    "SELECT boot, stream, first_frame, first_frame + n_frames, rate_hz, kind, probability"
    " FROM sample JOIN stream USING (stream) WHERE kind = ? AND probability > 0 AND n_frames > 0"
    " ORDER BY stream, first_frame"
)
_RUNS = (
    "SELECT bundle, sha256, chunk_s, window_chunks, (SELECT max(run_frame) FROM score_cache AS one"
    " WHERE one.bundle = bundle.bundle AND stream = ?1 AND run_frame <= ?2) FROM bundle"
)
_SCORES = (
    "SELECT channel, first_frame, n_frames, best FROM score_cache WHERE bundle = ? AND stream = ?"
    " AND run_frame = ? AND first_n BETWEEN ? AND ? AND first_frame < ?"
    " AND first_frame + n_frames > ? ORDER BY channel, first_n"
)
_OF_DETECTION = (
    "SELECT bundle, stream, run_frame, channel, window_frame, chunk_s, window_chunks"
    " FROM detection JOIN bundle USING (bundle) WHERE detection = ?"
)
_WINDOW = (
    "SELECT n_frames FROM score_cache WHERE bundle = ? AND stream = ? AND run_frame = ?"
    " AND first_n BETWEEN ? AND ? AND channel = ? AND first_frame = ?"
)
_LABELS = "SELECT class_index, label FROM label WHERE bundle = ?"


class DrawnWindow(NamedTuple):
    """A row of ``sample``."""

    boot: int
    stream: int
    start_sample: int
    end_sample: int
    rate_hz: int
    kind: str
    """``random`` or ``stratified``."""
    probability: float
    """With which it was drawn."""


class Opinion(NamedTuple):
    """What one bundle thought of one channel of a stretch of audio that it classified wholly."""

    bundle_sha256: str
    channel: int
    logits: dict[str, float]
    """By label, the highest of the windows that touch it, as far as they were stored."""


def drawn_windows(deployment: Deployment, kind: str) -> Iterator[DrawnWindow]:
    """Windows of the sample of that kind, in the order of time.

    Raises
    ------
    StateError
        The ledger cannot be read.
    """
    rows = deployment.rows(deployment.capture_db, "sample", _DRAWN, kind)
    yield from map(DrawnWindow._make, rows)


def why_unheard(deployment: Deployment, window: DrawnWindow) -> str | None:
    """Why nobody can listen to a window, as it ends a sentence; None: somebody can."""
    stream, begin, end = window.stream, window.start_sample, window.end_sample
    there = [one for one in deployment.segments_of(stream, begin, end) if one.path is not None]
    n_there = sum(min(end, one.end_sample) - max(begin, one.start_sample) for one in there)
    if n_there < end - begin:
        return "lie in audio that is not there"
    if any(private_parts(deployment, stream, window.rate_hz, begin, end)):
        return "lie near something private"
    return None


def opinions(deployment: Deployment, window: DrawnWindow) -> Iterator[Opinion]:
    """What each bundle thought of each channel; none of what was not classified from end to end.

    Raises
    ------
    StateError
        The detections cannot be read.
    """

    def heard(query: str, *values: object) -> Iterator[Any]:
        return deployment.rows(deployment.detections_db, "score_cache", query, *values)

    begin, end = window.start_sample, window.end_sample
    for bundle, sha256, chunk_s, window_chunks, run_frame in heard(_RUNS, window.stream, begin):
        if run_frame is None:
            continue
        chunk = chunk_s * window.rate_hz
        first_n = int((begin - run_frame) / chunk) - window_chunks - 1
        last_n = int((end - run_frame) / chunk) + 1
        reached: dict[int, int] = {}
        logits: dict[int, dict[int, float]] = {}
        for channel, first, n_frames, best in heard(
            _SCORES, bundle, window.stream, run_frame, first_n, last_n, end, begin
        ):
            if first <= reached.get(channel, begin):
                reached[channel] = max(first + n_frames, reached.get(channel, begin))
            highest = logits.setdefault(channel, {})
            for index, logit in _best(deployment, best):
                highest[index] = max(logit, highest.get(index, logit))
        labels = dict(heard(_LABELS, bundle))
        for channel, highest in logits.items():
            if unknown := highest.keys() - labels.keys():
                raise _damaged(
                    deployment, f"class {min(unknown)} of bundle {sha256[:12]} has no label"
                )
            if reached.get(channel, begin) >= end:
                named = {labels[index]: logit for index, logit in highest.items()}
                yield Opinion(sha256, channel, named)


def _best(deployment: Deployment, data: bytes) -> list[tuple[int, float]]:
    """Class and logit of each entry of `best`."""
    if len(data) % BEST.itemsize:
        raise _damaged(deployment, f"an entry of score_cache has {len(data)} bytes")
    found: list[tuple[int, float]] = np.frombuffer(data, BEST).tolist()
    return found


def _damaged(deployment: Deployment, what: str) -> StateError:
    return StateError(
        f"{deployment.folder}: {what}",
        hint="detections.sqlite is damaged: bring the card again with edge-probe collect",
    )


def best_window(deployment: Deployment, detection: int, rate_hz: int) -> tuple[int, int]:
    """Samples [begin, end) of the window in which a detection has its logit.

    Parameters
    ----------
    deployment : Deployment
    detection : int
        Number of its row.
    rate_hz : int
        Of its stream.

    Raises
    ------
    StateError
        There is no such detection, or they cannot be read.
    """

    def heard(table: str, query: str, *values: object) -> Iterator[Any]:
        return deployment.rows(deployment.detections_db, table, query, *values)

    found = next(heard("detection", _OF_DETECTION, detection), None)
    if found is None:
        raise StateError(
            f"{deployment.folder}: detection {detection} is gone",
            hint="somebody writes there: wait, or work with a snapshot",
        )
    bundle, stream, run_frame, channel, begin, chunk_s, window_chunks = found
    about = round((begin - run_frame) / (chunk_s * rate_hz))
    for (n_frames,) in heard(
        "score_cache", _WINDOW, bundle, stream, run_frame, about - 1, about + 1, channel, begin
    ):
        return begin, begin + n_frames  # shorter at the end of a run
    return begin, begin + round(chunk_s * window_chunks * rate_hz)
