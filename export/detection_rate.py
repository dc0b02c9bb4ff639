"""How often a bundle fires on sound, by the code that runs on the recorder."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.errors import AudioError
from edge_probe.head import ChunkSummary
from edge_probe.source.files import AudioFile
from export.clips import ClipsError

STRETCH_S = 60.0
"""Where false alarms are counted, a run ends after so many seconds at the latest: one detection
lasts as long as a class fires, and a class that never falls silent counts once a minute."""


@dataclass(frozen=True, slots=True)
class DetectionRate:
    """What a bundle detected on some sounds."""

    hours: float
    detections: dict[str, int]
    """Per class label, classes without any included."""
    most_on: dict[str, str]
    """The sound with most of them, of each class that has any."""
    unreadable: list[str]
    """One line per recording that could not be used."""

    def per_hour(self, label: str) -> float:
        """Detections per hour of one class."""
        return self.detections[label] / self.hours

    @property
    def per_hour_max(self) -> float:
        """Detections per hour of the class with most."""
        return max(self.detections.values()) / self.hours


Hear = Callable[[ChunkSummary], object]
"""Told of every chunk."""


class _Analyser(ChunkAnalyser):
    def __init__(self, bundle: Bundle, hear: Hear) -> None:
        super().__init__(bundle, "fast")
        self._hear = hear

    def summary(self, chunk: Chunk) -> ChunkSummary:
        found = super().summary(chunk)
        self._hear(found)
        return found


class DetectionCount:
    """Runs in, a `DetectionRate` out.

    Parameters
    ----------
    bundle : Bundle
    hear : callable, optional
        Told of every chunk, in order.
    """

    def __init__(self, bundle: Bundle, hear: Hear = lambda _: None) -> None:
        self._analyser = _Analyser(bundle, hear)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds = 0.0

    def add(self, run: Run, blocks: Iterable[NDArray[np.float32]]) -> None:
        """Count one run, whole or, if it cannot be read to its end or holds no token, not at all.

        Raises
        ------
        AudioError
        """
        classifier = RunClassifier(self._analyser, run)
        events = [event for block in blocks for event in classifier.push(block)]
        events += classifier.finish()
        self._counts.update((event.label.text, run.source) for event in events)
        self._seconds += 0.0 if classifier.too_short else classifier.duration_s

    def rate(self, unreadable: Sequence[str] = ()) -> DetectionRate:
        """What has been counted so far."""
        detections = {label.text: 0 for label in self._analyser.bundle.labels}
        most_on: dict[str, str] = {}
        for (label, source), count in self._counts.most_common():
            detections[label] += count
            most_on.setdefault(label, source)
        return DetectionRate(self._seconds / 3600, detections, most_on, list(unreadable))


def rate_on_recordings(
    bundle: Bundle,
    paths: Sequence[Path],
    channel: int | None = None,
    *,
    what: str,
    stretch_s: float = math.inf,
    hear: Callable[[str, ChunkSummary], object] = lambda *_: None,
) -> DetectionRate:
    """Run a bundle over recordings; those that cannot be read are listed.

    Parameters
    ----------
    bundle : Bundle
    paths : sequence of Path
    channel : int, optional
        Of multi-channel recordings, counted from 0.
    what : str
        Name of the recordings, for progress and errors.
    stretch_s : float
        Longest run; a recording is one run by default.
    hear : callable, optional
        Told of every chunk, in order, and the stretch it is of.

    Raises
    ------
    ClipsError
        None of them can be read, or all are too short to hold a token.
    """
    stretch = ""
    count = DetectionCount(bundle, lambda summary: hear(stretch, summary))
    unreadable = []
    for path in tqdm(paths, desc=what, unit="file"):
        try:
            with AudioFile(path, channel) as audio:
                run = Run(audio.name, audio.channel, audio.sample_rate_hz)
                for number, blocks in enumerate(_stretches(audio, stretch_s)):
                    stretch = f"{path} {number}"
                    count.add(run, blocks)
        except AudioError as error:
            unreadable.append(error.message)
    rate = count.rate(unreadable)
    if rate.hours == 0:
        why = unreadable[0] if unreadable else "they are too short to classify"
        raise ClipsError(
            f"{what}: none of the recordings can be heard: {why}", hint="name other recordings"
        )
    return rate


def _stretches(audio: AudioFile, stretch_s: float) -> Iterator[Iterable[NDArray[np.float32]]]:
    """The blocks of each run."""
    if stretch_s == math.inf:
        yield audio
        return
    step = round(stretch_s * audio.sample_rate_hz)
    for begin in range(0, audio.n_samples, step):
        yield [audio.read(begin, min(begin + step, audio.n_samples))]
