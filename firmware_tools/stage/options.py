"""Settings of the recorder: whether a device can live with them."""

import tomllib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from edge_probe.errors import EdgeProbeError
from firmware_tools.layout import Layout

BUNDLE = Layout().slots / "current"


def read_options(path: Path) -> Namespace:
    """What a settings file says.

    Raises
    ------
    EdgeProbeError
    """
    try:
        found = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise EdgeProbeError(f"{path}: not TOML: {error}") from None
    return Namespace(**({"rate": None, "bundle": None, "private": []} | found))


def check_options(options: Namespace, where: str, labels: Sequence[str]) -> None:
    """Refuse what the recorder would refuse on the device, or take as a reason not to record.

    Raises
    ------
    EdgeProbeError
    """
    if options.bundle is not None and Path(options.bundle) != BUNDLE:
        raise EdgeProbeError(
            f"{where}: bundle: expected {BUNDLE}, found {options.bundle}",
            hint="bundles are installed there and changed there",
        )
    for label in options.private:
        if label not in labels:
            raise EdgeProbeError(f"{where}: private: {label!r} is no label of the bundle")
