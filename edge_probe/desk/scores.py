"""Prototype scores that a recorder kept of its chunks (`SCHEMA.md`: ``chunk_scores``)."""

import sqlite3
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.desk.archive import Deployment
from edge_probe.errors import StateError

_BUNDLES = "SELECT bundle, sha256, chunk_s FROM bundle"
_RUN = "SELECT max(run_frame) FROM chunk_scores WHERE bundle = ? AND stream = ? AND run_frame < ?"
_CHUNKS = (
    "SELECT first_frame, n_frames, steps, scores FROM chunk_scores"
    " JOIN chunk USING (bundle, stream, run_frame, n, channel)"
    " WHERE (bundle, stream, run_frame) = (?, ?, ?) AND n BETWEEN ? AND ? AND channel = ?"
)


class _Stored(NamedTuple):
    overlap: int
    """Frames that it has in common with what was asked for."""
    n_frames: int
    values: NDArray[np.int16]


class StoredScores:
    """Those of one deployment and bundle.

    Parameters
    ----------
    deployment : Deployment
        Open as long as this is used.
    bundles : collection of str
        sha256 of its manifest, and of what else counts as it.
    n_prototypes, steps : int
        Of its head, as in `edge_probe.head.vectors`.
    """

    def __init__(
        self, deployment: Deployment, bundles: Collection[str], n_prototypes: int, steps: int
    ) -> None:
        self._where = deployment.state.detections
        self._shape = n_prototypes, steps
        db = deployment.detections_db
        has_any = "SELECT 1 FROM sqlite_schema WHERE name = 'chunk_scores'"
        self._db = db if db is not None and db.execute(has_any).fetchone() else None
        self._bundles: list[tuple[int, float]] = []
        if self._db is not None:
            found = self._db.execute(_BUNDLES).fetchall()
            self._bundles = [(number, chunk_s) for number, sha256, chunk_s in found
                             if sha256 in bundles]  # fmt: skip

    def within(
        self, stream: int, channel: int, begin: int, end: int, rate_hz: int
    ) -> NDArray[np.int16] | None:
        """Scores of a window of any length: the highest of its chunks.

        A chunk counts if half of it lies in the window; if none does, the one that has most of
        the window.

        Parameters
        ----------
        stream, channel : int
        begin, end : int
            Samples of the stream.
        rate_hz : int
            Of the stream.

        Returns
        -------
        (M,) int16 or None
            None: nothing is stored.

        Raises
        ------
        StateError
            The database is damaged, or holds scores that are not of this bundle's head.
        """
        try:
            found = list(self._chunks(stream, channel, begin, end, rate_hz))
        except sqlite3.Error as error:
            raise StateError(
                f"{self._where}: cannot be read: {error}",
                hint="edge-probe collect rescues what can be read of a damaged database",
            ) from error
        if not found:
            return None
        inside = [one for one in found if 2 * one.overlap >= one.n_frames]
        chosen = inside or [max(found, key=lambda one: one.overlap)]
        highest: NDArray[np.int16] = np.max([one.values for one in chosen], axis=0)
        return highest

    def _chunks(
        self, stream: int, channel: int, begin: int, end: int, rate_hz: int
    ) -> Iterator[_Stored]:
        """Those that have something of the samples [begin, end)."""
        if self._db is None:
            return
        for bundle, chunk_s in self._bundles:
            ((run_frame,),) = self._db.execute(_RUN, (bundle, stream, end)).fetchall()
            if run_frame is None:
                continue
            first, last = (int((at - run_frame) / (chunk_s * rate_hz)) for at in (begin, end))
            place = bundle, stream, run_frame, first - 1, last + 1, channel
            for at, n_frames, steps, data in self._db.execute(_CHUNKS, place):
                overlap = min(end, at + n_frames) - max(begin, at)
                if overlap > 0:
                    yield _Stored(overlap, n_frames, self._values(steps, data))

    def _values(self, steps: int, data: bytes) -> NDArray[np.int16]:
        values = np.frombuffer(data, "<i2") if len(data) % 2 == 0 else np.zeros(0, np.int16)
        if (len(values), steps) != self._shape:
            raise StateError(
                f"{self._where}: expected scores of {self._shape[0]} prototypes in"
                f" {self._shape[1]} steps, found {len(data)} bytes in {steps}",
                hint="collect the card again: the scores are damaged, or not this bundle's",
            )
        return values.astype(np.int16)
