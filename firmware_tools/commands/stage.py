"""``edge-firmware stage``: everything a device needs, as one thing to carry."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``stage``."""
    from firmware_tools.profile import names
    from firmware_tools.stage.plan import FORMS

    parser.add_argument("bundle", type=Path, metavar="SIGNED.epb", help="that sign wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument(
        "--profile", required=True, metavar="BOARD", help=f"one of: {', '.join(names())}"
    )
    parser.add_argument(
        "--form", required=True, choices=FORMS,
        help="root of a file system, Debian package, or file system of the data partition",
    )  # fmt: skip
    parser.add_argument(
        "--settings", type=Path, metavar="FILE.toml", help="options of edge-probe run"
    )
    parser.add_argument(
        "--deployment", type=Path, metavar="FILE.toml", help="who, where, with what"
    )
    parser.add_argument(
        "--trust", type=Path, metavar="trust.json", help="whom the device shall trust"
    )
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR",
        help="where wheels are looked for and kept (default: a folder of your cache)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan; write nothing but wheels to DIR"
    )
    parser.epilog = "exit code 1: it cannot work on this board, or something is not good"


def run(args: argparse.Namespace) -> int:
    """Check, plan, judge, write."""
    from firmware_tools.profile import load_profile
    from firmware_tools.stage.cargo import checked
    from firmware_tools.stage.output import check_out, planned, write
    from firmware_tools.stage.wheelhouse import default_folder

    profile = load_profile(args.profile)
    check_out(args.out)
    with checked(
        args.bundle, profile, trust=args.trust, settings=args.settings, deployment=args.deployment
    ) as cargo:
        for why in cargo.verdict.refusals:
            print(f"CANNOT WORK: {why}", file=sys.stderr)
        if not cargo.verdict.fits:
            return 1
        with planned(cargo, profile, args.form, args.wheels or default_folder()) as staging:
            print("\n".join(staging.lines()))
            if not args.dry_run:
                write(staging, args.out)
                print(f"{args.out / staging.name}: written")
    return 0
