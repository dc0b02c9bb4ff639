"""``edge-export refit``: corrections in, a better bundle out, without any audio."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.refit.refit import Candidate

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``refit``."""
    parser.add_argument("bundle", type=Path, help="that listened; as edge-export wrote it")
    parser.add_argument("archive", type=Path, help="archive, or a state folder, that was reviewed")
    parser.add_argument("corrections", type=Path, nargs="+", help="files that the report saved")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="NEW_BUNDLE",
        help="folder to be made; nothing is overwritten",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of folds (default 0)")


def run(args: argparse.Namespace) -> int:
    """Learn, show before and after, refuse what is worse, write, prove."""
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.trust import DEVELOPMENT
    from edge_probe.bundle.writer import refuse_existing
    from edge_probe.desk.corrections import read_corrections

    refuse_existing(args.out)
    parent = open_bundle(args.bundle, trusted=[DEVELOPMENT])
    corrections = read_corrections(args.corrections)

    from export.refit.refit import learn, refuse_if_worse, write  # scikit-learn: seconds

    candidate = learn(parent, args.archive, corrections, args.seed)
    if not candidate.has_replay:
        _log.warning(
            "%s carries no scores of its training: what nobody corrected may be forgotten, and "
            "noise cannot be looked at", parent.name,
        )  # fmt: skip
    _show(candidate)
    refuse_if_worse(candidate)
    bundle = write(candidate, args.out)
    print(f"bundle    {bundle.id}  ({args.out}), release {candidate.release}")
    print(f"parent    {parent.id}")
    return 0


def _show(candidate: "Candidate") -> None:
    evidence = candidate.evidence
    if evidence.n_without_scores:
        _log.warning(
            "%d corrected windows are left out: no verdict, or no scores were kept of them",
            evidence.n_without_scores,
        )
    print(f"learned   from {len(evidence.scores)} windows; held out, before -> after:")
    for one in candidate.results:
        ap = "AP needs both kinds"
        if one.ap_before is not None and one.ap_after is not None:
            ap = f"AP {100 * one.ap_before:5.1f} -> {100 * one.ap_after:5.1f}"
        n = one.n_present + one.n_absent
        print(
            f"          {one.label}: {one.n_present} heard, {one.n_absent} not; {ap};"
            f" decided rightly {one.right_before} -> {one.right_after} of {n}"
        )
