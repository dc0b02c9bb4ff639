"""A Camera Trap Data Package (Camtrap DP 1.0.2), with listening effort and gaps as tables more.

Source of the format: https://camtrap-dp.tdwg.org; profile and table schemas are kept in
``camtrap-dp-1.0.2/`` as published (MIT licence beside them). Its datetimes have whole seconds:
starts are rounded down, ends up, and the exact values stand in tags.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from edge_probe.deployment.settings import Settings
from edge_probe.desk.results import camtrap_package
from edge_probe.desk.results.camtrap_package import NAMES, Coverage, columns
from edge_probe.desk.results.selection import NO_TIME, Selection, in_utf8, local, placed
from edge_probe.desk.rows import DetectionRow, Segment
from edge_probe.desk.told import Told
from edge_probe.errors import EdgeProbeError

Cells = dict[str, Any]

_FILE_PATH = re.compile(r"(?!.*\.\.)[^./~].*")
"""What may stand in ``media.filePath``."""

_MEDIA_TYPES = {".wav": "audio/vnd.wave", ".flac": "audio/flac"}
"""As registered with IANA."""

_SECOND = timedelta(seconds=1)


def write(selection: Selection, folder: Path) -> None:
    """``datapackage.json`` and its five tables.

    Raises
    ------
    DeploymentError
        A deployment file lacks what Camtrap DP requires.
    EdgeProbeError
        A deployment has no time at all, or a name that Camtrap DP takes for something else.
    """
    project = camtrap_package.read_project(selection.archive.folders)
    coverage = Coverage()
    with ExitStack() as stack:
        tables = {name: stack.enter_context(_table(folder, name)) for name in NAMES}
        for deployment in selection.deployments():
            _write_deployment(selection, deployment, tables, coverage)
    camtrap_package.write(folder, project, coverage)


@contextmanager
def _table(folder: Path, name: str) -> "Iterator[csv.DictWriter[str]]":
    with (folder / f"{name}.csv").open("x", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, columns(name), restval="", lineterminator="\n")
        table.writeheader()
        yield table


def _write_deployment(
    selection: Selection,
    deployment: Told,
    tables: "Mapping[str, csv.DictWriter[str]]",
    coverage: Coverage,
) -> None:
    settings, span = deployment.settings, _Span()
    for segment in deployment.segments():
        span.add(segment.start_utc, segment.end_utc)
        if segment.path is not None and segment.start_utc is not None:
            tables["media"].writerow(_media(deployment, segment, segment.path, segment.start_utc))
    for gap in deployment.gaps():
        span.add(gap.start_utc, gap.end_utc)
        tables["gaps"].writerow(_extra("gaps", gap))
    for effort in deployment.effort():
        tables["effort"].writerow(_extra("effort", effort))
    start, end = span.known(deployment)
    tables["deployments"].writerow(_deployment(settings, start, end, span.has_unknown))
    coverage.add(settings, start, end)
    for row, segment in placed(selection, selection.one_bundle(deployment)):
        if row.start_utc is None or row.end_utc is None:
            selection.leave_out(NO_TIME)
            continue
        cells = _observation(settings, row, segment, row.start_utc, row.end_utc)
        tables["observations"].writerow(cells)
        if cells["scientificName"]:
            coverage.taxa.add(row.scientific_name)


@dataclass
class _Span:
    """From the first to the last known moment."""

    start: datetime | None = None
    end: datetime | None = None
    has_unknown: bool = False

    def add(self, start: datetime | None, end: datetime | None) -> None:
        if start is None:
            self.has_unknown = True
            return
        self.start = min(start, self.start or start)
        self.end = max(end or start, self.end or start)

    def known(self, deployment: Told) -> tuple[datetime, datetime]:
        if self.start is None or self.end is None:
            raise EdgeProbeError(
                f"{deployment.folder}: nothing of it has a time: its clock was never set",
                hint="edge-probe retime gives it one; jsonl and parquet need none",
            )
        return self.start, self.end


def _deployment(settings: Settings, start: datetime, end: datetime, doubtful: bool) -> Cells:
    radius, height = settings.coordinate_uncertainty_m, settings.height_m
    return {
        "deploymentID": settings.deployment_id,
        "latitude": settings.latitude,
        "longitude": settings.longitude,
        "coordinateUncertainty": None if radius is None else max(1, ceil(radius)),
        "deploymentStart": _floor(start, settings),
        "deploymentEnd": _ceil(end, settings),
        "setupBy": settings.setup_by,
        "cameraID": settings.recorder_serial,
        "cameraHeight": height if height is not None and height >= 0 else None,
        "cameraDepth": -height if height is not None and height < 0 else None,
        "timestampIssues": str(doubtful).lower(),
        "habitat": settings.habitat,
        "deploymentTags": _tags(
            microphone=settings.microphone, captureGainDb=settings.capture_gain_db
        ),
    }


def _media(deployment: Told, segment: Segment, path: Path, start: datetime) -> Cells:
    place = in_utf8(Path(deployment.audio_name)).as_posix()
    file_path = f"{place}/{path.relative_to(deployment.audio).as_posix()}"
    if not _FILE_PATH.fullmatch(file_path):
        raise EdgeProbeError(
            f"{file_path}: Camtrap DP allows no path that begins with . or ~ or has .. in it",
            hint="rename the folder",
        )
    return {
        "mediaID": _media_id(segment),
        "deploymentID": segment.deployment_id,
        "timestamp": _floor(start, deployment.settings),
        "filePath": file_path,
        "filePublic": "false",
        "fileName": path.name,
        "fileMediatype": _MEDIA_TYPES[path.suffix],
        "mediaComments": _tags(
            start=_exact(start), durationS=segment.duration_s, rateHz=segment.rate_hz,
            channels=segment.channels, clockTrust=segment.clock_trust,
        ),
    }  # fmt: skip


def _media_id(segment: Segment) -> str:
    return f"{segment.deployment_id}_{Path(segment.name).with_suffix('').as_posix()}"


def _observation(
    settings: Settings, row: DetectionRow, segment: Segment, start: datetime, end: datetime
) -> Cells:
    is_kept = segment.path is not None
    is_taxon = row.scientific_name != row.label  # a label without _ is no name of a species
    return {
        "observationID": _observation_id(row),
        "deploymentID": row.deployment_id,
        "mediaID": _media_id(segment) if is_kept else None,
        "eventStart": _floor(start, settings),
        "eventEnd": _ceil(end, settings),
        "observationLevel": "media" if is_kept else "event",
        "observationType": _observation_type(row) if is_taxon else "unknown",
        "scientificName": row.scientific_name if is_taxon else None,
        "classificationMethod": "machine",
        "classifiedBy": f"{row.bundle} ({row.bundle_sha256})",
        "classificationProbability": row.score if row.calibrated else None,
        "observationTags": _tags(
            start=_exact(start), end=_exact(end), lowHz=row.low_hz, highHz=row.high_hz,
            label=row.label, score=row.score, logit=row.logit, threshold=row.threshold,
            channel=row.channel, stream=row.stream, startSample=row.start_sample,
            endSample=row.end_sample, clockTrust=row.clock_trust,
        ),
    }  # fmt: skip


def _observation_id(row: DetectionRow) -> str:
    """What a detection is known by for ever; its number may change."""
    place = f"{row.stream}-{row.channel}-{row.window_start_sample}-{row.start_sample}"
    return f"{row.deployment_id}_{row.bundle_sha256[:8]}_{place}_{row.label}"


def _observation_type(row: DetectionRow) -> str:
    return "human" if row.scientific_name == "Homo sapiens" else "animal"


def _extra(name: str, row: object) -> Cells:
    """A row of a table of our own: its columns are the names of fields."""
    cells = {column: getattr(row, column) for column in columns(name)}
    return {k: _exact(v) if isinstance(v, datetime) else v for k, v in cells.items()}


def _floor(moment: datetime, settings: Settings) -> str:
    return local(moment, settings).isoformat(timespec="seconds")


def _ceil(moment: datetime, settings: Settings) -> str:
    return _floor(moment + (_SECOND if moment.microsecond else timedelta(0)), settings)


def _exact(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _tags(**values: object) -> str:
    """``key:value | key:value``; what would end a value is written as %7C."""
    return " | ".join(
        f"{key}:{str(value).replace('%', '%25').replace('|', '%7C')}"
        for key, value in values.items()
        if value is not None
    )
