"""What a fresh bundle makes of unlabelled audio from its site: unreviewed detections per hour."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.errors import AudioError
from edge_probe.source.files import AudioFile
from export.clips import SUFFIXES, ClipsError


@dataclass(frozen=True, slots=True)
class SiteRate:
    """Detections on audio that nobody has labelled."""

    hours: float
    detections: dict[str, int]
    """Per class label, classes without any included."""
    unreadable: list[str]


def recordings_below(folder: Path) -> list[Path]:
    """Every audio file below a folder.

    Raises
    ------
    ClipsError
        There is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ClipsError(f"{folder}: no audio files", hint="name a folder of site recordings")
    return paths


def site_rate(bundle: Bundle, paths: Sequence[Path], channel: int | None = None) -> SiteRate:
    """Run a bundle over recordings.

    Raises
    ------
    ClipsError
        None of them can be read.
    """
    analyser = ChunkAnalyser(bundle, "fast")
    counts = Counter({label.text: 0 for label in bundle.labels})
    seconds, unreadable = 0.0, []
    for path in tqdm(paths, desc="site audio", unit="file"):
        try:
            with AudioFile(path, channel) as audio:
                run = Run(audio.name, audio.channel, audio.sample_rate_hz)
                classifier = RunClassifier(analyser, run)
                events = [event for block in audio for event in classifier.push(block)]
                counts.update(event.label.text for event in events + classifier.finish())
                seconds += classifier.duration_s
        except AudioError as error:
            unreadable.append(error.message)
    if seconds == 0:
        raise ClipsError(f"none of the site recordings can be read: {unreadable[0]}")
    return SiteRate(seconds / 3600, dict(counts), unreadable)
