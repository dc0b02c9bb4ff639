"""Clips of the best detections of every class, each with a picture, within a room of the disk."""

import heapq
import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from itertools import count
from pathlib import Path
from typing import NamedTuple

from edge_probe.desk.archive import Deployment
from edge_probe.desk.clip_audio import ClipAudio, cut
from edge_probe.desk.fresh import fresh_folder
from edge_probe.desk.guano import NAMESPACE, append_chunk, guano_bytes
from edge_probe.desk.names import Names, fat_safe, stem
from edge_probe.desk.opened import Opened
from edge_probe.desk.picture import picture
from edge_probe.desk.results.selection import Selection, audible, local
from edge_probe.desk.rows import DetectionRow
from edge_probe.errors import AudioError
from edge_probe.source.flac import encode
from edge_probe.source.wav import HEADER_BYTES, pcm_header

NO_ROOM = "have no room within --quota and --floor"
NOT_THE_BEST = "are not among the best of their class (--per-class)"
UNREADABLE = "lie in a file that is damaged"

_CHUNK_HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted."""

    before_s: float
    after_s: float
    per_class: int
    """Clips of a class at most, those with the largest logits."""
    quota_bytes: int
    """Of all files together."""
    floor_bytes: int
    """Of the disk, that stay free."""
    flac: bool


def write_clips(selection: Selection, target: Path, plan: Plan) -> int:
    """Write ``LABEL/DEPLOYMENT_YYYYMMDD_HHMMSS.wav`` and ``.png`` into a new folder.

    The best one of every class comes first, then the second of every class, until there is no
    room; so no class takes that of another. FLAC has its metadata beside it, ``NAME.guano``.

    Returns
    -------
    int
        Clips written; the selection counts what was left out.

    Raises
    ------
    EdgeProbeError
        The folder exists already, or the archive cannot be read.
    OSError
        The disk fails.
    """
    with closing(selection), fresh_folder(target) as part, Opened() as opened:
        best = _best(selection, plan.per_class)
        writer = _Writer(part, plan)
        for ranked in best:
            deployment = opened.get(ranked.folder)
            try:
                audio = cut(deployment, ranked.row, plan.before_s, plan.after_s)
            except AudioError:
                selection.leave_out(UNREADABLE)
                continue
            if not writer.write(deployment, ranked.row, audio):
                selection.leave_out(NO_ROOM)
        return writer.n_written


class _Ranked(NamedTuple):
    """A detection that may become a clip."""

    rank: int
    """Within its class, from 0."""
    folder: Path
    """Of its deployment."""
    row: DetectionRow


def _best(selection: Selection, per_class: int) -> list[_Ranked]:
    """The largest logits of every class, the best of each first."""
    classes: dict[tuple[str, str], list[tuple[float, int, Path, DetectionRow]]] = {}
    number = count()
    for deployment in selection.deployments():
        for row, _, _ in audible(selection, selection.expected(deployment)):
            heap = classes.setdefault((row.bundle_sha256, row.label), [])
            heapq.heappush(heap, (row.logit, -next(number), deployment.folder, row))
            if len(heap) > per_class:
                heapq.heappop(heap)
                selection.leave_out(NOT_THE_BEST)
    ranked = [
        _Ranked(rank, folder, row)
        for heap in classes.values()
        for rank, (_, _, folder, row) in enumerate(sorted(heap, reverse=True))
    ]
    return sorted(ranked, key=lambda one: (one.rank, -one.row.logit))


class _Writer:
    """Puts clips into a folder while there is room."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._folders = Names()
        self._of_label: dict[str, Path] = {}
        self._names: dict[Path, Names] = {}
        self._n_bytes = 0
        self.n_written = 0

    def write(self, deployment: Deployment, row: DetectionRow, audio: ClipAudio) -> bool:
        """Write audio and picture; False: there is no room for both, and neither is there."""
        start = deployment.at(row.stream, audio.start_sample)
        settings = deployment.settings
        start = None if start is None else local(start, settings)
        png = picture(audio, row, _time_text(start))
        pcm = audio.pcm()
        data = guano_bytes(_fields(deployment, row, audio, start))
        n_bytes = HEADER_BYTES + len(pcm) + _CHUNK_HEADER_BYTES + len(data) + len(png)
        if not self._has_room(n_bytes):  # FLAC needs the room of the WAV on its way
            return False
        folder = self._folder_of(row.label)
        prefix = row.deployment_id or "recorder"
        wanted = stem(prefix, start, settings.utc_offset) if start else _stem_without_time(row)
        path = folder / f"{self._names[folder].take(wanted)}.wav"
        path.write_bytes(pcm_header(audio.rate_hz, 1, audio.sample_bytes, len(pcm)) + pcm)
        if self._plan.flac:
            encode(path, path.with_suffix(".flac"))
            path.with_suffix(".guano").write_bytes(data)
            path.unlink()
        else:
            append_chunk(path, data)
        path.with_suffix(".png").write_bytes(png)
        self._n_bytes += sum(one.stat().st_size for one in folder.glob(f"{escape(path.stem)}.*"))
        self.n_written += 1
        return True

    def _has_room(self, n_bytes: int) -> bool:
        free = shutil.disk_usage(self._folder).free
        within_quota = self._n_bytes + n_bytes <= self._plan.quota_bytes
        return within_quota and free - n_bytes >= self._plan.floor_bytes

    def _folder_of(self, label: str) -> Path:
        if label not in self._of_label:
            folder = self._folder / self._folders.take(fat_safe(label))
            folder.mkdir()
            self._of_label[label], self._names[folder] = folder, Names()
        return self._of_label[label]


def _stem_without_time(row: DetectionRow) -> str:
    """By boot, stream and sample, as segments are named."""
    place = f"{row.boot:05d}-{row.stream:06d}-{row.start_sample:012d}"
    return f"{fat_safe(row.deployment_id or 'recorder')}_unset_{place}"


def _time_text(start: datetime | None) -> str:
    return "unknown time" if start is None else start.isoformat(" ", timespec="seconds")


def _fields(
    deployment: Deployment, row: DetectionRow, audio: ClipAudio, start: datetime | None
) -> dict[str, object]:
    """GUANO of a clip; times of the box count from its beginning."""
    settings = deployment.settings
    place = None
    if settings.latitude is not None and settings.longitude is not None:
        place = f"{settings.latitude:.6f} {settings.longitude:.6f}"
    box = [(n - audio.start_sample) / row.rate_hz for n in (row.start_sample, row.end_sample)]
    own = {
        "Deployment ID": row.deployment_id or None,
        "Model": row.bundle,
        "Model SHA256": row.bundle_sha256,
        "Label": row.label,
        "Score": f"{row.score:.6f}",
        "Score Kind": "probability" if row.calibrated else "uncalibrated",
        "Logit": f"{row.logit:.6f}",
        "Threshold": f"{row.threshold:.6f}",
        "Box Start": f"{box[0]:.6f}",
        "Box End": f"{box[1]:.6f}",
        "Box Low": None if row.low_hz is None else f"{row.low_hz:.3f}",
        "Box High": None if row.high_hz is None else f"{row.high_hz:.3f}",
        "Clock Trust": row.clock_trust,
        "Stream": row.stream,
        "First Sample": audio.start_sample,
        "Channel": row.channel,
        "Gaps": "; ".join(map(str, audio.missing)) or "none",
    }
    return {
        "Timestamp": start,
        "Loc Position": place,
        "Make": "edge-probe",
        "Serial": settings.recorder_serial,
        "Samplerate": audio.rate_hz,
        "Length": f"{audio.duration_s:.6f}",
        "Original Filename": audio.files[0],
        "Species Auto ID": row.scientific_name,
        **{f"{NAMESPACE}|{name}": value for name, value in own.items()},
    }
