"""A bundle and what people said of its detections in; a better bundle out, or a reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.bundle.reader import read_replay
from edge_probe.bundle.replay import UNKNOWN, Replay
from edge_probe.bundle.schema import Json
from edge_probe.bundle.tensors import Calibration
from edge_probe.bundle.transport import release_of
from edge_probe.bundle.writer import derive_bundle
from edge_probe.desk.corrections import Correction, refuse_other_bundles
from edge_probe.errors import BundleError, EdgeProbeError
from edge_probe.head import PrototypeHead
from edge_probe.head.vectors import from_int16, steps_of
from export.noise_gate import NoiseGateError
from export.refit.evidence import Evidence, gather
from export.refit.judge import (
    ClassResult,
    as_quiet_as,
    chance_of,
    compare,
    held_out_logits,
    noise_counts,
    noise_logits,
)
from export.refit.layer import Examples, Rows, fit_rows, with_rows
from export.refit.operating_point import operating_point

_OF_PARENT = ("noise", "held_out_map", "held_out_accuracy")
"""Facts of a training that are not true of a bundle with another linear layer."""

BY_CHANCE = 1.645
"""Standard errors that a difference is below 0 by once in twenty times, if there is none.

One standard error refused 3 of 48 candidates (`layer.MOVES_BY` says of which), and all three would
have ranked other songs better; none of the three that ranked them worse was among them.
"""


class WorseError(EdgeProbeError):
    """What was learned makes the bundle worse where it was not told."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would become of a bundle."""

    parent: Bundle
    release: int
    """Higher than that of the parent, as devices know it."""
    head: PrototypeHead
    calibration: Calibration
    results: Sequence[ClassResult]
    evidence: Evidence
    n_corrections: int
    chance: float
    """Standard error of the difference of `ap`, over corrections drawn again and again."""
    has_replay: bool
    """Whether there was more to learn from than corrections."""

    def ap(self) -> tuple[float, float] | None:
        """Mean average precision on held-out corrections, before and after.

        None: no class has corrections of both kinds.
        """
        pairs = [(one.ap_before, one.ap_after) for one in self.results]
        judged = [(b, a) for b, a in pairs if b is not None and a is not None]
        if not judged:
            return None
        before, after = np.mean(judged, axis=0)
        return float(before), float(after)

    def right(self) -> tuple[int, int]:
        """Corrections that thresholds decide as the reviewer did, before and after."""
        return (
            sum(one.right_before for one in self.results),
            sum(one.right_after for one in self.results),
        )


def learn(
    parent: Bundle, archive: Path, corrections: Sequence[Correction], seed: int = 0
) -> Candidate:
    """Fit the linear layer and the operating point of the classes that corrections speak of.

    Rows, thresholds and calibration of all other classes stay, to the bit.

    Parameters
    ----------
    parent : Bundle
    archive : Path
        Where the corrected windows were recorded.
    corrections : sequence of Correction
    seed : int
        Of folds: the same seed gives the same candidate.

    Raises
    ------
    EdgeProbeError
        The head has no prototypes, or there is nothing to learn from or to judge by.
    """
    head, replay = parent.head, read_replay(parent)
    if not isinstance(head, PrototypeHead):
        raise BundleError(
            f"{parent.path}: expected a head with prototypes, found {head.kind}",
            hint="of such a head no scores are kept: fit it anew, with the corrected clips",
        )
    known = _known(parent, corrections)
    evidence = gather(archive, corrections, parent, known)
    examples = _examples(head, evidence, replay)
    classes = evidence.classes
    start = Rows.of(head.linear, classes)
    held_out = held_out_logits(head, start, examples, seed)
    if held_out is None:
        raise WorseError(
            f"nothing of {len(evidence.scores)} corrected windows can be held out to see whether it"
            " helps: they are too few, or all of one minute",
            hint="correct more windows, of other times, too",
        )
    fitted = fit_rows(start, examples, np.arange(len(examples)))
    new = replace(head, linear=with_rows(head.linear, fitted))  # type: ignore[type-var]
    rows = Rows.of(new.linear, classes)
    background = rows.logits(examples.scores[(examples.targets == 0).all(axis=1)])
    calibration = operating_point(parent, classes, examples.targets, held_out, background)
    if replay is not None:
        calibration = as_quiet_as(parent, replay, new, calibration, classes)
    before = start.logits(examples.scores)
    results = compare(
        parent, examples, classes,
        (before, parent.threshold_on[classes]), (held_out, calibration.threshold_on[classes]),
    )  # fmt: skip
    release = max(known.values()) + 1
    return Candidate(
        parent, release, new, calibration, results, evidence, len(corrections),
        chance_of(examples, classes, before, held_out, seed), replay is not None,
    )  # fmt: skip


def refuse_if_worse(candidate: Candidate) -> None:
    """See that a candidate is no worse than its parent, on held-out corrections and on noise.

    Raises
    ------
    WorseError
        It ranks held-out corrections worse, by more than chance would, or, where no class has
        both kinds, decides fewer of them rightly.
    NoiseGateError
        A class fires on noise more often, whatever its threshold.
    """
    ap, (right_before, right_after) = candidate.ap(), candidate.right()
    by_chance = BY_CHANCE * candidate.chance
    if ap is not None and ap[1] < ap[0] - by_chance:
        raise WorseError(
            f"on held-out corrections mean average precision falls from {100 * ap[0]:.1f} to"
            f" {100 * ap[1]:.1f}, by more than the {100 * by_chance:.1f} that chance may do",
            hint="correct more windows of these classes, both right and wrong ones",
        )
    if ap is None and right_after < right_before:
        raise WorseError(
            f"of held-out corrections {right_after} are decided rightly, {right_before} were",
            hint="correct more windows of these classes, both right and wrong ones",
        )
    parent, replay = candidate.parent, read_replay(candidate.parent)
    if replay is None or not len(replay.noise):
        return
    old_head = parent.head
    assert isinstance(old_head, PrototypeHead)  # noqa: S101  `learn` refused others
    was = Calibration(parent.threshold_on, parent.threshold_off, None)
    old = noise_counts(parent, noise_logits(parent, old_head, replay), was)
    new = noise_counts(parent, noise_logits(parent, candidate.head, replay), candidate.calibration)
    hours = len(replay.noise) * parent.encoder.chunk_s / 3600
    louder = [number for number in sorted(new) if new[number] > old[number]]
    if louder:
        told = "; ".join(
            f"{parent.labels[number].text} {new[number] / hours:.1f} times per hour instead of"
            f" {old[number] / hours:.1f}"
            for number in louder
        )
        raise NoiseGateError(
            f"in {hours:.2f} h of noise it fires more often: {told}",
            hint="say wrong of some windows of noise, or correct more windows that hold the class",
        )


def write(candidate: Candidate, out: Path) -> Bundle:
    """Write a candidate as a bundle of its own.

    Raises
    ------
    BundleError
        Something is there already, or the parent changed meanwhile.
    """
    parent = candidate.parent
    facts = {k: v for k, v in parent.manifest.training.items() if k not in _OF_PARENT}
    refit: dict[str, Json] = {
        "corrections": candidate.n_corrections,
        "windows": len(candidate.evidence.scores),
        "held_out_ap": {
            one.label: [ap and round(ap, 4) for ap in (one.ap_before, one.ap_after)]
            for one in candidate.results
        },
    }
    return derive_bundle(
        parent,
        out,
        created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        head=candidate.head,
        calibration=candidate.calibration,
        training={**facts, "parent": parent.sha256, "refit": refit},
        release=candidate.release,
    )


def _known(parent: Bundle, corrections: Sequence[Correction]) -> dict[str, int]:
    """sha256 of the parent, and of its releases that the corrections are of, with the release."""
    known = {parent.sha256: parent.manifest.release}
    for sha256 in {one.bundle_sha256 for one in corrections}:
        release = release_of(parent, sha256)
        if release is not None:
            known[sha256] = release
    refuse_other_bundles(corrections, known)
    return known


def _examples(head: PrototypeHead, evidence: Evidence, replay: Replay | None) -> Examples:
    scores, targets = evidence.scores, evidence.targets
    groups = list(evidence.groups)
    n_replayed = 0
    if replay is not None:
        heard = replay.targets.astype(np.float32)
        heard[replay.targets == UNKNOWN] = np.nan
        scores = np.concatenate([replay.scores, scores])
        targets = np.concatenate([heard, targets])
        groups = [f"training {group}" for group in replay.groups] + groups
        n_replayed = len(replay.groups)
    ours: NDArray[np.bool_] = np.arange(len(scores)) >= n_replayed
    return Examples(from_int16(scores, steps_of(head)), targets, groups, ours)
