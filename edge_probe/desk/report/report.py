"""Make the folder of a report: the page, and sound and pictures beside it."""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from edge_probe.desk.archive import Deployment
from edge_probe.desk.fresh import fresh_folder, refuse_existing
from edge_probe.desk.progress import Progress
from edge_probe.desk.report.detections import Columns, Detections
from edge_probe.desk.report.effort import Effort
from edge_probe.desk.report.items import Items, Plan
from edge_probe.desk.report.microphone import Microphones
from edge_probe.desk.report.page import packed, write_page
from edge_probe.desk.results.selection import Selection

_TOLD_EVERY = 1000
"""Detections."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was made."""

    page: Path
    n_detections: int
    n_clips: int
    page_bytes: int
    left_out: dict[str, int]
    """Reasons, as they end a sentence, and how many."""


def write_report(selection: Selection, target: Path, plan: Plan, stderr: TextIO) -> Report:
    """Write ``index.html`` and, unless all goes inside it, ``media/`` into a new folder.

    Parameters
    ----------
    selection : Selection
        It counts what was left out.
    target : Path
    plan : Plan
    stderr : TextIO
        Gets the progress.

    Raises
    ------
    EdgeProbeError
        The folder exists already, or the archive cannot be read.
    OSError
        The disk fails.
    """
    refuse_existing(target)
    with closing(selection):
        found = _read(selection, stderr)
    with fresh_folder(target) as part:
        columns = found.detections.columns()
        items = Items(selection.archive.folders, part, plan, Progress(stderr, "clips", 1))
        heard = items.make(found.detections, columns)
        left_out = {f"detections {why}": n for why, n in selection.left_out.items()}
        left_out |= items.left_out
        data = {
            "deployments": found.deployments,
            "bundles": [one._asdict() for one in found.detections.bundles],
            "classes": _classes(found.detections),
            "detections": _columns(columns),
            "bin_s": found.effort.bin_s,
            "effort": found.effort.as_json([one.sha256 for one in found.detections.bundles]),
            "microphone": found.microphones.as_json(found.effort.bin_s),
            "left_out": sorted(left_out.items()),
            **heard,
        }
        page_bytes = write_page(part / "index.html", data, datetime.now(UTC))
    return Report(target / "index.html", len(found.detections), items.n_clips, page_bytes, left_out)


class _Found(NamedTuple):
    """What was read from end to end."""

    deployments: list[dict[str, Any]]
    detections: Detections
    effort: Effort
    microphones: Microphones


def _read(selection: Selection, stderr: TextIO) -> _Found:
    found = _Found([], Detections(), Effort(), Microphones())
    progress = Progress(stderr, "detections", 1)
    try:
        for index, deployment in enumerate(selection.deployments()):
            assert isinstance(deployment, Deployment)  # noqa: S101  a survey is no archive
            progress.begin(f"reading {deployment.id or deployment.folder.name}")
            found.deployments.append(_deployment(deployment))
            found.detections.expect(deployment)
            n = 0
            for n, row in enumerate(selection.expected(deployment), 1):
                found.detections.add(index, deployment, row)
                if n % _TOLD_EVERY == 0:
                    progress.tick(_TOLD_EVERY)
            progress.tick(n % _TOLD_EVERY)
            found.effort.add(index, deployment)
            found.microphones.add(index, deployment)
    finally:
        progress.end()
    return found


def _deployment(deployment: Deployment) -> dict[str, Any]:
    """What the page says of it."""
    settings = deployment.settings
    offset = settings.utc_offset
    return {
        "id": deployment.id,
        "name": deployment.id or deployment.folder.name,
        "utc_offset_s": None if offset is None else int(offset.total_seconds()),
        "latitude": settings.latitude,
        "longitude": settings.longitude,
        "microphone": settings.microphone,
        "habitat": settings.habitat,
        "setup_by": settings.setup_by,
    }


def _classes(detections: Detections) -> list[dict[str, Any]]:
    return [
        {
            "bundle": one.bundle,
            "label": one.label.text,
            "scientific": one.label.scientific_name,
            "common": one.label.common_name,
            "threshold": one.threshold,
            "calibrated": one.calibrated,
            "private": one.is_private,
        }
        for one in detections.classes
    ]


def _columns(columns: Columns) -> dict[str, Any]:
    """Those that the page draws from."""
    return {
        "n": len(columns.time),
        "deployment": packed(columns.deployment),
        "class": packed(columns.klass),
        "time": packed(columns.time),
        "score": packed(columns.score),
        "audible": packed(columns.audible.astype("u1")),
    }
