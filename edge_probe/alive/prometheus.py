"""A status as Prometheus reads it from a file, for the textfile collector of node_exporter.

Source: Prometheus, "Exposition formats", text-based format, version 0.0.4.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_probe.alive.status import Status

Labels = Mapping[str, object]
Sample = tuple[Labels, float | None]


def exposition(status: "Status", written: datetime) -> str:
    """All of a status that is a number, or worth an alert.

    A value that is not known gives no sample, its metric is announced all the same.

    Parameters
    ----------
    status : Status
    written : datetime
        When; a rule on it tells a recorder that hangs.
    """
    parts = _recorder(status, written) + _disk(status) + _classifier(status)
    return "".join(parts)


def _recorder(status: "Status", written: datetime) -> list[str]:
    info = {
        "version": status.version, "deployment_id": status.deployment_id or "",
        "device": status.device or "", "stream": status.stream or "", "boot": status.boot,
    }  # fmt: skip
    gaps = [({"cause": cause}, gap_s) for cause, gap_s in status.gap_s.items()]
    return [
        _metric("info", "gauge", "Who this is.", [(info, 1)]),
        _metric("written_timestamp_seconds", "gauge", "When this was written.",
                [({}, written.timestamp())]),
        _metric("state", "gauge", "What the recorder does: 1.", [({"state": status.state}, 1)]),
        _metric("running_seconds", "gauge", "Since the process began.", [({}, status.running_s)]),
        _metric("recorded_seconds_total", "counter", "Audio kept since then.",
                [({}, status.recorded_s)]),
        _metric("gap_seconds_total", "counter", "Audio missing since then, by cause.", gaps),
        _metric("last_frame_age_seconds", "gauge", "Since the newest sample came.",
                [({}, status.last_frame_age_s)]),
        _metric("ring_fill_ratio", "gauge", "Of the memory between microphone and disk.",
                [({}, status.ring_fill)]),
        _metric("clock_trust", "gauge", "Where the time comes from: 1.",
                [({"trust": status.clock_trust}, 1)]),
        _metric("alarm", "gauge", "What somebody should look at: 1.",
                [({"alarm": alarm}, 1) for alarm in dict.fromkeys(status.alarms)]),
        _metric("resident_memory_bytes", "gauge", "Memory of the recorder.",
                [({}, None if status.rss_mib is None else status.rss_mib * 2**20)]),
    ]  # fmt: skip


def _disk(status: "Status") -> list[str]:
    disk = status.disk
    return [
        _metric("disk_free_bytes", "gauge", "Free on the disk.", [({}, disk.free_bytes)]),
        _metric("disk_used_bytes", "gauge", "Used by closed segments.", [({}, disk.used_bytes)]),
        _metric("disk_quota_bytes", "gauge", "What the state folder may use.",
                [({}, disk.quota_bytes)]),
        _metric("disk_days_left", "gauge", "Days until the disk fills or audio is deleted.",
                [({}, disk.days_left)]),
    ]  # fmt: skip


def _classifier(status: "Status") -> list[str]:
    classifier = status.classifier
    if classifier is None:
        return []
    return [
        _metric("classifier_state", "gauge", "What the classifier does: 1.",
                [({"state": classifier.state}, 1)]),
        _metric("classifier_behind_seconds", "gauge", "Audio that waits to be classified.",
                [({}, classifier.behind_s)]),
        _metric("classifier_restarts_total", "counter", "Times it was started again.",
                [({}, classifier.n_restarts)]),
    ]  # fmt: skip


def _metric(name: str, kind: str, text: str, samples: Sequence[Sample]) -> str:
    name = f"edge_probe_{name}"
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [
        f"{name}{_labels(labels)} {_number(value)}"
        for labels, value in samples
        if value is not None
    ]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(str(value))}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.17g}"
