r"""Audacity label tracks: ``start<TAB>end<TAB>label``, then perhaps ``\<TAB>low<TAB>high``.

Source of the format: the Audacity manual, "Importing and Exporting Labels". `edge-export fit` reads
them beside their audio, so a corrected track is a training set.
"""

from itertools import groupby
from pathlib import Path

from edge_probe.desk.results.selection import Selection, audible, samples_in_file, seconds
from edge_probe.desk.rows import DetectionRow, Segment

_DECIMALS = 6


def write(selection: Selection, folder: Path) -> None:
    """``DEPLOYMENT/NAME.txt`` for each file ``NAME.wav`` or ``NAME.flac`` that has detections.

    Folders of a survey are kept.
    """
    for deployment in selection.deployments():
        tracks = folder / deployment.folder.name
        tracks.mkdir()
        found = audible(selection, selection.one_bundle(deployment))
        for path, group in groupby(found, key=lambda one: one[2]):
            track = tracks / path.relative_to(deployment.audio).with_suffix(".txt")
            if track.exists():  # of a file with another suffix
                track = track.with_name(f"{path.name}.txt")
            track.parent.mkdir(parents=True, exist_ok=True)
            with track.open("x", encoding="utf-8", newline="") as out:
                for row, segment, _ in group:
                    out.writelines(_lines(row, segment))


def _lines(row: DetectionRow, segment: Segment) -> list[str]:
    start, end = (seconds(n, row.rate_hz, _DECIMALS) for n in samples_in_file(row, segment))
    lines = [f"{start}\t{end}\t{row.label}\n"]
    if row.low_hz is not None and row.high_hz is not None:
        lines.append(f"\\\t{row.low_hz:.6f}\t{row.high_hz:.6f}\n")
    return lines
