"""What a fresh bundle makes of unlabelled audio from its site: unreviewed detections per hour."""

from collections.abc import Sequence
from pathlib import Path

from edge_probe.bundle import Bundle
from export.clips import SUFFIXES, ClipsError
from export.clips.folder import visible_files
from export.detection_rate import DetectionRate, rate_on_recordings


def recordings_below(folder: Path) -> list[Path]:
    """Every audio file below a folder that is not hidden.

    Raises
    ------
    ClipsError
        There is none.
    """
    paths = [path for path in visible_files(folder) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise ClipsError(f"{folder}: no audio files", hint="name a folder of recordings")
    return paths


def site_rate(bundle: Bundle, paths: Sequence[Path], channel: int | None = None) -> DetectionRate:
    """Run a bundle over recordings.

    Raises
    ------
    ClipsError
        None of them can be read.
    """
    return rate_on_recordings(bundle, paths, channel, what="site audio")
