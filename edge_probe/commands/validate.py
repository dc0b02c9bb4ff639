"""``edge-probe validate``: how good detections are, from sampled windows that people judged."""

import argparse
import sys
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import between

if TYPE_CHECKING:
    from edge_probe.desk.validation import Share, Validation

HEADER: tuple[str, ...] = (
    "label", "reviewed", "present", "unsure", "threshold", "precision", "(95 %)", "recall",
    "(95 %)", "threshold for",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``validate``."""
    parser.add_argument("archive", type=Path, help="archive, or a state folder, that was reviewed")
    parser.add_argument("corrections", type=Path, nargs="+", help="files that the report saved")
    parser.add_argument(
        "--precision", type=between(0, 1), default=0.9, metavar="P",
        help="which threshold is as precise as this, with 95 %% certainty (default 0.9)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """One table for each bundle and sample."""
    from edge_probe.bundle.reject import shown
    from edge_probe.desk.corrections import CorrectionsError, read_corrections
    from edge_probe.desk.reviews import reviews_of, thresholds_of, unknown_labels
    from edge_probe.desk.validation import threshold_for, validate

    corrections = read_corrections(args.corrections)
    samples = reviews_of(corrections)
    bundles = thresholds_of(args.archive, corrections)
    for sample, reviews in sorted(samples.items()):
        bundle, on = bundles[sample.bundle_sha256]
        if unknown := unknown_labels(reviews, on):
            raise CorrectionsError(
                f"expected classes of {bundle.id}, found {shown(unknown[0])}",
                hint="give the archive that was reviewed",
            )
        print(f"{bundle.id}, {sample.draw} sample")
        lines = [HEADER]
        for one in validate(reviews, on):
            wanted = threshold_for(reviews, one.label, args.precision)
            lines.append(_line(one, wanted))
        _print_table(lines, args.precision)
        silent = sorted(on.keys() - {one.label for one in reviews})
        if silent:
            print(f"not reviewed: {', '.join(silent)}", file=sys.stderr)
    return 0


def _line(one: "Validation", wanted: float | None) -> tuple[str, ...]:
    return (
        one.label, str(one.n_reviewed), str(one.n_present), str(one.n_unsure),
        f"{one.threshold:.3f}", *_told(one.precision), *_told(one.recall),
        "not shown" if wanted is None else "any" if wanted == -inf else f"{wanted:.3f}",
    )  # fmt: skip


def _told(share: "Share") -> tuple[str, str]:
    estimate = "-" if share.estimate is None else f"{share.estimate:.3f}"
    return estimate, f"{share.low:.3f}..{share.high:.3f}"


def _print_table(lines: list[tuple[str, ...]], precision: float) -> None:
    head, *rows = lines
    lines = [(*head[:-1], f"{head[-1]} {precision:g}"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join((line[0].ljust(widths[0]), *cells)))
