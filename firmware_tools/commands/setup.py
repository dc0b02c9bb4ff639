"""``edge-firmware setup``: take over what was put onto this device from outside."""

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``setup``: none."""
    parser.epilog = "exit code 1: something was not taken over; the device is as it was"


def run(args: argparse.Namespace) -> int:
    """Take over, and say what."""
    from edge_probe.errors import StateError
    from firmware_tools.layout import Layout
    from firmware_tools.stage.site import damaged_store, look

    layout = Layout()
    if not layout.config.is_dir():
        raise StateError(
            f"{layout.config}: no such folder", hint="is this a device? see edge-firmware stage"
        )
    has_bundle = (layout.slots / "current" / "manifest.json").exists()
    has_trust = layout.trust.exists() and damaged_store(layout.trust) is None
    has_all = has_bundle and has_trust and layout.settings.exists()
    if has_all and look(layout).is_known:
        return 0  # of most boots
    from firmware_tools.stage.setup import setup

    os.umask(0o022)  # the recorder has to read it
    outcomes = setup(layout)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1
