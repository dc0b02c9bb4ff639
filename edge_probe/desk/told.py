"""What the formats of results ask of whatever was classified: a deployment, or a survey."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from edge_probe.deployment.settings import Settings
from edge_probe.desk.archive import Archive, Deployment, open_archive
from edge_probe.desk.rows import DetectionRow, EffortRow, GapRow, Segment
from edge_probe.desk.survey.plan import is_survey


class Told(Protocol):
    """Rows come in the order of streams and samples, a few in memory at once. To be closed."""

    settings: Settings

    @property
    def folder(self) -> Path:
        """Where the results lie."""

    @property
    def audio(self) -> Path:
        """Where the recordings lie, or lay; names of segments count from there."""

    @property
    def audio_name(self) -> str:
        """What that place is called where results are carried away."""

    def detections(self) -> Iterator[DetectionRow]:
        """Of all bundles, suppressed and private ones included."""

    def segments(self) -> Iterator[Segment]:
        """Those without a file included."""

    def gaps(self) -> Iterator[GapRow]:
        """What is known to be missing."""

    def effort(self) -> Iterator[EffortRow]:
        """What was listened to."""

    def close(self) -> None:
        """Let go of it."""


def open_told(folder: Path) -> Told:
    """A deployment of an archive, or a survey.

    Raises
    ------
    StateError
        It cannot be read, or is not complete.
    """
    if not is_survey(folder):
        return Deployment(folder)
    from edge_probe.desk.survey.reader import Survey  # wants the extra desk, an archive does not

    return Survey(folder)


def open_results(path: Path) -> Archive:
    """As `open_archive`; a survey is an archive of its own.

    Raises
    ------
    StateError
        It is none of these.
    """
    return Archive((path,)) if is_survey(path) else open_archive(path)
