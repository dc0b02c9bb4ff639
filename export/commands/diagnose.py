"""``edge-export diagnose``: what the prototypes are worth, and why a sound was detected."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError
from export.commands.tokens import whole_number

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle
    from edge_probe.classify import ChunkAnalyser
    from export.decisions import Heard, WindowTally

log = logging.getLogger(__name__)

MIN_WINDOWS = 100
"""Windows from which on the spread of the scores tells used prototypes from unused ones."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``diagnose``."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--audio", type=Path, nargs="+", default=[], metavar="FILE",
        help="explain what is detected in these files, with a picture of each detection",
    )  # fmt: skip
    parser.add_argument("--channel", type=int, metavar="N", help="channel of the audio, from 0")
    parser.add_argument(
        "--top", type=whole_number(1, 10_000), default=1, metavar="N",
        help="pictures of the N best detections of each class (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="new folder for report.md, report.json and the pictures",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Hear, look, draw, report; a file that fails does not stop the others."""
    from edge_probe.bundle import open_bundle
    from edge_probe.classify import ChunkAnalyser
    from edge_probe.head import PrototypeHead
    from export.decisions import WindowTally, best_events, explain
    from export.diagnose import (
        DiagnosisError,
        prepare_folder,
        summary,
        write_pictures,
        write_report,
    )
    from export.prototypes import report_prototypes

    bundle = open_bundle(args.bundle)
    for warning in bundle.warnings:
        log.warning("%s", warning)
    head, report = bundle.head, None
    if not isinstance(head, PrototypeHead) and not args.audio:
        raise DiagnosisError(
            f"{bundle.name}: a mean-linear head has no prototypes to report on",
            hint="add --audio FILE to see its decisions",
        )
    prepare_folder(args.out)
    analyser, tally = ChunkAnalyser(bundle, "fast"), WindowTally(bundle)
    heard, failed = _hear_all(analyser, args.audio, args.channel)
    for found in heard:
        tally.add(found.tally)
    print(f"bundle     {bundle.id}")
    if isinstance(head, PrototypeHead):
        measured = tally.n_windows >= MIN_WINDOWS
        spread = tally.score_sd() if measured else None
        report = report_prototypes(head, spread, tally.n_windows)
        print(f"prototypes {summary(report)}")
    chosen = best_events(heard, args.top)
    decisions = [explain(analyser, found, event) for found, event in chosen]
    pictures = write_pictures(args.out, bundle, report, decisions)
    write_report(args.out, bundle, report, tally, list(zip(decisions, pictures, strict=True)))
    if heard:
        _print_decisions(heard, pictures, bundle, tally)
    print(f"report     {args.out / 'report.md'}")
    return failed


def _hear_all(
    analyser: "ChunkAnalyser", paths: Sequence[Path], channel: int | None
) -> "tuple[list[Heard], int]":
    """What was heard in the files that can be read, and the exit code the others call for."""
    from edge_probe.cli import report
    from export.decisions import hear

    heard, failed = [], 0
    for path in paths:
        try:
            heard.append(hear(analyser, path, channel))
        except EdgeProbeError as error:
            report(error)
            failed = error.exit_code
    return heard, failed


def _print_decisions(
    heard: "Sequence[Heard]", pictures: list[str], bundle: "Bundle", tally: "WindowTally"
) -> None:
    """How much was found; where that is nothing, which classes came nearest."""
    from export.diagnose import class_facts

    n_events = sum(len(found.events) for found in heard)
    print(f"decisions  {n_events} detected, {len(pictures)} drawn")
    if n_events == 0:
        nearest = ", ".join(
            f"{each['label']} {each['best_logit']:.2f} of {each['threshold']:.2f}"
            for each in class_facts(bundle, tally)[:3]
        )
        print(f"           highest logits and their thresholds: {nearest}")
