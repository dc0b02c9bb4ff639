"""Thirty virtual days: what must not grow does not."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from faults.conftest import count
from support import soak
from support.numbered_source import Auditor

DAYS = 30
WARM_UP_H = 24
MOST_KIB_PER_H = 1.0
"""Of memory; upper end of the 95 % confidence interval."""

MOST_DESCRIPTORS = 8
"""The standard three, those of SQLite, a segment, and the one that counts them."""

MOST_FILES = 5
"""``audio/``, the three files of SQLite and a segment that grows."""

MOST_WAL_KIB = 4096


def test_thirty_days_leave_nothing_behind(memory_folder: Path, results: dict[str, Any]) -> None:
    state = memory_folder / "state"
    segment_s = DAYS * 24 * 3600 // count("soak_segments")
    tests = Path(__file__).parents[1]
    command = [sys.executable, str(soak.__file__), str(state), str(DAYS), str(segment_s)]
    path = os.pathsep.join([str(tests.parent), str(tests)])
    auditor, hours = Auditor(state), []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            hours.append(json.loads(line))
            auditor.audit()
    assert process.returncode == 0
    auditor.audit()

    looked = hours[WARM_UP_H:]
    most = {name: max(hour[name] for hour in looked) for name in looked[0]}
    slope, error = slope_of([hour["rss_kib"] for hour in looked])
    results["30 virtual days"] = {
        "segments": auditor.n_segments,
        "gaps": len(auditor.gaps),
        "frames_unaccounted_for": hours[-1]["frames"] - auditor.end,
        "rss_kib": [looked[0]["rss_kib"], looked[-1]["rss_kib"]],
        "rss_kib_per_h": [round(slope - error, 3), round(slope + error, 3)],
        "most": {name: most[name] for name in ("descriptors", "threads", "files", "wal_kib")},
    }
    assert auditor.end == hours[-1]["frames"]
    assert auditor.n_segments >= count("soak_segments")
    assert slope + error <= MOST_KIB_PER_H
    assert most["descriptors"] <= MOST_DESCRIPTORS
    assert most["threads"] == 1
    assert most["files"] <= MOST_FILES
    assert most["wal_kib"] <= MOST_WAL_KIB


def slope_of(values: list[int]) -> tuple[float, float]:
    """Per step, by least squares, and half the width of its 95 % confidence interval."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    y = np.array(values) - np.mean(values)
    slope = float(at @ y / (at @ at))
    residual = y - slope * at
    return slope, 1.96 * math.sqrt(float(residual @ residual) / (len(y) - 2) / float(at @ at))
