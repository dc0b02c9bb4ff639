"""Detections of an archive as columns: what the page counts, and what is chosen from."""

from array import array
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle.labels import Label
from edge_probe.desk.archive import Deployment
from edge_probe.desk.rows import DetectionRow

NO_TIME = 2**32 - 1
"""Instead of a time: the clock was never set."""

SCORES = 2**16 - 1
"""Stands for a score of 1."""


_PRIVATE = (
    "SELECT DISTINCT sha256, id, label FROM detection JOIN bundle USING (bundle) WHERE private"
)


@dataclass(slots=True)
class Class:
    """A class of a bundle, whether it was heard or not."""

    bundle: int
    """Index of its bundle."""
    label: Label
    threshold: float | None = None
    """Logit; None: neither the bundle nor a detection says it."""
    calibrated: bool = False
    """Whether its scores are probabilities."""
    is_private: bool = False


class Bundle(NamedTuple):
    """A bundle that listened."""

    sha256: str
    id: str


class Columns(NamedTuple):
    """One entry for each detection, in the order of deployments and time."""

    deployment: NDArray[np.uint16]
    klass: NDArray[np.uint16]
    """Index of its class."""
    time: NDArray[np.uint32]
    """Seconds since 1970 in the deployment's fixed offset; `NO_TIME`."""
    score: NDArray[np.uint16]
    """Times `SCORES`."""
    logit: NDArray[np.float64]
    number: NDArray[np.int64]
    """Of its row in the deployment's ``detections.sqlite``."""
    stream: NDArray[np.int64]
    channel: NDArray[np.uint16]
    start: NDArray[np.int64]
    """First sample of its box."""
    end: NDArray[np.int64]
    low_hz: NDArray[np.float64]
    """NaN: unknown."""
    high_hz: NDArray[np.float64]
    audible: NDArray[np.bool_]
    """Whether the file it begins in is there."""


_CODES = "HHIHdqqHqqddB"


@dataclass
class Detections:
    """Takes detections as they come."""

    bundles: list[Bundle] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
    _bundle_of: dict[str, int] = field(default_factory=dict)
    _class_of: dict[tuple[str, str], int] = field(default_factory=dict)
    _columns: "list[array[float]]" = field(default_factory=lambda: [array(code) for code in _CODES])

    def __len__(self) -> int:
        return len(self._columns[0])

    def expect(self, deployment: Deployment) -> None:
        """Take up bundles and classes, those that nothing was heard of included.

        Those with private detections are known from now on as private.
        """
        for bundle in deployment.bundles():
            self._bundle(bundle.sha256, bundle.id)
            for one in bundle.labels:
                known = self.classes[self.class_index(bundle.sha256, bundle.id, one.label)]
                known.threshold = one.threshold_on
        for sha256, bundle_id, label in deployment.rows(
            deployment.detections_db, "detection", _PRIVATE
        ):
            self.classes[self.class_index(sha256, bundle_id, label)].is_private = True

    def class_index(self, sha256: str, bundle_id: str, label: str) -> int:
        """Number of a class, which may be new."""
        number = self._class_of.get((sha256, label))
        if number is None:
            number = self._class_of[sha256, label] = len(self.classes)
            self.classes.append(Class(self._bundle(sha256, bundle_id), Label.parse(label)))
        return number

    def bundle_index(self, sha256: str) -> int:
        """Number of a bundle that is known."""
        return self._bundle_of[sha256]

    def _bundle(self, sha256: str, bundle_id: str) -> int:
        number = self._bundle_of.setdefault(sha256, len(self.bundles))
        if number == len(self.bundles):
            self.bundles.append(Bundle(sha256, bundle_id))
        return number

    def add(self, index: int, deployment: Deployment, row: DetectionRow) -> None:
        """Take one of the deployment with that number."""
        number = self.class_index(row.bundle_sha256, row.bundle, row.label)
        known = self.classes[number]
        known.calibrated = row.calibrated
        if known.threshold is None:
            known.threshold = row.threshold
        values = (
            index, number, local_seconds(row.start_utc, deployment), round(row.score * SCORES),
            row.logit, row.detection, row.stream, row.channel, row.start_sample, row.end_sample,
            np.nan if row.low_hz is None else row.low_hz,
            np.nan if row.high_hz is None else row.high_hz,
            row.segment is not None and row.segment.path is not None,
        )  # fmt: skip
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)

    def columns(self) -> Columns:
        """All that came."""
        found = [np.array(one) for one in self._columns]
        return Columns._make([*found[:-1], found[-1].astype(np.bool_)])


def local_seconds(moment: datetime | None, deployment: Deployment) -> int:
    """Whole seconds since 1970 in the fixed offset of the deployment, or `NO_TIME`."""
    if moment is None:
        return NO_TIME
    offset = deployment.settings.utc_offset or timedelta(0)
    return min(max(0, int((moment + offset).timestamp())), NO_TIME - 1)
