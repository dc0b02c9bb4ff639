"""Opens a bundle in a process of its own and tells what it is: ``opener.py BUNDLE TRUST``.

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
    is_development: bool
    """Whether everybody has the key."""
    chunk_s: float
    warnings: tuple[str, ...]


def main() -> int:
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
        return 0
    opened = Opened(
        bundle.id, bundle.manifest.release, bundle.signed_by.description,
        bundle.signed_by == DEVELOPMENT, bundle.encoder.chunk_s, bundle.warnings,
    )  # fmt: skip
    print(json.dumps(asdict(opened)))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
