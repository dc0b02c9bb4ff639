"""``edge-firmware install``: a signed bundle into the idle slot, and on trial."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``install``."""
    parser.add_argument("source", type=Path, metavar="NAME.epb")
    parser.add_argument(
        "--again", action="store_true", help="even if it was refused on this device before"
    )


def run(args: argparse.Namespace) -> int:
    """Install, and let the trial's unit see to the rest."""
    from firmware_tools.layout import Layout
    from firmware_tools.slots.install import install
    from firmware_tools.slots.service import Service

    service = Service()
    done = install(args.source, Layout(), service, again=args.again)
    what = f"{done.bundle}, release {done.release}"
    if not done.on_trial:
        print(f"{what}: already in use")
        return 0
    service.start_trial()
    print(f"{what}: on trial in slot {done.slot}{'' if done.is_new else ' already'}")
    print("edge-firmware slots shows how it goes")
    return 0
