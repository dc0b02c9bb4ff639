"""Results of a comparison on disk: JSON, Markdown and pictures."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_probe import __version__
from export.compare.measure import Row
from export.compare.page import markdown
from export.compare.plots import write_plots
from export.compare.summary import averages, choices, table

TITLE = "Heads compared"


def write_comparison(rows: Sequence[Row], folder: Path) -> str:
    """Write ``compare.json``, ``compare.md`` and PNG files; return a summary for the terminal."""
    entries = table(rows)
    lines = choices(entries)
    overall = averages(lines)
    result = {
        "what": "macro mAP in percent; validation chose, the test was read once",
        "date": datetime.now(UTC).date().isoformat(),
        "edge_probe": __version__,
        "overall": overall,
        "choices": lines,
        "table": [_without_resamples(entry) for entry in entries],
        "rows": [_short(row) for row in rows],
    }
    path = folder / "compare.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    page = folder / "compare.md"
    page.write_text(markdown(entries, lines, overall, TITLE), encoding="utf-8")
    pictures = write_plots(entries, folder)
    said = [f"{name}: {value}" for name, value in overall.items()]
    return "\n".join([*said, *map(str, (path, page, *pictures))])


def _short(row: Row) -> Row:
    """What differs between the seeds of an entry of the table."""
    keys = ("data", "encoder", "head", "prototypes_per_class", "bits", "layer", "seed",
            "validation", "test", "auroc", "top_1", "parity", "per_class",
            "per_class_intervals")  # fmt: skip
    return {key: row[key] for key in keys if key in row}


def _without_resamples(entry: Row) -> Row:
    """Hundreds of numbers an entry; what follows from them stands in the choices."""
    return {key: value for key, value in entry.items() if key != "validation_resampled"}
