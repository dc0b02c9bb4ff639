"""What was recorded and heard, as the desk sees it: one class per kind of row.

A sample is what `SCHEMA.md` calls a frame: all channels at one instant, counted from the first of
its stream, lost ones included. Times are UTC, as known by now (`retime` included), and None where
the clock of the boot was never set.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of audio that was kept in one file."""

    deployment_id: str
    boot: int
    stream: int
    name: str
    """Of its WAV file; a transcoded one has the suffix ``.flac``."""
    path: Path | None
    """WAV or FLAC; None: the file is not there, deleted on the recorder or not collected."""
    start_sample: int
    n_samples: int
    rate_hz: int
    channels: int
    start_utc: datetime | None
    end_utc: datetime | None
    clock_trust: str
    """One of `edge_probe.deployment.wall.TRUST`."""

    @property
    def end_sample(self) -> int:
        """Behind the last one."""
        return self.start_sample + self.n_samples

    @property
    def duration_s(self) -> float:
        """Of the file, by its nominal rate."""
        return self.n_samples / self.rate_hz


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """A detection and the segment it begins in; it may end behind that."""

    deployment_id: str
    detection: int
    """Number in ``detections.sqlite``, ascending in the order in which they were made."""
    bundle: str
    """Id, as in events."""
    bundle_sha256: str
    """Of the manifest: two bundles may have one id."""
    boot: int
    stream: int
    channel: int
    """Counted from 0."""
    start_sample: int
    """Of its box."""
    end_sample: int
    rate_hz: int
    start_utc: datetime | None
    end_utc: datetime | None
    clock_trust: str
    label: str
    scientific_name: str
    common_name: str
    logit: float
    score: float
    calibrated: bool
    """Whether the score is a probability."""
    threshold: float
    """A logit."""
    low_hz: float | None
    high_hz: float | None
    window_start_sample: int
    """First one of its best window."""
    suppressed: bool
    """The species list does not expect it."""
    private: bool
    """Of a class that is nobody's business; its audio is zeros by and by."""
    segment: Segment | None
    """None: the ledger lost it."""

    @property
    def start_s(self) -> float | None:
        """Within the segment's file."""
        return self._in_file(self.start_sample)

    @property
    def end_s(self) -> float | None:
        """Counted from the beginning of the segment's file; it may lie behind its end."""
        return self._in_file(self.end_sample)

    def _in_file(self, sample: int) -> float | None:
        if self.segment is None:
            return None
        return (sample - self.segment.start_sample) / self.rate_hz


@dataclass(frozen=True, slots=True)
class GapRow:
    """Samples that are missing."""

    deployment_id: str
    boot: int
    stream: int
    start_sample: int
    n_samples: int | None
    """None: nobody can know."""
    rate_hz: int
    cause: str
    """``schedule``: nothing was to be recorded."""
    start_utc: datetime | None
    end_utc: datetime | None
    clock_trust: str

    @property
    def duration_s(self) -> float | None:
        """By the nominal rate."""
        return None if self.n_samples is None else self.n_samples / self.rate_hz


@dataclass(frozen=True, slots=True)
class EffortRow:
    """A row of ``effort.csv``: one stream, channel, bundle and UTC hour; None: nobody can know."""

    deployment_id: str
    stream: int
    channel: int
    bundle_sha256: str
    """Empty: no bundle listened."""
    start_utc: datetime | None
    end_utc: datetime | None
    clock_trust: str
    scheduled_s: float | None
    recorded_s: float
    gap_s: float | None
    private_s: float
    unhealthy_s: float
    gated_s: float
    skipped_s: float
    classified_s: float


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A class of a bundle; thresholds are logits."""

    label: str
    threshold_on: float
    threshold_off: float


@dataclass(frozen=True, slots=True)
class BundleRow:
    """A bundle that listened."""

    sha256: str
    """Of its manifest."""
    id: str
    chunk_s: float
    window_chunks: int
    hop_chunks: int
    labels: tuple[LabelRow, ...]
    """In the order of the classes."""

    @property
    def window_s(self) -> float:
        """Length of a window."""
        return self.chunk_s * self.window_chunks
