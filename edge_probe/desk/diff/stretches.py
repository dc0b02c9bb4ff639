"""What is compared: gap-free stretches of audio, of files or of an archive, read block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.archive import Archive, Deployment, Segment, open_archive
from edge_probe.desk.clip_audio import private_parts
from edge_probe.errors import AudioError, EdgeProbeError
from edge_probe.source import choose_channel
from edge_probe.source.files import AudioFile

Samples = NDArray[np.float32]
Heard = tuple[Segment, Path]
"""A segment and its file."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is to be listened to; a bare file has no deployment, boot and stream."""

    deployment_id: str | None
    boot: int | None
    stream: int | None
    channel: int
    start_sample: int
    """Of the stream, or of the file."""
    end_sample: int
    rate_hz: int
    start_utc: datetime | None
    file: str
    """Path, or in an archive the name of the segment in which it begins."""
    start_s: float
    """In that file."""
    end_s: float
    """Counted from the beginning of that file; it may lie in the next one."""


class Stretch(Protocol):
    """A gap-free stretch of one channel."""

    name: str
    channel: int
    rate_hz: int

    def __iter__(self) -> Iterator[Samples]:
        """Blocks, (n,) float32; AudioError where the audio is damaged."""
        ...

    def place(self, begin: int, end: int) -> Place:
        """Of samples [begin, end) counted from the first of the stretch."""
        ...


class Source(Protocol):
    """Something with audio in it."""

    seconds: float
    """Of it, as far as headers tell."""

    def stretches(self) -> Iterator[Stretch]:
        """In their order; each is read, or given up, before the next one is asked for."""
        ...


def open_source(paths: Sequence[Path], channel: int | None) -> Source:
    """Audio files, or one archive.

    Raises
    ------
    EdgeProbeError
        Something is not there, or is neither audio nor an archive; nothing was decoded yet.
    """
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise EdgeProbeError(
            f"{folders[0]}: expected audio files, or one archive alone, found a folder among"
            f" {len(paths)} arguments",
            hint="give the files of a folder as FOLDER/*.wav",
        )
    if folders:
        return Recordings(open_archive(folders[0]), channel)
    return Files(paths, channel)


class Files:
    """Audio files, each a stretch.

    Parameters
    ----------
    paths : sequence of Path
    channel : int, optional
        Needed where a file has several.

    Raises
    ------
    AudioError
        One of them cannot be read.
    """

    def __init__(self, paths: Sequence[Path], channel: int | None) -> None:
        self._paths, self._channel = paths, channel
        self.seconds = 0.0
        for path in paths:
            with AudioFile(path, channel) as audio:
                self.seconds += audio.n_samples / audio.sample_rate_hz

    def stretches(self) -> Iterator["FileStretch"]:
        """One a file."""
        for path in self._paths:
            with AudioFile(path, self._channel) as audio:
                yield FileStretch(audio)


class FileStretch:
    """An open file."""

    def __init__(self, audio: AudioFile) -> None:
        self._audio = audio
        self.name, self.channel, self.rate_hz = audio.name, audio.channel, audio.sample_rate_hz

    def __iter__(self) -> Iterator[Samples]:
        return iter(self._audio)

    def place(self, begin: int, end: int) -> Place:
        """See `Stretch`."""
        return Place(
            None, None, None, self.channel, begin, end, self.rate_hz, None, self.name,
            begin / self.rate_hz, end / self.rate_hz,
        )  # fmt: skip


class Recordings:
    """Audio of an archive: segments that follow each other without a gap are a stretch.

    Parameters
    ----------
    archive : Archive
    channel : int, optional
        Needed where a stream has several.

    Raises
    ------
    EdgeProbeError
        The archive cannot be read, or has no audio.
    """

    def __init__(self, archive: Archive, channel: int | None) -> None:
        self._archive, self._channel = archive, channel
        self.seconds = sum(one.duration_s for one in archive.segments() if one.path)
        if not self.seconds:
            raise AudioError(
                "expected an archive with audio, found none in it",
                hint="it was deleted, or not collected: edge-probe collect STATE -o ARCHIVE",
            )

    def stretches(self) -> Iterator["SegmentStretch"]:
        """See `Source`. What is private is silence, as in clips."""
        for deployment in self._archive.deployments():
            for run in _runs(deployment.segments()):
                left: Sequence[Heard] = run
                while left:
                    stretch = SegmentStretch(deployment, left, self._channel)
                    yield stretch
                    left = stretch.unread


class SegmentStretch:
    """Segments of a stream.

    Parameters
    ----------
    deployment : Deployment
        Open.
    segments : sequence of (Segment, Path)
        They touch.
    channel : int, optional

    Raises
    ------
    AudioError
        There are several channels and none was chosen, or there is no such channel.
    """

    def __init__(
        self, deployment: Deployment, segments: Sequence[Heard], channel: int | None
    ) -> None:
        self._first, path = segments[0]
        self._deployment = deployment
        self.name = str(path)
        self.channel = choose_channel(self._first.channels, channel, self.name)
        self.rate_hz = self._first.rate_hz
        self.unread: Sequence[Heard] = segments
        """Those that were not begun yet."""

    def __iter__(self) -> Iterator[Samples]:
        while self.unread:
            (segment, path), self.unread = self.unread[0], self.unread[1:]
            at, end = segment.start_sample, segment.end_sample
            silent = list(private_parts(self._deployment, segment.stream, self.rate_hz, at, end))
            with AudioFile(path, self.channel) as audio:
                _check(audio, segment)
                for block in audio:
                    for first, last in silent:
                        block[max(0, first - at) : max(0, last - at)] = 0
                    at += len(block)
                    yield block

    def place(self, begin: int, end: int) -> Place:
        """See `Stretch`."""
        first, last = self._first.start_sample + begin, self._first.start_sample + end
        stream, rate = self._first.stream, self.rate_hz
        segment = self._deployment.segments_of(stream, first, first + 1)[0]
        return Place(
            self._deployment.id, segment.boot, stream, self.channel, first, last, rate,
            self._deployment.at(stream, first), segment.path.name if segment.path else segment.name,
            (first - segment.start_sample) / rate, (last - segment.start_sample) / rate,
        )  # fmt: skip


def _check(audio: AudioFile, segment: Segment) -> None:
    found = audio.sample_rate_hz, audio.n_samples
    if found != (segment.rate_hz, segment.n_samples):
        raise AudioError(
            f"{audio.name}: expected {segment.n_samples} samples at {segment.rate_hz} Hz by the"
            f" ledger, found {found[1]} at {found[0]} Hz",
            hint="collect the card again, if it has more of the file",
        )


def _runs(segments: Iterator[Segment]) -> Iterator[list[Heard]]:
    """Those that touch, with their files."""
    run: list[Heard] = []
    for segment in segments:
        if run and not _follows(run[-1][0], segment):
            yield run
            run = []
        if segment.path is not None:
            run.append((segment, segment.path))
    if run:
        yield run


def _follows(before: Segment, after: Segment) -> bool:
    touches = after.stream == before.stream and after.start_sample == before.end_sample
    return touches and after.path is not None
