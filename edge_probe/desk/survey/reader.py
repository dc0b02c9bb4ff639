"""A survey as the formats of results see it: what a deployment is to them, without a recorder.

Each file is a stream of one segment, by its number in the list.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Self

from edge_probe.deployment.settings import Settings, read_settings
from edge_probe.desk.rows import DetectionRow, EffortRow, GapRow, Segment
from edge_probe.desk.survey.parts import DETECTIONS, FILES, Parts, Row
from edge_probe.desk.survey.plan import Plan
from edge_probe.errors import StateError

DEPLOYMENT_FILE = "deployment.toml"
"""May be put beside the results by hand."""

_FRACTION = 1e-6
"""Of a sample: more than seconds lose to rounding, less than matters."""

_HOUR = timedelta(hours=1)


class Survey:
    """The results in a folder. To be closed.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    StateError
        They are those of a shard, or not complete.
    DeploymentError
        The deployment file is not valid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = Plan.read(folder)
        self._parts = Parts(folder)
        if self.plan.n_shards > 1:
            raise StateError(
                f"{folder}: is shard {self.plan.shard} of {self.plan.n_shards}",
                hint="join them: edge-probe merge SHARD... --out FOLDER",
            )
        if not all(self._parts.is_done(number) for number in self.plan.batches()):
            raise StateError(
                f"{folder}: is not complete",
                hint="give the same edge-probe classify command again: it goes on",
            )
        path = folder / DEPLOYMENT_FILE
        self.settings = read_settings(path) if path.exists() else Settings("")
        """Of the deployment file; with an empty id where there is none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""

    @property
    def id(self) -> str:
        """Of the deployment file; empty where there is none."""
        return self.settings.deployment_id

    @property
    def audio(self) -> Path:
        """Where the recordings lie, or lay."""
        return Path(self.plan.folder)

    @property
    def audio_name(self) -> str:
        """The same, without the folders that it lies in."""
        return self.audio.name

    def segments(self) -> Iterator[Segment]:
        """Files that could be opened."""
        return (self._segment(file) for file in self._files())

    def gaps(self) -> Iterator[GapRow]:
        """None: nobody knows what else should have been recorded."""
        return iter(())

    def detections(self) -> Iterator[DetectionRow]:
        """In the order of files, then of beginnings; numbers in the order of making."""
        files, file, segment = self._files(), None, None
        rows = enumerate(self._parts.rows(DETECTIONS, self.plan.batches()), 1)
        for number, heard in groupby(rows, key=lambda row: row[1]["file"]):
            while file is None or file["file"] != number:
                file, segment = next(files), None
            segment = segment or self._segment(file)
            found = [self._detection(detection, row, segment) for detection, row in heard]
            yield from sorted(found, key=lambda row: (row.start_sample, row.label, row.detection))

    def effort(self) -> Iterator[EffortRow]:
        """What was listened to of each file, by UTC hour."""
        for file in self._files():
            for start, end in _hours(file):
                recorded_s = end - start
                classified_s = min(max(0.0, file["classified_s"] - start), recorded_s)
                yield EffortRow(
                    self.id, _stream(file), file["channel"], self.plan.bundle_sha256,
                    _at(file, start), _at(file, end), file["clock_trust"], recorded_s, recorded_s,
                    0.0, 0.0, 0.0, 0.0, recorded_s - classified_s, classified_s,
                )  # fmt: skip

    def _files(self) -> Iterator[Row]:
        """Rows of those that could be opened."""
        rows = self._parts.rows(FILES, self.plan.batches())
        return (row for row in rows if row["rate_hz"] is not None)

    def _segment(self, file: Row) -> Segment:
        path, duration_s = self.audio / file["path"], file["n_samples"] / file["rate_hz"]
        return Segment(
            self.id, _stream(file), _stream(file), file["path"], path if path.exists() else None, 0,
            file["n_samples"], file["rate_hz"], file["channels"], file["start_utc"],
            _at(file, duration_s), file["clock_trust"],
        )  # fmt: skip

    def _detection(self, number: int, row: Row, segment: Segment) -> DetectionRow:
        start, end, window_start = (
            min(ceil(row[name] * segment.rate_hz - _FRACTION), segment.n_samples)
            for name in ("start_s", "end_s", "window_start_s")
        )
        return DetectionRow(
            self.id, number, row["bundle"], row["bundle_sha256"], segment.boot, segment.stream,
            row["channel"], start, end, segment.rate_hz, row["start_utc"], row["end_utc"],
            row["clock_trust"], row["label"], row["scientific_name"], row["common_name"],
            row["logit"], row["score"], row["calibrated"], row["threshold"], row["low_hz"],
            row["high_hz"], window_start, suppressed=False, private=False, segment=segment,
        )  # fmt: skip


def _stream(file: Row) -> int:
    """Counted from 1."""
    return int(file["file"]) + 1


def _at(file: Row, seconds: float) -> datetime | None:
    start: datetime | None = file["start_utc"]
    return start and start + timedelta(seconds=seconds)


def _hours(file: Row) -> Iterator[tuple[float, float]]:
    """Where UTC hours begin and end in a file, in seconds; all of it where nobody knows them."""
    start_s, end_s = 0.0, file["n_samples"] / file["rate_hz"]
    if file["start_utc"] is not None:
        into_hour = file["start_utc"].replace(minute=0, second=0, microsecond=0)
        border_s = (into_hour + _HOUR - file["start_utc"]).total_seconds()
        while border_s < end_s:
            yield start_s, border_s
            start_s, border_s = border_s, border_s + _HOUR.total_seconds()
    yield start_s, end_s
