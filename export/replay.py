"""What a bundle takes along of its training, so that its linear layer can be fitted anew.

At most 1 MiB: prototype scores of training clips, as many of every class and of background as of
any other, and of the chunks of noise that the bundle was held to (`export.noise_gate`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import files
from edge_probe.bundle.manifest import MAX_ROLE_BYTES
from edge_probe.bundle.replay import UNKNOWN, Replay
from edge_probe.head import Head, PrototypeHead
from edge_probe.head.vectors import steps_of, to_int16

if TYPE_CHECKING:
    from export.material import Material  # torch, which those who only read a replay do without

NOISE_BYTES = MAX_ROLE_BYTES[files.REPLAY] // 4
_HEADER_BYTES = 4096
"""Of the tensor file; it has less."""

MIN_PER_KIND = 2
"""Clips of every class and of background without which a replay is worth nothing."""


@dataclass(frozen=True, slots=True)
class ReplayClips:
    """Training clips under the head that is shipped."""

    scores: NDArray[np.int16]
    """(N, M) the highest of each clip."""
    targets: NDArray[np.float32]
    """(N, C) 1, 0 or NaN."""
    groups: Sequence[str]
    """Source recording of each."""

    @classmethod
    def of(cls, head: Head, material: "Material") -> "ReplayClips | None":
        """All training clips; None for a head without prototypes."""
        if not isinstance(head, PrototypeHead):
            return None
        steps = steps_of(head)
        scores = [
            to_int16(
                head.merge([
                    head.summarise(tokens.astype(np.float32), valid)
                    for tokens, valid in zip(clip.tokens, clip.valid, strict=True)
                    if valid.any()
                ]).scores,
                steps,
            )
            for clip in material.tokens
        ]  # fmt: skip
        groups = [clip.group for clip in material.clips]
        return cls(np.stack(scores), material.targets, groups)


def make_replay(clips: ReplayClips, noise: Sequence[NDArray[np.int16]], seed: int) -> Replay | None:
    """A replay that a bundle can hold.

    Parameters
    ----------
    clips : ReplayClips
    noise : sequence of (n_chunks, M) int16
        Sounds without any of the classes, in `NOISE_BYTES` together.
    seed : int
        Of which clips are taken where there is no room for all.

    Returns
    -------
    Replay or None
        None: the head has so many prototypes that there is no room for `MIN_PER_KIND` clips of
        every class.
    """
    n_prototypes, n_classes = clips.scores.shape[1], clips.targets.shape[1]
    runs = [np.full(len(run), number) for number, run in enumerate(noise)]
    noise_runs = np.concatenate([np.zeros(0), *runs]).astype(np.int32)
    kept_noise = np.concatenate([np.zeros((0, n_prototypes), np.int16), *noise])
    left = MAX_ROLE_BYTES[files.REPLAY] - _HEADER_BYTES - kept_noise.nbytes - noise_runs.nbytes
    room = left // (2 * n_prototypes + n_classes + 4)
    if room < MIN_PER_KIND * (n_classes + 1) and room < len(clips.groups):
        return None
    rows = balanced_rows(clips.targets, room, seed)
    _, groups = np.unique([clips.groups[row] for row in rows], return_inverse=True)
    targets = np.nan_to_num(clips.targets[rows], nan=UNKNOWN)
    return Replay(
        clips.scores[rows], targets.astype(np.int8), groups.astype(np.int32), kept_noise, noise_runs
    )


def balanced_rows(targets: NDArray[np.float32], n_most: int, seed: int) -> NDArray[np.int64]:
    """Clips of every class, and of none, in turn: at most ``n_most`` rows of (N, C), ascending."""
    rng = np.random.default_rng(seed)
    heard = np.nan_to_num(targets) > 0
    kinds = np.column_stack([heard, ~heard.any(axis=1)])
    queues = [rng.permutation(np.flatnonzero(kind)).tolist() for kind in kinds.T]
    taken: dict[int, None] = {}
    while len(taken) < n_most and any(queues):
        for queue in queues:
            while queue and queue[-1] in taken:
                queue.pop()
            if queue and len(taken) < n_most:
                taken[queue.pop()] = None
    return np.array(sorted(taken), np.int64)
