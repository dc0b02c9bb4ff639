"""What the classifier keeps: one class per kind of row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edge_probe.detect import OpenDetection

State = Literal["done", "skipped", "quarantined"]
"""How a chunk ended: classified, left out on purpose, or left out because it kills."""


class Key(NamedTuple):
    """The name of a chunk; ascending in the order of the work."""

    stream: int
    run_frame: int
    """First frame of its run."""
    n: int
    """Number in its run."""
    channel: int
    """Counted from 0."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The native frames a chunk stands for."""

    key: Key
    first_frame: int
    """Of the stream."""
    n_frames: int


@dataclass(frozen=True, slots=True)
class Try:
    """A chunk about to be classified."""

    piece: Piece
    n_attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """A detection; frames are those of the stream."""

    label: str
    first_frame: int
    """Of its box."""
    n_frames: int
    low_hz: float | None
    high_hz: float | None
    score: float
    calibrated: bool
    logit: float
    threshold: float
    window_frame: int
    """First frame of the window with the largest logit."""
    span_frame: int
    """First frame of its first window."""
    span_n_frames: int
    """From there to the end of its last window."""
    suppressed: bool
    """The species list does not expect it."""
    private: bool
    """Of a class that is nobody's business."""


@dataclass(frozen=True, slots=True)
class WindowRow:
    """The highest scores of a window."""

    first_n: int
    """Its first chunk."""
    first_frame: int
    n_frames: int
    score: float
    """Displayed score of the class with the largest logit."""
    best: bytes
    """`BEST`, the largest logits, descending."""


@dataclass(frozen=True, slots=True)
class ScoresRow:
    """Prototype scores of a chunk, for learning from corrections."""

    n: int
    """Of the chunk."""
    steps: int
    """As in `edge_probe.head.vectors`."""
    scores: bytes
    """(M,) int16, little-endian."""
    most: int | None
    """Chunks of a block whose scores are kept; None: these are, whatever was kept before."""


@dataclass(frozen=True, slots=True)
class Stint:
    """Consecutive chunks of a run that were all classified, as long as it may go on.

    Windows and detections do not reach beyond it.
    """

    first_n: int
    next_n: int
    """Chunk that would continue it."""
    open: Mapping[int, OpenDetection]
    """Detections that have not ended, by class index."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a chunk, with all that it ended; kept together or not at all."""

    piece: Piece
    state: State
    reason: str | None
    detections: tuple[DetectionRow, ...]
    windows: tuple[WindowRow, ...]
    stint: Stint | None
    """None: it has ended."""
    scores: tuple[ScoresRow, ...] = ()
    """Of chunks up to this one."""


@dataclass(frozen=True, slots=True)
class Duty:
    """From where on a bundle is answerable for the audio, until the next duty begins."""

    stream: int
    run_frame: int
    first_frame: int
    """The chunk that holds it is the first one."""
