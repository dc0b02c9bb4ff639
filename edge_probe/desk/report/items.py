"""What people are asked about: detections and drawn windows, each with sound and picture."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edge_probe.desk.archive import Deployment
from edge_probe.desk.clip_audio import ClipAudio, cut
from edge_probe.desk.opened import Opened
from edge_probe.desk.progress import Progress
from edge_probe.desk.report.choose import Chosen, choose_detections
from edge_probe.desk.report.detections import SCORES, Columns, Detections, local_seconds
from edge_probe.desk.report.media import Media
from edge_probe.desk.report.sample import KINDS, Candidate, draw
from edge_probe.desk.windows import DrawnWindow, best_window
from edge_probe.errors import AudioError

_ROLL_S = 1.0
"""Around what is asked about, where it is a detection."""

NO_ROOM = "sounds have no room within --quota"
UNREADABLE = "sounds lie in a file that is damaged"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted."""

    per_class: int
    """Of the best detections of a class, of the rarest, and of those at random."""
    n_windows: int
    """Of each sample, over all deployments."""
    quota_bytes: int
    """Of sound and pictures together."""
    seed: int
    inside: bool
    """Whether sound and pictures go into the page."""


class _Span(NamedTuple):
    """Samples of a channel: a `Stretch`."""

    stream: int
    channel: int
    start_sample: int
    end_sample: int
    rate_hz: int


class _Job(NamedTuple):
    """To be made, in this order."""

    order: float
    deployment: int
    what: Chosen | Candidate


class Items:
    """Makes them, those first that matter most, while there is room.

    Parameters
    ----------
    folders : sequence of Path
        Of the deployments, by their numbers.
    target : Path
        Folder of the page.
    plan : Plan
    progress : Progress
    """

    def __init__(
        self, folders: Sequence[Path], target: Path, plan: Plan, progress: Progress
    ) -> None:
        self._folders, self._plan, self._progress = folders, plan, progress
        self._media = Media(target, plan.quota_bytes, inside=plan.inside)
        self.left_out: Counter[str] = Counter()
        """Reasons, as they end a sentence, and how many items."""
        self._clips: list[dict[str, Any]] = []
        self._items: list[dict[str, Any]] = []
        self._windows: list[dict[str, Any]] = []
        self._n_made: Counter[str] = Counter()
        self._full: set[str] = set()
        """Kinds of windows that have no more room, small ones neither: those that were made are the
        first of a random order, and so a random part."""

    @property
    def n_clips(self) -> int:
        """Sounds with pictures that were made."""
        return len(self._clips)

    def make(self, detections: Detections, columns: Columns) -> dict[str, Any]:
        """Make all; ``clips``, ``items`` and ``windows`` for the page."""
        plan = self._plan
        with Opened() as opened:
            jobs = [
                _Job(one.rank / plan.per_class, int(columns.deployment[one.at]), one)
                for one in choose_detections(columns, plan.per_class, plan.seed)
            ]
            candidates = [
                found
                for kind in KINDS
                for found in draw(opened, self._folders, kind, plan.n_windows, plan.seed,
                                  self.left_out)
            ]  # fmt: skip
            n_readable = Counter(one.window.kind for one in candidates)
            jobs += [_Job(one.rank / plan.n_windows, one.deployment, one) for one in candidates]
            jobs.sort(key=lambda one: one.order)
            self._progress.total = len(jobs)
            self._progress.begin("sound and pictures")
            try:
                for job in jobs:
                    deployment = opened.get(self._folders[job.deployment])
                    try:
                        self._make(deployment, job, detections, columns)
                    except AudioError:
                        self.left_out[UNREADABLE] += 1
                        if isinstance(job.what, Candidate):
                            n_readable[job.what.window.kind] -= 1
                    self._progress.tick(1)
            finally:
                self._progress.end()
        self._media.close()
        for one in self._windows:
            one["probability"] *= self._n_made[one["kind"]] / n_readable[one["kind"]]
        return {"clips": self._clips, "items": self._items, "windows": self._windows}

    def _make(
        self, deployment: Deployment, job: _Job, detections: Detections, columns: Columns
    ) -> None:
        if isinstance(job.what, Chosen):
            self._detection(deployment, job.deployment, job.what, columns)
        elif job.what.window.kind in self._full:
            self.left_out[NO_ROOM] += 1
        else:
            self._window(deployment, job.what, detections, columns)

    def _detection(
        self, deployment: Deployment, index: int, chosen: Chosen, columns: Columns
    ) -> None:
        at = chosen.at
        boot, rate_hz = deployment.stream(int(columns.stream[at]))
        begin, end = best_window(deployment, int(columns.number[at]), rate_hz)
        box = _Span(
            int(columns.stream[at]), int(columns.channel[at]), int(columns.start[at]),
            int(columns.end[at]), rate_hz,
        )  # fmt: skip
        before_s = max(0, box.start_sample - begin) / rate_hz + _ROLL_S
        after_s = max(0, end - box.end_sample) / rate_hz + _ROLL_S
        clip = self._clip(deployment, index, boot, box, cut(deployment, box, before_s, after_s))
        if clip is not None:
            self._items.append({
                "class": int(columns.klass[at]),
                "clip": clip,
                "start": begin,
                "end": end,
                "box": _box(columns, at),
                "logit": float(columns.logit[at]),
                "score": int(columns.score[at]) / SCORES,
                "whys": chosen.whys,
            })  # fmt: skip

    def _window(
        self, deployment: Deployment, candidate: Candidate, detections: Detections, columns: Columns
    ) -> None:
        window = candidate.window
        spans = [
            _Span(window.stream, channel, window.start_sample, window.end_sample, window.rate_hz)
            for channel in sorted({one.channel for one in candidate.opinions})
        ]
        heard = [cut(deployment, span, 0, 0) for span in spans]
        clips = {}
        for span, audio in zip(spans, heard, strict=True):
            clip = self._clip(deployment, candidate.deployment, window.boot, span, audio)
            if clip is None:
                self._full.add(window.kind)
                return
            clips[span.channel] = clip
        self._n_made[window.kind] += 1
        for one in candidate.opinions:
            logits = {
                detections.class_index(one.bundle_sha256, "", label): logit
                for label, logit in one.logits.items()
            }
            bundle = detections.bundle_index(one.bundle_sha256)
            within = _within(columns, candidate.deployment, window, one.channel)
            self._windows.append({
                "bundle": bundle,
                "clip": clips[one.channel],
                "kind": window.kind,
                "start": window.start_sample,
                "end": window.end_sample,
                "probability": window.probability * candidate.share,
                "logits": list(logits.items()),
                "boxes": [
                    [int(columns.klass[at]), *_box(columns, at)]
                    for at in within
                    if detections.classes[columns.klass[at]].bundle == bundle
                ],
            })  # fmt: skip

    def _clip(
        self, deployment: Deployment, index: int, boot: int, span: _Span, audio: ClipAudio
    ) -> int | None:
        """Number of the clip; None: there is no room."""
        media = self._media.write(audio)
        if media is None:
            self.left_out[NO_ROOM] += 1
            return None
        begun = deployment.at(span.stream, audio.start_sample)
        self._clips.append({
            "deployment": index,
            "boot": boot,
            "stream": span.stream,
            "channel": span.channel,
            "rate": span.rate_hz,
            "start": audio.start_sample,
            "n": len(audio.samples),
            "time": local_seconds(begun, deployment),
            "missing": [
                [round(one.start_s, 3), round(one.duration_s, 3), one.cause]
                for one in audio.missing
            ],
            **media,
        })  # fmt: skip
        return len(self._clips) - 1


def _box(columns: Columns, at: int) -> list[float | int | None]:
    """First sample, end, and edges in Hz, where they are known."""
    edges = (float(columns.low_hz[at]), float(columns.high_hz[at]))
    return [int(columns.start[at]), int(columns.end[at]),
            *(None if math.isnan(one) else one for one in edges)]  # fmt: skip


def _within(columns: Columns, deployment: int, window: DrawnWindow, channel: int) -> list[int]:
    """Detections that have a part in a window."""
    found = np.flatnonzero(
        (columns.deployment == deployment)
        & (columns.stream == window.stream)
        & (columns.channel == channel)
        & (columns.start < window.end_sample)
        & (columns.end > window.start_sample)
    )
    return [int(at) for at in found]
