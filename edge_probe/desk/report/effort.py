"""Effort and gaps by hour, and what of them the page shows."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from edge_probe.desk.archive import Deployment, EffortRow, GapRow
from edge_probe.desk.report.detections import NO_TIME, local_seconds

HOUR_S = 3600
DAY_S = 24 * HOUR_S

_BY_THE_HOUR_S = 5 * DAY_S
"""What lasts no longer is shown hour by hour."""

_LONGEST = 100
"""Gaps of a deployment that are listed; all are counted."""

KINDS = ("scheduled", "recorded", "gap", "private", "unhealthy")


@dataclass
class Effort:
    """Sums over the deployments of an archive; keys begin with the number of the deployment."""

    _hours: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    """By hour since 1970 in the deployment's offset (`NO_TIME`: not known): `KINDS`, in s."""
    _heard: dict[tuple[int, str, int], float] = field(default_factory=lambda: defaultdict(float))
    """By bundle and hour: classified, or listened to by the gate and too quiet for it, in s.

    Without the latter a quiet night would count as hardly listened to, and what calls in it as
    frequent."""
    _gated: dict[tuple[int, str], float] = field(default_factory=lambda: defaultdict(float))
    """By bundle: the latter alone, in s."""
    _lost: dict[tuple[int, str, int], float] = field(default_factory=lambda: defaultdict(float))
    """By cause and hour, in s."""
    _gaps: dict[tuple[int, str], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0])
    )
    """By cause: how many, and how many of them of unknown length."""
    _longest: list[list[Any]] = field(default_factory=list)

    def add(self, index: int, deployment: Deployment) -> None:
        """Take the effort and the gaps of the deployment with that number."""
        for row, is_first in _first_of_stream(deployment.effort()):
            hour = _hour(local_seconds(row.start_utc, deployment))
            if is_first:
                sums = self._hours.setdefault((index, hour), [0.0] * len(KINDS))
                kinds = (row.scheduled_s, row.recorded_s, row.gap_s, row.private_s, row.unhealthy_s)
                for n, value in enumerate(kinds):
                    sums[n] += value or 0.0
            if row.bundle_sha256:
                self._heard[index, row.bundle_sha256, hour] += row.classified_s + row.gated_s
                self._gated[index, row.bundle_sha256] += row.gated_s
        gaps = list(self._count(index, deployment))
        gaps.sort(key=lambda gap: -gap[2])
        self._longest += gaps[:_LONGEST]

    def _count(self, index: int, deployment: Deployment) -> Iterator[list[Any]]:
        for gap in deployment.gaps():
            count = self._gaps[index, gap.cause]
            count[0] += 1
            if gap.duration_s is None:
                count[1] += 1
                continue
            for hour, seconds in _by_hour(gap, deployment):
                self._lost[index, gap.cause, hour] += seconds
            if gap.cause != "schedule":
                start = local_seconds(gap.start_utc, deployment)
                yield [index, start, round(gap.duration_s, 3), gap.cause]

    @property
    def bin_s(self) -> int:
        """Width of a bin of the page: an hour for what lasted few days, else a day."""
        hours = [hour for _, hour in self._hours if hour != NO_TIME]
        span_s = (max(hours) - min(hours)) * HOUR_S if hours else 0
        return HOUR_S if span_s <= _BY_THE_HOUR_S else DAY_S

    def as_json(self, bundles: list[str]) -> dict[str, Any]:
        """For the page; rows of numbers, hours rounded to a second."""
        bin_hours = self.bin_s // HOUR_S
        base: dict[tuple[int, int], list[float]] = {}
        for (index, hour), values in self._hours.items():
            sums = base.setdefault((index, _bin(hour, bin_hours)), [0.0] * len(KINDS))
            for n, value in enumerate(values):
                sums[n] += value
        heard: dict[tuple[int, int, int], float] = defaultdict(float)
        by_hour: dict[tuple[int, int], list[float]] = {}
        for (index, sha256, hour), seconds in self._heard.items():
            bundle = bundles.index(sha256)
            heard[index, bundle, _bin(hour, bin_hours)] += seconds
            if hour != NO_TIME:
                by_hour.setdefault((index, bundle), [0.0] * 24)[hour % 24] += seconds
        lost: dict[tuple[int, str, int], float] = defaultdict(float)
        for (index, cause, hour), seconds in self._lost.items():
            lost[index, cause, _bin(hour, bin_hours)] += seconds
        return {
            "kinds": KINDS,
            "time": [[*key, *map(round, values)] for key, values in sorted(base.items())],
            "heard": [[*key, round(value)] for key, value in sorted(heard.items())],
            "heard_by_hour": [
                [*key, *map(round, values)] for key, values in sorted(by_hour.items())
            ],
            "gated": [
                [index, bundles.index(sha256), round(seconds)]
                for (index, sha256), seconds in self._gated.items()
            ],
            "lost": [[*key, round(value, 3)] for key, value in sorted(lost.items())],
            "gaps": [[*key, *counts] for key, counts in sorted(self._gaps.items())],
            "longest": self._longest,
        }


def _first_of_stream(rows: Iterator[EffortRow]) -> Iterator[tuple[EffortRow, bool]]:
    """Rows of the first channel of each stream and bundle, and whether it is the first bundle.

    What was recorded is the same for all channels and bundles.
    """
    first: dict[int, str] = {}
    channels: dict[tuple[int, str], int] = {}
    for row in rows:
        bundle = first.setdefault(row.stream, row.bundle_sha256)
        channel = channels.setdefault((row.stream, row.bundle_sha256), row.channel)
        if channel == row.channel:
            yield row, bundle == row.bundle_sha256


def _hour(seconds: int) -> int:
    return NO_TIME if seconds == NO_TIME else seconds // HOUR_S


def _bin(hour: int, bin_hours: int) -> int:
    return NO_TIME if hour == NO_TIME else hour // bin_hours


def _by_hour(gap: GapRow, deployment: Deployment) -> Iterator[tuple[int, float]]:
    """How long a gap was in each hour that it has a part of."""
    if gap.start_utc is None or gap.end_utc is None or gap.duration_s is None:
        yield NO_TIME, gap.duration_s or 0.0
        return
    offset = deployment.settings.utc_offset or timedelta(0)
    begin, end = (_since_1970(moment + offset) for moment in (gap.start_utc, gap.end_utc))
    while begin < end:
        hour = int(begin // HOUR_S)
        until = min(end, (hour + 1) * HOUR_S)
        yield hour, until - begin
        begin = until


def _since_1970(moment: datetime) -> float:
    return max(0.0, moment.timestamp())
