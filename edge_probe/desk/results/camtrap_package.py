"""What stands in ``datapackage.json``: tables and their schemas, the project, what it covers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from edge_probe import __version__
from edge_probe.deployment.settings import Settings, read_settings
from edge_probe.desk.results.selection import local
from edge_probe.errors import DeploymentError

VERSION = "1.0.2"
PROFILE_FOLDER = Path(__file__).parent / f"camtrap-dp-{VERSION}"
"""As published at `BASE_URL`."""
BASE_URL = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"

STANDARD = ("deployments", "media", "observations")
OWN = ("effort", "gaps")
NAMES = (*STANDARD, *OWN)

SAMPLING_DESIGNS = (
    "simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted",
    "opportunistic",
)  # fmt: skip

REQUIRED = "Camtrap DP requires it"

MISSING = ("NA", "NaN", "nan")
"""Words that Camtrap DP takes for an empty cell."""


@dataclass(frozen=True, slots=True)
class Project:
    """What the deployment files say of the project."""

    title: str
    sampling_design: str
    contributors: tuple[str, ...]


@dataclass
class Coverage:
    """Where, when and what, gathered while the tables are written."""

    places: list[tuple[float, float]] = field(default_factory=list)
    """Longitude and latitude."""
    dates: list[date] = field(default_factory=list)
    taxa: set[str] = field(default_factory=set)

    def add(self, settings: Settings, start: datetime, end: datetime) -> None:
        """A deployment."""
        longitude = settings.require("longitude", because=REQUIRED)
        latitude = settings.require("latitude", because=REQUIRED)
        self.places.append((longitude, latitude))
        self.dates += [local(start, settings).date(), local(end, settings).date()]


@cache
def table_schema(name: str) -> Mapping[str, Any]:
    """Table Schema of a table: the published one, or ours."""
    folder = PROFILE_FOLDER if name in STANDARD else Path(__file__).parent
    text = (folder / f"{name}-table-schema.json").read_text(encoding="utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def columns(name: str) -> tuple[str, ...]:
    """Of a table, in their order."""
    return tuple(field["name"] for field in table_schema(name)["fields"])


def read_project(folders: Sequence[Path]) -> Project:
    """From the deployment files, before anything is written; all that is needed is there.

    Raises
    ------
    DeploymentError
        One is missing, or lacks what Camtrap DP requires, or they contradict each other.
    """
    found = []
    for folder in folders:
        path = folder / "deployment.toml"
        settings = read_settings(path)
        for key in ("latitude", "longitude"):
            settings.require(key, because=f"{REQUIRED} ({path})")
        settings.require("setup_by", because=f"Camtrap DP requires a contributor ({path})")
        if settings.deployment_id in MISSING:
            raise DeploymentError(
                f"{path}: Camtrap DP takes the deployment_id {settings.deployment_id} for none",
                hint="rename the deployment",
            )
        found.append(settings)
    design = _project_key(found, "sampling_design")
    if design not in SAMPLING_DESIGNS:
        raise DeploymentError(
            f"deployment.toml: project.sampling_design: expected one of Camtrap DP's, found"
            f" {design!r}",
            hint=f"they are {', '.join(SAMPLING_DESIGNS)}",
        )
    contributors = dict.fromkeys(str(settings.setup_by) for settings in found)
    return Project(_project_key(found, "title"), design, tuple(contributors))


def _project_key(found: Sequence[Settings], key: str) -> str:
    values = {str(settings.project[key]) for settings in found if key in settings.project}
    if not values:
        raise DeploymentError(
            f"deployment.toml: project.{key} is missing; {REQUIRED}",
            hint=f"add it to deployment.toml in the archive, under [project]: {key} = ...",
        )
    if len(values) > 1:
        raise DeploymentError(
            f"deployment.toml: project.{key}: expected one for all deployments, found"
            f" {', '.join(sorted(values))}",
            hint="export each project by itself",
        )
    return values.pop()


def write(folder: Path, project: Project, coverage: Coverage) -> None:
    """Write ``datapackage.json``."""
    descriptor = {
        "profile": f"{BASE_URL}/camtrap-dp-profile.json",
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "title": project.title,
        "contributors": [{"title": name, "role": "contributor"} for name in project.contributors],
        "sources": [{"title": "edge-probe", "version": __version__}],
        "resources": [_resource(name) for name in NAMES],
        "project": {
            "title": project.title,
            "samplingDesign": project.sampling_design,
            "captureMethod": ["timeLapse"],  # by a clock; 1.0 has no word for "all the time"
            "individualAnimals": False,
            "observationLevel": ["media", "event"],
        },
        "spatial": {"type": "MultiPoint", "coordinates": coverage.places},
        "temporal": {"start": str(min(coverage.dates)), "end": str(max(coverage.dates))},
        "taxonomic": [{"scientificName": name} for name in sorted(coverage.taxa)],
    }
    text = json.dumps(descriptor, ensure_ascii=False, indent=2) + "\n"
    (folder / "datapackage.json").write_text(text, encoding="utf-8", newline="")


def _resource(name: str) -> dict[str, Any]:
    url = f"{BASE_URL}/{name}-table-schema.json"
    return {
        "name": name,
        "path": f"{name}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "dialect": {"delimiter": ",", "quoteChar": '"', "doubleQuote": True},
        "encoding": "utf-8",
        "schema": url if name in STANDARD else table_schema(name),
    }
