"""Raven selection tables, each with the list of files that it is about.

Source of the format: the Raven Pro 1.6 User's Manual, chapters "Selection Tables" and "Large
Datasets": files opened by a list are one sound, in which ``Begin Time (s)`` counts from the start
of the first file and ``File Offset (s)`` from the start of the row's own. Files of one sound must
have one rate and one count of channels, so there is a table for each such kind.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edge_probe.desk.results.selection import NO_AUDIO, Selection, placed, seconds
from edge_probe.desk.rows import DetectionRow, Segment
from edge_probe.desk.told import Told
from edge_probe.errors import AudioError, EdgeProbeError
from edge_probe.source.files import AudioFile

COLUMNS = (
    "Selection", "Begin Time (s)", "End Time (s)", "Common Name", "Scientific Name", "Species Code",
    "Confidence", "View", "Channel", "File Offset (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Begin Path",
)  # fmt: skip

_DECIMALS = 6


def write(selection: Selection, folder: Path) -> None:
    """``DEPLOYMENT_RATEhz_CHANNELSch.selections.txt`` and ``.list.txt``, for every kind of file.

    The list names every file that is there, in the order of time, those without detections
    included: open it in Raven, then the table. A detection is left out if its file is not there.
    """
    for deployment in selection.deployments():
        files = _files(deployment)
        kinds = sorted({file.kind for file in files.values()})
        lines: dict[_Kind, int] = dict.fromkeys(kinds, 0)
        tables = {}
        try:
            for kind in kinds:
                name = f"{deployment.folder.name}_{kind.rate_hz}hz_{kind.channels}ch"
                own = [file for file in files.values() if file.kind == kind]
                _write_list(folder / f"{name}.list.txt", own)
                table = (folder / f"{name}.selections.txt").open("x", encoding="utf-8", newline="")
                tables[kind] = table
                table.write("\t".join(COLUMNS) + "\n")
            for row, segment in placed(selection, selection.one_bundle(deployment)):
                file = files.get((segment.stream, segment.start_sample))
                if file is None or row.start_sample >= file.end_sample:
                    selection.leave_out(NO_AUDIO)
                    continue
                lines[file.kind] += 1
                cells = _cells(lines[file.kind], row, file)
                tables[file.kind].write("\t".join(cells) + "\n")
        finally:
            for table in tables.values():
                table.close()


class _Kind(NamedTuple):
    rate_hz: int
    channels: int


class _File(NamedTuple):
    """A file of a list."""

    path: Path
    kind: _Kind
    stream: int
    start_sample: int
    end_sample: int
    """Of what the file holds: a damaged one may hold less than was recorded."""
    before: int
    """Samples in the files of the list before it."""
    reach: int
    """Up to where the sound of the list goes on without a break, as a sample of the stream."""


def _files(deployment: Told) -> Mapping[tuple[int, int], _File]:
    """Those that are there, by stream and first sample, in the order of time."""
    before: dict[_Kind, int] = {}
    files = []
    for segment in deployment.segments():
        n_samples = _n_samples(segment)
        if segment.path is None or n_samples == 0:
            continue
        kind = _Kind(segment.rate_hz, segment.channels)
        end = segment.start_sample + n_samples
        files.append(_File(
            segment.path.absolute(), kind, segment.stream, segment.start_sample, end,
            before.get(kind, 0), end,
        ))  # fmt: skip
        before[kind] = before.get(kind, 0) + n_samples
    return {(file.stream, file.start_sample): file for file in _joined(files)}


def _joined(files: Sequence[_File]) -> Iterator[_File]:
    """With `reach`: over the next file where that one continues this one."""
    for file, following in pairwise(files):
        goes_on = (following.stream, following.start_sample) == (file.stream, file.end_sample)
        yield file._replace(reach=following.end_sample) if goes_on else file
    yield from files[-1:]


def _n_samples(segment: Segment) -> int:
    """Samples that a program will find in the file; 0: none can be read."""
    if segment.path is None:
        return 0
    try:
        with AudioFile(segment.path, channel=0) as audio:
            return min(audio.n_samples, segment.n_samples)
    except AudioError:  # not to be listed; `collect` told of it
        return 0


def _write_list(path: Path, files: Sequence[_File]) -> None:
    for file in files:
        if not str(file.path).isprintable():  # a table of tabs and lines cannot hold it
            raise EdgeProbeError(
                f"{file.path!s}: a path with tabs or line ends cannot stand in a Raven table",
                hint="rename the folder",
            )
    path.write_text("".join(f"{file.path}\n" for file in files), encoding="utf-8", newline="")


def _cells(number: int, row: DetectionRow, file: _File) -> list[str]:
    rate = row.rate_hz
    offset = row.start_sample - file.start_sample
    end = min(row.end_sample, file.reach) - file.start_sample
    low = 0.0 if row.low_hz is None else row.low_hz
    high = rate / 2 if row.high_hz is None else row.high_hz
    return [
        str(number), seconds(file.before + offset, rate, _DECIMALS),
        seconds(file.before + end, rate, _DECIMALS), row.common_name, row.scientific_name, "",
        f"{row.score:.4f}", "Spectrogram 1", str(row.channel + 1),
        seconds(offset, rate, _DECIMALS), f"{low:.3f}", f"{high:.3f}", str(file.path),
    ]  # fmt: skip
