"""Sound to measure activation ranges on: a few chunks of every kind of clip."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import AudioError, EdgeProbeError
from edge_probe.spec import EncoderSpec
from export.clips import ClipSet
from export.tokens import clip_chunks

N_CLIPS = 96
"""At least, evenly chosen, and less than twice as many; one chunk each, the first that is whole,
else the first."""

LEAST = 8


def calibration_chunks(clips: ClipSet, spec: EncoderSpec) -> Iterator[NDArray[np.float32]]:
    """Chunks of clips, (C,) float32 each; clips that cannot be read are passed over.

    Raises
    ------
    EdgeProbeError
        Fewer than `LEAST` could be read.
    """
    n_read = 0
    for clip in clips.clips[:: max(1, len(clips.clips) // N_CLIPS)]:
        try:
            chunks = list(clip_chunks(clip, spec, None))
        except AudioError:
            continue  # the gate lists it
        n_read += 1
        yield next((c for c in chunks if c.n_valid == spec.chunk_samples), chunks[0]).samples
    if n_read < LEAST:
        raise EdgeProbeError(
            f"expected at least {LEAST} readable clips to measure ranges on, found {n_read}",
            hint="give more clips of the sounds that the encoder will hear",
        )
