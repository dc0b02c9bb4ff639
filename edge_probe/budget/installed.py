"""Bytes on the card: the packages that the recorder needs, as they are installed here."""

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from edge_probe.errors import EdgeProbeError

MIB = 2**20

BLOCK_BYTES = 4096
"""Of ext4: a file takes whole ones."""


def on_disk(n_bytes: int) -> int:
    """What a file of so many bytes takes."""
    return -(-n_bytes // BLOCK_BYTES) * BLOCK_BYTES


def bundle_bytes(path: Path) -> int:
    """What the files of a bundle take on the card."""
    return sum(on_disk(file.stat().st_size) for file in path.iterdir())


def runtime_bytes() -> int:
    """Of edge-probe and every package that it requires, without extras; Python is the system's.

    Raises
    ------
    EdgeProbeError
        One of them is not installed.
    """
    ours = Path(__file__).parents[1]
    total = sum(on_disk(path.stat().st_size) for path in _own_files(ours))
    for distribution in required("edge-probe"):
        paths = (Path(str(file.locate())) for file in distribution.files or ())
        total += sum(on_disk(path.stat().st_size) for path in paths if path.is_file())
    return total


def _own_files(package: Path) -> Iterator[Path]:
    """All but what other versions of Python compiled."""
    tag = sys.implementation.cache_tag
    for path in package.rglob("*"):
        if path.is_file() and (path.suffix != ".pyc" or path.name.endswith(f".{tag}.pyc")):
            yield path


def required(name: str, seen: set[str] | None = None) -> Iterator[metadata.Distribution]:
    """What a package requires, and what that requires, each once.

    Parameters
    ----------
    name : str
    seen : set of str, optional
        Names that were met; they are left out, and more are added.

    Raises
    ------
    EdgeProbeError
        One of them is not installed.
    """
    seen = set() if seen is None else seen
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        other = requirement.name.lower().replace("_", "-")
        if other in seen or not _applies(requirement):
            continue
        seen.add(other)
        try:
            yield metadata.distribution(other)
        except metadata.PackageNotFoundError as error:
            raise EdgeProbeError(
                f"the package {other} is not installed",
                hint="pip install . in the folder of edge-probe",
            ) from error
        yield from required(other, seen)


def _applies(requirement: Requirement) -> bool:
    """To this system and version, without extras."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
