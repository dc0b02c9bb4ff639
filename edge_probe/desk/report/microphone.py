"""Health of the microphones, in bins of time, and their alarms."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge_probe.desk.archive import Deployment
from edge_probe.desk.report.detections import NO_TIME, local_seconds
from edge_probe.desk.report.effort import HOUR_S

_HOUR_NS = HOUR_S * 10**9

_READINGS = (
    "SELECT boot, avg(monotonic_ns), name, avg(value), max(abs(value)), max(value), count(*)"
    " FROM health WHERE name GLOB 'floor_*_hz.*' OR name GLOB 'rms.*' OR name GLOB 'peak.*'"
    " OR name GLOB 'dc.*' OR name GLOB 'clipped.*' OR name GLOB 'flat.*'"
    " GROUP BY boot, monotonic_ns / ?, name"
)
_ALARMS = (
    "SELECT boot, max(monotonic_ns), min(monotonic_ns), substr(name, 7), text, count(*)"
    " FROM health WHERE name GLOB 'alarm.*' GROUP BY boot, name, monotonic_ns / ?"
    " ORDER BY boot, 2"
)
"""Of the columns without an aggregate SQLite gives those of the row with the max (its only one)."""


class _Sums(NamedTuple):
    total: float
    largest: float
    n: int


@dataclass
class Microphones:
    """Readings and alarms of the deployments of an archive."""

    _readings: dict[tuple[int, int, str], list[_Sums]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By deployment, hour in its offset, and name with channel."""
    _alarms: dict[tuple[int, str], list[Any]] = field(default_factory=dict)

    def add(self, index: int, deployment: Deployment) -> None:
        """Take the health of the deployment with that number."""
        db = deployment.capture_db
        for boot, at, name, mean, most, highest, n in deployment.rows(
            db, "health", _READINGS, _HOUR_NS
        ):
            seconds = local_seconds(deployment.utc(boot, round(at)), deployment)
            hour = NO_TIME if seconds == NO_TIME else seconds // HOUR_S
            largest = highest if name.startswith("peak.") else most
            self._readings[index, hour, name].append(_Sums(mean * n, largest, n))
        for boot, last_ns, first_ns, name, text, n in deployment.rows(
            db, "health", _ALARMS, _HOUR_NS
        ):
            first, last = (
                local_seconds(deployment.utc(boot, at), deployment) for at in (first_ns, last_ns)
            )
            known = self._alarms.setdefault((index, name), [0, first, last, text])
            known[0] += n
            known[2:] = [last, text]

    def as_json(self, bin_s: int) -> dict[str, Any]:
        """For the page: mean and largest of each reading in each bin; minutes of each alarm."""
        bins: dict[tuple[int, str, int], list[_Sums]] = defaultdict(list)
        for (index, hour, name), sums in self._readings.items():
            at = NO_TIME if hour == NO_TIME else hour * HOUR_S // bin_s
            bins[index, name, at] += sums
        return {
            "readings": [
                [*key, round(sum(s.total for s in sums) / sum(s.n for s in sums), 5),
                 round(max(s.largest for s in sums), 5)]
                for key, sums in sorted(bins.items())
            ],
            "alarms": [[*key, *told] for key, told in sorted(self._alarms.items())],
        }  # fmt: skip
