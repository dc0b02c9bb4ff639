"""What the activity gate kept from the encoder, and what that cost."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

_COUNTS = (
    "SELECT id, count(*), count(*) FILTER (WHERE reason = 'probe'),"
    " count(*) FILTER (WHERE reason = 'probe' AND EXISTS (SELECT 1 FROM detection AS found"
    "  WHERE (found.bundle, found.channel) = (chunk.bundle, chunk.channel)"
    "  AND found.stream = chunk.stream AND span_frame BETWEEN chunk.first_frame - 1"
    "  AND chunk.first_frame + chunk.n_frames"
    "  AND span_frame + span_n_frames <= chunk.first_frame + chunk.n_frames + 1))"
    " FROM chunk JOIN bundle USING (bundle) WHERE reason IN ('gated', 'probe') GROUP BY bundle"
)
"""Ends of a detection are rounded to frames, by one at most."""


@dataclass(frozen=True, slots=True)
class Gated:
    """Chunks in which the gate of a recorder heard nothing."""

    bundle: str
    n_quiet: int
    n_probes: int
    """Encoded all the same, to see what is missed."""
    n_missed: int
    """Of the probes, those with a detection that lies in no other chunk."""

    def __str__(self) -> str:
        return (
            f"{self.bundle}: {self.n_quiet} chunks were too quiet for the gate; of {self.n_probes}"
            f" that were encoded all the same {self.n_missed} hold a detection of their own"
        )


def gated(detections: sqlite3.Connection) -> Iterator[Gated]:
    """By bundle; none where no gate was at work.

    Parameters
    ----------
    detections : sqlite3.Connection
        Open ``detections.sqlite``.
    """
    return (Gated(*row) for row in detections.execute(_COUNTS))
