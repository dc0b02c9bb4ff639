"""A month of virtual days: what must not grow does not."""

import json
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from faults.conftest import count, needs
from support import soak
from support.child import environment
from support.numbered_source import Auditor

SEGMENTS_PER_DAY = round(86_400 / soak.SEGMENT_S)
LEAST_DAYS = 3

WARM_UP_DAYS = 7
"""A third where there are few days."""

MOST_KIB_PER_DAY = 16.0
"""Of memory; upper end of the 95 % confidence interval."""

MOST_GROWTH_KIB = 768
"""In all, where there are too few days for that."""

CONSTANT = ("descriptors", "threads", "tasks", "children", "files", "temporary")
"""Of which the last day may have no more than the first one after the warm-up."""

MOST = {
    "descriptors": 24,  # standard ones, SQLite's, segment, pipes to a child, the one that counts
    "threads": 1,
    "tasks": 1,  # that of onnxruntime's telemetry would be another
    "children": 1,  # encodes FLAC
    "files": 11,  # audio/, SQLite's six, status for people and for Prometheus, effort, reserve
    "temporary": 1,  # the segment that grows
    "wal_kib": 1280,  # 512 KiB each, and what a transaction is over
}
"""At any time."""

MOST_DATABASE_KIB_PER_DAY = 512
"""With a chunk every two minutes and health every ten."""


def test_a_month_leaves_nothing_behind(memory_folder: Path, results: dict[str, Any]) -> None:
    needs(root=False)
    days = max(LEAST_DAYS, count("soak_days"))
    hours, n_segments, causes = follow(memory_folder, days)

    looked = hours[24 * min(WARM_UP_DAYS, days // 3) : -1]
    of_days = [most_of(looked[at : at + 24]) for at in range(0, len(looked), 24)]
    first, last, most = of_days[0], of_days[-1], most_of(looked)
    slope, error = slope_of([hour["rss_kib"] for hour in looked])
    per_day = (looked[-1]["database_kib"] - looked[0]["database_kib"]) / (len(looked) - 1) * 24
    happened = what_happened(memory_folder / "state")
    results[f"{days} virtual days"] = {
        "segments": n_segments,
        "happened": happened,
        "rss_kib": [looked[0]["rss_kib"], looked[-1]["rss_kib"]],
        "rss_kib_per_day": [round(24 * (slope - error), 2), round(24 * (slope + error), 2)],
        "most": {name: most[name] for name in (*CONSTANT, "wal_kib", "all_kib")},
        "database_kib_per_day": round(per_day),
    }
    assert n_segments >= 0.99 * days * SEGMENTS_PER_DAY
    assert causes == {"stall", "disk", "device"}
    assert all(happened.values()), happened
    assert {name: last[name] for name in CONSTANT if last[name] > first[name]} == {}
    assert {name: most[name] for name in MOST if most[name] > MOST[name]} == {}
    assert most["children"] == 1, "no child was ever seen"
    assert per_day <= MOST_DATABASE_KIB_PER_DAY
    assert most["all_kib"] * 1024 <= soak.QUOTA_BYTES + round(soak.SEGMENT_S * soak.RATE * 2)
    is_long = days >= 3 * WARM_UP_DAYS
    assert 24 * (slope + error) <= (MOST_KIB_PER_DAY if is_long else MOST_GROWTH_KIB / len(of_days))


def most_of(hours: list[dict[str, int]]) -> dict[str, int]:
    return {name: max(hour[name] for hour in hours) for name in hours[0]}


def follow(folder: Path, days: int) -> tuple[list[dict[str, int]], int, set[str]]:
    """Let a month pass and account for every frame of it, hour by hour.

    Returns
    -------
    hours, segments, causes of gaps
    """
    state, temporary, hours = folder / "state", folder / "tmp", []
    temporary.mkdir()
    auditors = [Auditor(state, 1, frames=soak.frames, has_quota=True)]
    command = [sys.executable, soak.__file__, str(folder), str(days)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment() | {"TMPDIR": str(temporary)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            hours.append(json.loads(line))
            auditor = auditors[-1]
            auditor.audit()
            if hours[-1]["stream"] > auditor.stream:
                first_frame, _, cause = auditor.gaps[-1]
                assert (first_frame, cause) == (hours[-1]["ended_at"], "device")
                auditors.append(
                    Auditor(state, auditor.stream + 1, frames=soak.frames, has_quota=True)
                )
                auditors[-1].audit()
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.returncode == 0
    assert auditors[-1].end == hours[-1]["frames"]
    causes = {cause for auditor in auditors for _, _, cause in auditor.gaps}
    return hours, sum(auditor.n_segments for auditor in auditors), causes


def what_happened(state: Path) -> dict[str, int]:
    """How much there was of all that a month may leave behind."""
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        db.execute("ATTACH ? AS b", (str(state / "detections.sqlite"),))
        n_recorded, n_told = db.execute(
            "SELECT (SELECT sum(n_frames) FROM segment), (SELECT sum(n_frames) FROM b.chunk"
            " WHERE state IN ('done', 'skipped'))"
        ).fetchone()
        assert n_recorded == n_told, "audio that is neither classified nor skipped"
        tables = {
            "health rows": "health", "segments deleted": "deletion",
            "segments to FLAC": "transcode",
            "pieces overwritten": "privacy", "windows drawn": "sample",
            "chunks done": "b.chunk WHERE state = 'done'",
            "chunks skipped": "b.chunk WHERE state = 'skipped'", "detections": "b.detection",
        }  # fmt: skip
        told = {
            name: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for name, table in tables.items()
        }
    lines = (state / "effort.csv").read_text(encoding="utf-8").splitlines()
    return told | {"hours of effort": len(lines) - 1}


def slope_of(values: list[int]) -> tuple[float, float]:
    """Per step, by least squares, and half the width of its 95 % confidence interval."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    y = np.array(values) - np.mean(values)
    slope = float(at @ y / (at @ at))
    residual = y - slope * at
    return slope, 1.96 * math.sqrt(float(residual @ residual) / (len(y) - 2) / float(at @ at))
