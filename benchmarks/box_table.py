"""The table of boxes in `edge_probe/README.md`, from the committed results only."""

from pathlib import Path
from typing import Any

Results = dict[str, Any]

README = Path(__file__).parents[1] / "edge_probe" / "README.md"

_HEADS = (
    "encoder (column, rows)", "sounds", "length, ms", "missed; elsewhere; box apart", "IoU in time",
    "the grid's best", "the window's", "onset, ms", "offset, ms", "tone in the band; its height",
)  # fmt: skip


def render(results: Results) -> str:
    """As Markdown: medians with quartiles."""
    lines = [_HEADS, ["---"] * len(_HEADS), *(_row(row) for row in results["rows"])]
    machine = results["machine"]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = (
        f"{results['rows'][0]['n']} sounds a row, one every 4 s, medians (quartiles); onnxruntime "
        f"{machine['onnxruntime']}, {machine['date']}, measured-here."
    )
    return f"{table}\n\n{note}\n"


def _row(row: Results) -> list[str]:
    n_syllables = row["n_syllables"]
    sounds = (
        row["sounds"] if n_syllables == row["n"] else f"{row['sounds']}, {n_syllables} syllables"
    )
    band = "-"
    if "tone_in_band" in row:
        band = f"{row['tone_in_band']:.0%}; {row['band_octaves']['median']:.1f} octaves"
    return [
        f"{row['encoder']} ({row['column_ms']} ms, {row['rows']})",
        sounds,
        _spread(row["length_ms"], 0),
        f"{row['n_missed']}; {row['n_elsewhere']}; {row['n_apart']}",
        _spread(row["iou"], 2),
        f"{row['grid_iou']['median']:.2f}",
        f"{row['window_iou']['median']:.2f}",
        _spread(row["onset_ms"], 0, "+"),
        _spread(row["offset_ms"], 0, "+"),
        band,
    ]


def _spread(values: Results, digits: int, sign: str = "") -> str:
    median, low, high = (f"{values[key]:{sign}.{digits}f}" for key in ("median", "low", "high"))
    return f"{median} ({low} to {high})"
