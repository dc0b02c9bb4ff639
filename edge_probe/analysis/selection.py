"""Of which chunks the prototype scores are kept: those that somebody may correct one day.

A chunk's scores are kept if one of its windows holds a detection or a near miss (a class reaches
its off-threshold), or was drawn for the stratified sample, or if the chunk touches a window of the
random sample. Whether a window is drawn depends on its place alone (`edge_probe.disk.sample`), so
it is known before the recorder draws it; one that spans a gap is kept in vain.

Many detections do not wear the card out: of `BLOCK_CHUNKS` consecutive chunks, all scores together
take no more bytes than the audio of one chunk, the random sample apart, and the first ones count.
What was kept before is asked of the database: a death of the classifier changes nothing.
"""

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.disk.sample import Design, chance
from edge_probe.head import ChunkSummary, PrototypeHead
from edge_probe.head.prototypes import PrototypeMaxima
from edge_probe.head.vectors import steps_of, to_int16

BLOCK_CHUNKS = 256
"""Chunks of a run whose numbers begin alike: n // 256."""

LEAST = 16
"""Chunks of a block whose scores may be kept, however short their audio is."""

MAX_PROTOTYPES = 1 << 14
"""Scores of larger heads are not kept: 32 KiB a chunk."""

_SAMPLE_BYTES = 2


class Selection:
    """What is kept of one channel of one run.

    Parameters
    ----------
    bundle : Bundle
    design : Design or None
        Of the recorder's samples; None: nothing is drawn.
    stream : int
    rate_hz : int
    """

    def __init__(self, bundle: Bundle, design: Design | None, stream: int, rate_hz: int) -> None:
        head = bundle.head
        self._off = bundle.threshold_off
        self._design, self._stream = design, stream
        self._sample_frames = round(design.window_s * rate_hz) if design else 0
        self.steps = 0
        """Of the scores that are kept; 0: none ever are."""
        self.most = 0
        """Chunks of a block whose scores are kept, the random sample apart."""
        if isinstance(head, PrototypeHead) and head.n_prototypes <= MAX_PROTOTYPES:
            self.steps = steps_of(head)
            audio_bytes = _SAMPLE_BYTES * bundle.encoder.chunk_s * rate_hz
            self.most = max(LEAST, int(audio_bytes / (2 * head.n_prototypes)))

    def wants_window(self, first_frame: int, logits: NDArray[np.float64], score: float) -> bool:
        """Whether all chunks of a window are kept, if there is room.

        Parameters
        ----------
        first_frame : int
            Of the window, in the stream.
        logits : (C,) float64
        score : float
            Displayed score of the largest.
        """
        return bool(np.any(logits >= self._off)) or self._is_drawn(first_frame, score)

    def _is_drawn(self, first_frame: int, score: float) -> bool:
        if self._design is None:
            return False
        reached = [one.probability for one in self._design.strata if score >= one.score_from]
        drawn = chance(self._design.seed, "stratified", self._stream, first_frame)
        return bool(reached) and drawn < reached[-1]

    def is_sampled(self, first_frame: int, n_frames: int) -> bool:
        """Whether a chunk touches a window of the random sample."""
        length, design = self._sample_frames, self._design
        if design is None or not n_frames:
            return False
        first, last = first_frame // length, (first_frame + n_frames - 1) // length
        return any(
            chance(design.seed, "random", self._stream, window * length) < design.probability
            for window in range(first, last + 1)
        )

    def value_of(self, summary: ChunkSummary) -> bytes:
        """Scores of a chunk as they are kept: int16, little-endian."""
        assert isinstance(summary, PrototypeMaxima)  # noqa: S101  `steps` is 0 without
        return to_int16(summary.scores, self.steps).astype("<i2").tobytes()
