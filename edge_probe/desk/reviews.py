"""Corrections of sampled windows as `edge_probe.desk.validation` wants them."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple

from edge_probe.bundle.reject import shown
from edge_probe.desk.archive import open_archive
from edge_probe.desk.corrections import Correction, CorrectionsError, Draw
from edge_probe.desk.rows import BundleRow
from edge_probe.desk.validation import Review


class Sample(NamedTuple):
    """Windows of one kind: a random and a stratified sample have windows of their own lengths."""

    bundle_sha256: str
    draw: Draw


def reviews_of(corrections: Iterable[Correction]) -> dict[Sample, list[Review]]:
    """Windows that were drawn; those that were shown as detections tell nothing of the others.

    A class of which no logit is stored is below any threshold there: a recorder keeps the highest
    ones of a window.

    Parameters
    ----------
    corrections : iterable of Correction

    Raises
    ------
    CorrectionsError
        Windows of one sample differ in length, or none was drawn at all.
    """
    found: dict[Sample, list[Review]] = {}
    first: dict[Sample, Correction] = {}
    n_corrections = 0
    for one in corrections:
        n_corrections += 1
        if one.probability is None:
            continue
        sample = Sample(one.bundle_sha256, one.draw)
        other = first.setdefault(sample, one)
        if _length_s(one) != _length_s(other):
            raise CorrectionsError(
                f"{one.where}: expected windows of {_length_s(other):g} s as in {other.where},"
                f" found one of {_length_s(one):g} s",
                hint="a sample has windows of one length: validate the deployments one by one",
            )
        logit = -inf if one.logit is None else one.logit
        window = one.item[:-1]
        found.setdefault(sample, []).append(
            Review(window, one.label, one.verdict, one.probability, logit)
        )
    if not found:
        raise CorrectionsError(
            f"{n_corrections} corrections, none of a window of the random or the stratified sample",
            hint="review the samples: detections tell nothing of what was missed",
        )
    return found


def thresholds_of(
    archive: Path, corrections: Iterable[Correction]
) -> Mapping[str, tuple[BundleRow, Mapping[str, float]]]:
    """Bundles that listened, by sha256, with the on-threshold of each class.

    Parameters
    ----------
    archive : Path
        Archive, one deployment of it, or a state folder.
    corrections : iterable of Correction

    Raises
    ------
    CorrectionsError
        A window that was drawn is of a deployment that is not there, or of a bundle that did not
        listen there.
    StateError
        The archive cannot be read.
    """
    known: dict[str, tuple[BundleRow, Mapping[str, float]]] = {}
    ids = set()
    for deployment in open_archive(archive).deployments():
        ids.add(deployment.id)
        for bundle in deployment.bundles():
            on = {label.label: label.threshold_on for label in bundle.labels}
            known.setdefault(bundle.sha256, (bundle, on))
    for one in corrections:
        if one.probability is None:
            continue
        if one.deployment_id not in ids:
            raise CorrectionsError(
                f"{one.where}: expected a deployment of {archive}, found"
                f" {shown(one.deployment_id)}",
                hint="give the archive that was reviewed",
            )
        if one.bundle_sha256 not in known:
            raise CorrectionsError(
                f"{one.where}: no bundle {one.bundle_sha256[:12]} listened in {archive}",
                hint="give the archive that was reviewed",
            )
    return known


def unknown_labels(reviews: Sequence[Review], labels: Mapping[str, float]) -> list[str]:
    """Classes that were reviewed and that the bundle does not have."""
    return sorted({one.label for one in reviews} - labels.keys())


def _length_s(one: Correction) -> float:
    return round((one.end_sample - one.start_sample) / one.rate_hz, 3)
