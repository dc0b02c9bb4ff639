"""Which wheels go onto a device: exact versions and sums, for each processor and Python.

``python -m firmware_tools.stage.lock constraints.txt`` writes the lists anew (network).
"""

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from firmware_tools.stage.wheelhouse import Target, download

FOLDER = Path(__file__).with_name("files") / "locks"

TOOLS = "tools"
"""List of what installs on the device (pip), and what builds our own wheel (setuptools)."""

PYTHONS = ("3.11", "3.13")
"""Of Debian 12 and 13, and of Raspberry Pi OS with them."""

ARCHITECTURES = ("aarch64", "x86_64")

_LINE = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Locked:
    """A wheel of which every byte is known."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def read_lock(path: Path) -> tuple[Locked, ...]:
    """A list as pip reads it with ``--require-hashes``; one line for each wheel.

    Raises
    ------
    ValueError
        A line is something else: the package is damaged.
    """
    lines = path.read_text("utf-8").splitlines()
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise ValueError(f"{path}: expected NAME==VERSION --hash=sha256:SUM, found {line}")
            found.append(Locked(*match.groups()))
    return tuple(found)


def lock_of(target: Target | str) -> tuple[Locked, ...]:
    """The list for one processor and Python, or that of the tools."""
    return read_lock(FOLDER / f"{target}.txt")


def locked_tool(name: str) -> Locked:
    """The wheel of pip or setuptools."""
    return next(one for one in lock_of(TOOLS) if one.name == name)


def pinned(constraints: Path) -> dict[str, str]:
    """Name to version of a constraints file; names as PyPI compares them."""
    lines = (line.partition("==") for line in constraints.read_text("utf-8").splitlines())
    return {plain(name): version for name, sign, version in lines if sign}


def plain(name: str) -> str:
    """A name as PyPI compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def make_lock(wanted: Sequence[str], target: Target | None) -> str:
    """Download what is wanted and say what it was.

    Parameters
    ----------
    wanted : sequence of str
        ``NAME==VERSION``.
    target : Target or None
        None: for this machine, anywhere.
    """
    lines = []
    with TemporaryDirectory() as folder:
        download(wanted, target, Path(folder), hashed=False)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.name.lower()):
            name, version = path.name.split("-")[:2]
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(str(Locked(plain(name), version, sha256)))
    where = target or "any machine"
    return "\n".join([f"# {where}: python -m firmware_tools.stage.lock", *lines, ""])


def main() -> None:
    """Write every list anew, with the versions of a constraints file."""
    from edge_probe.budget.installed import required

    pins = pinned(Path(sys.argv[1]))
    names = sorted({plain(one.metadata["Name"]) for one in required("edge-probe")})
    wanted = [f"{name}=={pins[name]}" for name in names]
    for architecture in ARCHITECTURES:
        for python in PYTHONS:
            target = Target(architecture, python)
            (FOLDER / f"{target}.txt").write_text(make_lock(wanted, target), "utf-8")
    tools = [f"pip=={locked_tool('pip').version}", f"setuptools=={pins['setuptools']}"]
    (FOLDER / f"{TOOLS}.txt").write_text(make_lock(tools, None), "utf-8")


if __name__ == "__main__":
    main()
