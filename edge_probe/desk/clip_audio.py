"""The audio of a detection or a window with a little around it, and what of that is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.archive import Deployment
from edge_probe.desk.rows import Segment
from edge_probe.errors import AudioError
from edge_probe.source.files import AudioFile

PRIVATE = "private"

_SILENCED_S = 5.0
"""Around what the classifier calls private, as the recorder does by default: speech begins before
and ends after what is heard of it."""

_MOST_BYTES = 3


class Stretch(Protocol):
    """Samples of one channel of a stream: those of a detection's box, or of a window."""

    @property
    def stream(self) -> int: ...  # noqa: D102
    @property
    def channel(self) -> int: ...  # noqa: D102
    @property
    def start_sample(self) -> int: ...  # noqa: D102
    @property
    def end_sample(self) -> int: ...  # noqa: D102
    @property
    def rate_hz(self) -> int: ...  # noqa: D102


class Missing(NamedTuple):
    """Of the audio that was wanted."""

    start_s: float
    """From the first sample of the clip; negative: before it."""
    duration_s: float
    cause: str
    """That of the gap; ``deleted``, ``edge`` (nothing was recorded), or ``private`` (zeros)."""

    def __str__(self) -> str:
        return f"{self.start_s:.3f} {self.duration_s:.3f} {self.cause}"


@dataclass(frozen=True, slots=True)
class ClipAudio:
    """One channel, without a gap."""

    samples: NDArray[np.float32]
    """(n,), as recorded, zeros where something is private."""
    rate_hz: int
    sample_bytes: int
    """2 or 3: what holds the samples exactly, up to the 24 bits that float32 has."""
    start_sample: int
    """Of the stream."""
    files: tuple[str, ...]
    missing: tuple[Missing, ...]

    @property
    def duration_s(self) -> float:
        """By the nominal rate."""
        return len(self.samples) / self.rate_hz

    def pcm(self) -> bytes:
        """Little-endian samples, exact: float32 holds 24 bits."""
        full_scale = 2 ** (8 * self.sample_bytes - 1)
        scaled = np.rint(self.samples.astype(np.float64) * full_scale)
        values = np.clip(scaled, -full_scale, full_scale - 1).astype("<i4")
        low_bytes = values.view(np.uint8).reshape(-1, 4)[:, : self.sample_bytes]
        return bytes(np.ascontiguousarray(low_bytes))


def cut(deployment: Deployment, row: Stretch, before_s: float, after_s: float) -> ClipAudio:
    """Cut audio out of its segments, and never over a gap.

    Parameters
    ----------
    deployment : Deployment
        The one it is of.
    row : Stretch
        Begins in a segment whose file is there.
    before_s, after_s : float
        Wanted before and after it.

    Raises
    ------
    AudioError
        A file is damaged.
    """
    rate = row.rate_hz
    begin = max(0, row.start_sample - round(before_s * rate))
    end = row.end_sample + round(after_s * rate)
    segments = _around(deployment.segments_of(row.stream, begin, end), row)
    first, last = max(begin, segments[0].start_sample), min(end, segments[-1].end_sample)
    parts, sizes = zip(*(_read(one, row.channel, first, last) for one in segments), strict=True)
    samples = np.concatenate(parts)
    missing = [
        Missing((at - first) / rate, n / rate, _cause(deployment, row.stream, at, n))
        for at, n in ((begin, first - begin), (last, end - last))
        if n > 0
    ]
    for private_begin, private_end in private_parts(deployment, row.stream, rate, first, last):
        samples[private_begin - first : private_end - first] = 0
        at, n = private_begin - first, private_end - private_begin
        missing.append(Missing(at / rate, n / rate, PRIVATE))
    names = tuple(one.path.name for one in segments if one.path)
    return ClipAudio(samples, rate, max(sizes), first, names, tuple(sorted(missing)))


def _around(segments: Sequence[Segment], row: Stretch) -> Sequence[Segment]:
    """Those that follow each other without a gap around the one in which it begins."""
    at = next(n for n, one in enumerate(segments) if one.end_sample > row.start_sample)
    return [*reversed(list(_chain(segments[at::-1]))), *list(_chain(segments[at:]))[1:]]


def _chain(segments: Sequence[Segment]) -> Iterator[Segment]:
    """From the first one on, as far as they touch and have a file."""

    def follows(pair: tuple[Segment, Segment]) -> bool:
        a, b = sorted(pair, key=lambda one: one.start_sample)
        return a.end_sample == b.start_sample and b.path is not None and a.path is not None

    yield segments[0]
    for _, following in takewhile(follows, pairwise(segments)):
        yield following


def _read(segment: Segment, channel: int, begin: int, end: int) -> tuple[NDArray[np.float32], int]:
    if segment.path is None:
        raise AudioError(f"{segment.name}: is not there", hint="it was deleted, or not collected")
    with AudioFile(segment.path, channel) as audio:
        first = max(begin, segment.start_sample) - segment.start_sample
        last = min(end, segment.end_sample) - segment.start_sample
        return audio.read(first, last), min(audio.sample_bytes or _MOST_BYTES, _MOST_BYTES)


def _cause(deployment: Deployment, stream: int, begin: int, n_samples: int) -> str:
    """Why samples [begin, begin + n_samples) are not in a file: what most of them say."""
    end = begin + n_samples
    longest, cause = 0, "edge"
    for gap in deployment.gaps_of(stream, begin, end):
        gap_end = end if gap.n_samples is None else gap.start_sample + gap.n_samples
        common = min(end, gap_end) - max(begin, gap.start_sample)
        if common > longest:
            longest, cause = common, gap.cause
    for segment in deployment.segments_of(stream, begin, end):
        common = min(end, segment.end_sample) - max(begin, segment.start_sample)
        if segment.path is None and common > longest:
            longest, cause = common, "deleted"
    return cause


def private_parts(
    deployment: Deployment, stream: int, rate_hz: int, begin: int, end: int
) -> Iterator[tuple[int, int]]:
    """Parts of [begin, end) near something private: the recorder may not have come to it yet."""
    margin = round(_SILENCED_S * rate_hz)
    for first, last in deployment.private_spans(stream, begin - margin, end + margin):
        yield max(begin, first - margin), min(end, last + margin)
