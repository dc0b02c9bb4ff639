"""``edge-firmware estimate``: what a bundle will cost a board."""

import argparse
import json
from pathlib import Path

from edge_probe.commands.bench import DEFAULT_RATE_HZ


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``estimate``."""
    from firmware_tools.profile import names

    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--profile", required=True, metavar="BOARD", help=f"one of: {', '.join(names())}"
    )
    parser.add_argument(
        "--rate", type=int, default=DEFAULT_RATE_HZ, metavar="HZ",
        help="of the microphone, one channel of 16 bits (default %(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--card", type=float, metavar="GB", help="size of the card (default: the profile's)"
    )
    parser.add_argument("--json", action="store_true", help="for edge-firmware compare")
    parser.epilog = "exit code 1: it cannot work on this board"


def run(args: argparse.Namespace) -> int:
    """Estimate, print, judge."""
    from edge_probe.budget.figure import lines
    from edge_probe.budget.trial import run_trial
    from edge_probe.bundle import open_bundle
    from firmware_tools.estimate import estimate
    from firmware_tools.profile import load_profile, with_card
    from firmware_tools.verdict import judge

    profile = load_profile(args.profile)
    if args.card is not None:
        profile = with_card(profile, args.card)
    bundle = open_bundle(args.bundle)
    sheet = estimate(bundle, run_trial(args.bundle), profile, args.rate)
    verdict = judge(sheet, profile)
    if args.json:
        judged = {"refusals": verdict.refusals, "warnings": verdict.warnings}
        print(json.dumps(sheet.to_json() | {"verdict": judged}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(sheet)))
        for why in verdict.refusals:
            print(f"CANNOT WORK: {why}")
        for why in verdict.warnings:
            print(f"MAY NOT WORK: {why}")
    return 0 if verdict.fits else 1
