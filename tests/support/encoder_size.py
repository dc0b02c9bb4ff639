"""Small encoders in the usual tests, full ones for ``make encoders-full``, which keeps figures."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime as ort
import torch

SIZE = os.environ.get("EDGE_PROBE_ENCODER_SIZE", "small")
"""small or full: which checkpoint of a golden file is meant."""

_RESULTS = os.environ.get("EDGE_PROBE_ENCODERS_JSON")


def keep(family: str, **figures: float) -> None:
    """Add figures of a family to the results, if the environment names a file for them."""
    if _RESULTS is None:
        return
    path = Path(_RESULTS)
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results["made"] = {
        "size": SIZE, "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(), "torch": torch.__version__, "onnxruntime": ort.__version__,
    }  # fmt: skip
    rounded = {key: float(f"{value:.3g}") for key, value in figures.items()}
    families = results.setdefault("families", {})
    families[family] = families.get(family, {}) | rounded
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
