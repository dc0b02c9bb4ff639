"""Corrections and the scores that the recorder kept: what the head has to learn."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.reject import shown
from edge_probe.desk.archive import Deployment, open_archive
from edge_probe.desk.corrections import Correction, CorrectionsError
from edge_probe.desk.scores import StoredScores
from edge_probe.head import PrototypeHead
from edge_probe.head.vectors import steps_of

SAME_S = 60.0
"""Windows of the same so many seconds are never parted: they are of one song, or one shower."""

_SAYS = {"correct": 1.0, "wrong": 0.0, "other": 0.0}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Windows that somebody judged, as the head sees them."""

    scores: NDArray[np.int16]
    """(n, M) the highest of each window's chunks."""
    targets: NDArray[np.float32]
    """(n, C) 1 heard, 0 not heard, NaN: not asked, or unsure."""
    groups: Sequence[str]
    """Windows that are to be kept together."""
    n_without_scores: int
    """Windows that were left out: the recorder kept nothing of them."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """(C',) those that something was said of, ascending."""
        return np.flatnonzero(~np.isnan(self.targets).all(axis=0))


_Window = tuple[str, int, int, int, int, int, int]


def gather(
    archive: Path, corrections: Iterable[Correction], bundle: Bundle, known: Collection[str]
) -> Evidence:
    """What corrections say, with the scores of their windows.

    Parameters
    ----------
    archive : Path
        Archive, one deployment of it, or a state folder.
    corrections : iterable of Correction
        All of this bundle.
    bundle : Bundle
        With prototypes.
    known : collection of str
        sha256 of the bundle, and of what was signed of it for devices.

    Raises
    ------
    CorrectionsError
        They are of another deployment, of a class that the bundle does not have, contradict each
        other, or nothing was kept of any window.
    StateError
        The archive cannot be read.
    """
    head = bundle.head
    assert isinstance(head, PrototypeHead)  # noqa: S101  refused before
    windows = _windows(corrections, [label.text for label in bundle.labels])
    waiting = {window[0] for window in windows}
    scores, targets, groups = [], [], []
    for deployment in open_archive(archive).deployments():
        waiting.discard(deployment.id)
        stored = StoredScores(deployment, known, head.n_prototypes, steps_of(head))
        for window, said in windows.items():
            if window[0] == deployment.id:
                found = _scores_of(deployment, stored, window)
                if found is not None and not np.isnan(said).all():
                    scores.append(found)
                    targets.append(said)
                    groups.append(_group(window))
    if waiting:
        raise CorrectionsError(
            f"{archive}: expected deployment {shown(min(waiting))}, which the corrections are of,"
            " found others",
            hint="give the archive that was reviewed",
        )
    if not scores:
        raise CorrectionsError(
            f"{archive}: nothing can be learned from {len(windows)} corrected windows: none has"
            " both a verdict and scores that the recorder kept",
            hint="scores are kept since version 2 of detections.sqlite, of detections, near misses"
            " and drawn windows",
        )
    return Evidence(np.stack(scores), np.stack(targets), groups, len(windows) - len(scores))


def _windows(
    corrections: Iterable[Correction], labels: Sequence[str]
) -> dict[_Window, NDArray[np.float32]]:
    """What is said of the classes of each window."""
    numbers = {label: number for number, label in enumerate(labels)}
    windows: dict[_Window, NDArray[np.float32]] = {}
    for one in corrections:
        if one.label not in numbers:
            raise CorrectionsError(
                f"{one.where}: expected a class of the bundle, found {shown(one.label)}",
                hint="labels.txt of the bundle has them",
            )
        item = one.item
        window = (*item[:1], *item[2:7], one.rate_hz)
        said = windows.setdefault(window, np.full(len(labels), np.nan, np.float32))
        if one.verdict in _SAYS:
            _say(said, numbers[one.label], _SAYS[one.verdict], one)
        if one.other_label in numbers:  # others cannot be learned, the bundle lacks them
            _say(said, numbers[one.other_label], 1.0, one)
    return windows


def _say(said: NDArray[np.float32], number: int, value: float, one: Correction) -> None:
    if said[number] == 1 - value:
        raise CorrectionsError(
            f"{one.where}: the window at samples {one.start_sample} to {one.end_sample} is said to"
            f" hold {shown(one.other_label or one.label)} here, and not to hold it elsewhere"
            if value
            else f"{one.where}: the window at samples {one.start_sample} to {one.end_sample} is"
            f" said not to hold {shown(one.label)} here, and to hold it elsewhere",
            hint="listen again, and correct one of the two",
        )
    said[number] = value


def _scores_of(
    deployment: Deployment, stored: StoredScores, window: _Window
) -> NDArray[np.int16] | None:
    _, boot, stream, channel, begin, end, rate_hz = window
    (found,) = deployment.capture_db.execute(
        "SELECT count(*) FROM stream WHERE (stream, boot, rate_hz) = (?, ?, ?)",
        (stream, boot, rate_hz),
    ).fetchone()
    if not found:
        raise CorrectionsError(
            f"{deployment.folder}: expected stream {stream} of boot {boot} at {rate_hz} Hz, which"
            " the corrections are of, found no such",
            hint="two deployments have one id: give the archive that was reviewed",
        )
    return stored.within(stream, channel, begin, end, rate_hz)


def _group(window: _Window) -> str:
    deployment, _, stream, _, begin, _, rate_hz = window
    return f"{deployment} {stream} {int(begin / (SAME_S * rate_hz))}"
