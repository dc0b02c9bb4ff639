"""Replay: what of its training a bundle carries, so that it can go on learning without audio."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import files
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.tensor_file import EXPORT_AGAIN, Layout, check, check_range, pack, unpack

UNKNOWN = -1
"""A target: nobody said whether the clip holds the class."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Prototype scores of training clips, with what is known of them, and of noise.

    Scores are integers as in `edge_probe.head.vectors`, with the steps of the bundle's head.
    """

    scores: NDArray[np.int16]
    """(n, M) the highest of each clip."""
    targets: NDArray[np.int8]
    """(n, C) 1 heard, 0 not heard, `UNKNOWN`."""
    groups: NDArray[np.int32]
    """(n,) clips of one source recording have one number."""
    noise: NDArray[np.int16]
    """(n_chunks, M) of the chunks of sounds that hold none of the classes, in order."""
    noise_runs: NDArray[np.int32]
    """(n_chunks,) which sound, ascending from 0."""


def pack_replay(replay: Replay) -> bytes:
    """Content of ``replay.safetensors``."""
    return pack({
        "scores": replay.scores, "targets": replay.targets, "groups": replay.groups,
        "noise": replay.noise, "noise_runs": replay.noise_runs,
    })  # fmt: skip


def parse_replay(data: bytes, n_prototypes: int, n_classes: int, steps: int) -> Replay:
    """The replay of a bundle.

    Parameters
    ----------
    data : bytes
        Content of ``replay.safetensors``, its hash already checked.
    n_prototypes, n_classes : int
        M and C.
    steps : int
        Of the bundle's head; no score is larger.

    Raises
    ------
    RejectedBundleError
    """
    found = unpack(files.REPLAY, data)
    n_clips, n_chunks = (
        len(found[name]) if name in found and found[name].ndim else 0
        for name in ("groups", "noise_runs")
    )
    layout: Layout = {
        "scores": (np.int16, (n_clips, n_prototypes)),
        "targets": (np.int8, (n_clips, n_classes)),
        "groups": (np.int32, (n_clips,)),
        "noise": (np.int16, (n_chunks, n_prototypes)),
        "noise_runs": (np.int32, (n_chunks,)),
    }
    arrays = check(files.REPLAY, found, layout)
    if not n_clips:
        reject(
            Rejection.TENSOR_SHAPE, f"{files.REPLAY}: expected a clip at least, found none",
            hint=EXPORT_AGAIN,
        )  # fmt: skip
    for name in ("scores", "noise"):
        values = arrays[name]
        inside = not values.size or (values.min() >= -steps and values.max() <= steps)
        check_range(files.REPLAY, name, inside, f"integers from -{steps} to {steps}")
    known = np.isin(arrays["targets"], (1, 0, UNKNOWN)).all()
    check_range(files.REPLAY, "targets", known, f"1, 0 or {UNKNOWN}")
    check_range(files.REPLAY, "groups", arrays["groups"].min() >= 0, "numbers from 0")
    runs = arrays["noise_runs"]
    follow = not n_chunks or (runs[0] == 0 and bool(np.isin(np.diff(runs), (0, 1)).all()))
    check_range(files.REPLAY, "noise_runs", follow, "numbers that count from 0")
    return Replay(**arrays)
