"""``edge-firmware trial``: until the bundle is confirmed, or taken back."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``trial``."""
    parser.epilog = "exit code 1: it was taken back"


def run(args: argparse.Namespace) -> int:
    """Watch, decide, print."""
    from firmware_tools.layout import Layout
    from firmware_tools.slots.service import Service
    from firmware_tools.slots.trial import Tryout
    from firmware_tools.stage.site import SUFFIX, look

    layout = Layout()
    outcome = Tryout(layout, Service(), spares=lambda: look(layout).all(SUFFIX)).run()
    if outcome is None:
        print("nothing is on trial")
        return 0
    print(f"{outcome.bundle}, release {outcome.release}: {outcome.result}: {outcome.reason}")
    return 0 if outcome.result == "confirmed" else 1
