"""Opens a bundle in a process of its own and tells what it is; arguments: BUNDLE TRUST.

JSON on stdout: `Opened`, or ``error`` and ``hint`` of a bundle that was refused.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle that passed every check."""

    id: str
    release: int
    signed_by: str
    """Role and id of the key."""
    warnings: tuple[str, ...]


def main() -> None:
    """Open it with the keys of a trust store, or with the development key where there is none."""
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.trust import DEVELOPMENT, read_store
    from edge_probe.errors import EdgeProbeError

    path, store = map(Path, sys.argv[1:])
    try:
        trusted = read_store(store) if os.path.lexists(store) else (DEVELOPMENT,)
        bundle = open_bundle(path, trusted=trusted)
    except EdgeProbeError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))  # noqa: T201
        return
    key = bundle.signed_by.description
    opened = Opened(bundle.id, bundle.manifest.release, key, bundle.warnings)
    print(json.dumps(asdict(opened)))  # noqa: T201
