"""Corrections files, as the page of the report saves them."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SHA256 = "0123456789abcdef" * 4
OTHER_SHA256 = "f" * 64


def entry(**changes: Any) -> dict[str, Any]:
    """One entry that is right, but for what is changed."""
    return {
        "deployment_id": "site-01", "bundle_sha256": SHA256, "boot": 1, "stream": 1, "channel": 0,
        "start_sample": 48000, "end_sample": 96000, "rate_hz": 48000,
        "label": "Parus major_Great Tit", "verdict": "correct", "other_label": None,
        "logit": 1.25, "draw": "stratified", "probability": 0.25,
        "reviewed_utc": "2026-11-30T10:01:00Z",
    } | changes  # fmt: skip


def write_corrections(path: Path, entries: Iterable[Mapping[str, Any]], **changes: Any) -> Path:
    """A file of these entries; its name."""
    told = {
        "format": "edge-probe corrections", "version": 1, "made_utc": "2026-11-30T10:00:00Z",
        "reviewer": "", "corrections": list(entries),
    } | changes  # fmt: skip
    path.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return path
