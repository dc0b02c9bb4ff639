"""The work itself: a batch of files in, what was heard in them out, on any machine.

A pure function of the files, the bundle and the options: which process does it, when, and how
often does not matter.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from edge_probe import __version__
from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser, Event, Run, classify_blocks
from edge_probe.desk.names import UnknownOffsetError, told_start
from edge_probe.desk.survey.listing import Batch, Entry
from edge_probe.encoder import Profile
from edge_probe.errors import AudioError, BundleError, EdgeProbeError, StateError
from edge_probe.source.files import AudioFile

DEADLY = "the processes that had it open died, one after the other"
"""Why a file is left out at last."""

Told = Callable[[int, float | None], object]
"""Is told the place of a file in its batch: with None when it is begun, then with its seconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a process must know before its first batch."""

    folder: str
    """Of the recordings, by its absolute path."""
    bundle: str
    """Its folder, by its absolute path."""
    bundle_sha256: str
    """Of its manifest."""
    profile: Profile
    channel: int | None
    utc_offset: timedelta | None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class FileRow:
    """What became of a file; None where it could not be opened."""

    number: int
    """In the list."""
    path: str
    """From the folder on."""
    n_bytes: int
    channel: int | None
    channels: int | None
    """How many it has."""
    rate_hz: int | None
    n_samples: int | None
    """As its header tells."""
    start_utc: datetime | None
    """None, too, where nothing tells it."""
    clock_trust: str
    classified_s: float
    problem: str | None
    """Why not all of it was classified, or what else is wrong with it."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """A file and what was heard in it."""

    file: FileRow
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Files in the order of the list."""

    number: int
    files: tuple[FileResult, ...]


def analyse_batch(
    work: Work,
    batch: Batch,
    left_out: Collection[int] = (),
    tell: Told = lambda _place, _seconds: None,
) -> BatchResult:
    """Classify the files of a batch.

    Parameters
    ----------
    work : Work
    batch : Batch
    left_out : collection of int
        Places in the batch of files that are `DEADLY`.
    tell : callable, optional

    Raises
    ------
    BundleError
        The bundle is another one here, or cannot be loaded.
    EncoderError
        Its graph cannot be loaded.
    EdgeProbeError
        This is not the version of edge-probe that the work is for.
    StateError
        The folder itself is not there.
    """
    if work.version != __version__:
        raise EdgeProbeError(
            f"expected edge-probe {work.version} on every machine, found {__version__}",
            hint="install one version everywhere",
        )
    analyser = _analyser(work.bundle, work.bundle_sha256, work.profile)
    found = []
    for place, entry in enumerate(batch.entries):
        tell(place, None)
        deadly = place in left_out
        result = unheard(entry, DEADLY) if deadly else _analyse_file(analyser, work, entry)
        tell(place, result.file.classified_s)
        found.append(result)
    return BatchResult(batch.number, tuple(found))


@lru_cache(maxsize=1)
def _analyser(bundle: str, sha256: str, profile: Profile) -> ChunkAnalyser:
    """One a process, for all of its batches."""
    opened = open_bundle(bundle)
    if opened.sha256 != sha256:
        raise BundleError(
            f"{bundle}: expected the bundle {sha256[:8]}, found {opened.sha256[:8]} ({opened.id})",
            hint="every machine must find the same bundle by this path",
        )
    return ChunkAnalyser(opened, profile)


def unheard(entry: Entry, problem: str | None) -> FileResult:
    """A file of which nothing could be classified."""
    name = _printable(entry.path)
    row = FileRow(
        entry.number, name, entry.n_bytes, None, None, None, None, None, "unset", 0.0, problem
    )
    return FileResult(row, ())


def _analyse_file(analyser: ChunkAnalyser, work: Work, entry: Entry) -> FileResult:
    path, row = Path(work.folder, entry.path), unheard(entry, None).file
    events: list[Event] = []
    problem: Exception | None = None
    try:
        _check(path, entry)
        start, problem = _start(path, work.utc_offset)
        row = replace(row, start_utc=start, clock_trust="rtc" if start else "unset")
        with AudioFile(path, work.channel) as audio:
            row = replace(
                row, channel=audio.channel, channels=audio.n_channels, rate_hz=audio.sample_rate_hz,
                n_samples=audio.n_samples,
            )  # fmt: skip
            run = Run(entry.path, audio.channel, audio.sample_rate_hz, 0.0, start, row.clock_trust)
            outcome = classify_blocks(audio, run, analyser, events.append)
        row = replace(row, classified_s=outcome.classified_s)
        problem = outcome.problem or problem
    except (AudioError, OSError) as error:
        problem = error
    if problem is not None:
        if _is_gone(work.folder):
            raise StateError(
                f"{work.folder}: is not there any more",
                hint="bring the disk or network folder back; the same command goes on",
            ) from problem
        row = replace(row, problem=_words(problem, path, entry.path))
    return FileResult(row, tuple(events))


def _is_gone(folder: str) -> bool:
    """Whether there is no folder of recordings any more, or only the point where it was mounted."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True


def _words(problem: Exception, path: Path, name: str) -> str:
    """What an error says, the same wherever the folder lies."""
    if isinstance(problem, OSError):
        return problem.strerror or str(problem)
    text = str(problem).replace(str(path), name)
    return _printable(text.removeprefix(f"{name}: "))


def _check(path: Path, entry: Entry) -> None:
    """Refuse what is not the file of the list.

    Raises
    ------
    AudioError
    OSError
        There is no such file.
    """
    if _printable(entry.path) != entry.path:
        raise AudioError("its name is not UTF-8", hint="rename it")
    if path.is_dir():
        raise AudioError("a folder that cannot be read")
    n_bytes = path.stat().st_size
    if path.is_file() and n_bytes != entry.n_bytes:
        raise AudioError(f"had {entry.n_bytes} bytes when it was listed, and has {n_bytes}")


def _start(
    path: Path, utc_offset: timedelta | None
) -> tuple[datetime | None, EdgeProbeError | None]:
    """When it began, as far as it tells; metadata that cannot be read are told, and that is all."""
    try:
        return told_start(path, utc_offset), None
    except (AudioError, UnknownOffsetError):
        raise
    except EdgeProbeError as error:
        return None, error


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
