"""CSV with the columns that Kaleidoscope's viewer opens audio by; not verified in Kaleidoscope.

Source of the columns: BirdNET-Analyzer's writer for Kaleidoscope.
"""

import csv
from typing import TextIO

from edge_probe.desk.results.selection import Selection, audible, in_utf8, samples_in_file, seconds

COLUMNS = (
    "INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "scientific_name", "common_name",
    "confidence", "lat", "lon", "week", "overlap", "sensitivity",
)  # fmt: skip

_DECIMALS = 4


def write(selection: Selection, out: TextIO) -> None:
    """One row a detection whose file is there.

    Week, overlap and sensitivity are settings of BirdNET that our bundles do not have: empty.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for deployment in selection.deployments():
        place = (deployment.settings.latitude, deployment.settings.longitude)
        for row, segment, path in audible(selection, selection.one_bundle(deployment)):
            start, end = samples_in_file(row, segment)
            folder = in_utf8(path).parent.absolute()
            writer.writerow([
                folder.parent.parent, f"{folder.parent.name}/{folder.name}", path.name,
                seconds(start, row.rate_hz, _DECIMALS),
                seconds(end - start, row.rate_hz, _DECIMALS),
                row.scientific_name, row.common_name, f"{row.score:.4f}", *place, "", "", "",
            ])  # fmt: skip
