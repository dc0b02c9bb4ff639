"""What the machine measured beside what this checkout estimates; nothing is played for it."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_probe.budget.figure import read_sheet
from firmware_tools.comparison import compare
from vm.parts import BUNDLE, PROFILE, firmware

COMPARED = (
    "flash_runtime", "flash_bundle", "memory_recorder", "memory_classifier", "memory_helpers",
    "memory_files", "memory_ours", "memory_system",
)  # fmt: skip
"""What does not depend on time."""


def rows(measured: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Both, and how far the middle of the estimate is off.

    The signed bundle was measured and the unsigned one is estimated: their files are equal but for
    a number in the manifest.

    Parameters
    ----------
    measured : dict
        As ``edge-probe bench --json`` printed it.
    """
    with TemporaryDirectory() as folder:
        sheet, estimate = Path(folder, "measured.json"), Path(folder, "estimate.json")
        sheet.write_text(json.dumps(measured), "utf-8")
        text = firmware("estimate", BUNDLE, "--profile", PROFILE, "--json", timeout_s=600)
        estimate.write_text(text, "utf-8")
        there = read_sheet(sheet, "measured")
        here = replace(read_sheet(estimate, "estimate"), bundle=there.bundle)
    found = {}
    for row in compare(here, there):
        if row.name in COMPARED and row.estimate and row.measured:
            found[row.name] = {
                "estimate": [round(row.estimate.low, 2), round(row.estimate.high, 2)],
                "measured": round(row.measured.middle, 2),
                "tag": row.measured.tag,
                "middle_error": round(row.estimate.middle / row.measured.middle - 1, 4),
            }
    return found
