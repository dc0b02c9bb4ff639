"""CSV as BirdNET-Analyzer writes it.

Source of the format: the README of BirdNET-Analyzer, "Output formats".
"""

import csv
from typing import TextIO

from edge_probe.desk.results.selection import (
    Selection,
    audio_path,
    in_utf8,
    placed,
    samples_in_file,
    seconds,
)

COLUMNS = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")

_DECIMALS = 4


def write(selection: Selection, out: TextIO) -> None:
    """One row a detection; seconds count from the beginning of its file and end with it."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for deployment in selection.deployments():
        for row, segment in placed(selection, selection.one_bundle(deployment)):
            start, end = (seconds(n, row.rate_hz, _DECIMALS) for n in samples_in_file(row, segment))
            path = in_utf8(audio_path(deployment, segment))
            writer.writerow(
                [start, end, row.scientific_name, row.common_name, f"{row.score:.4f}", path]
            )
