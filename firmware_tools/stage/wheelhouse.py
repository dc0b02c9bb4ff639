"""A folder of wheels: what is asked for is looked up by its sum, and downloaded where missing."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError

if TYPE_CHECKING:
    from firmware_tools.stage.lock import Locked

_OLDEST_GLIBC, _NEWEST_GLIBC = 17, 36
"""manylinux_2_N: what numpy began with, and what Debian 12 has."""


@dataclass(frozen=True, slots=True)
class Target:
    """A processor and a Python that wheels are for."""

    architecture: str
    """As ``uname -m`` tells it."""
    python: str
    """``3.11``."""

    def __str__(self) -> str:
        return f"{self.architecture}-{self.python}"

    def pip_options(self) -> list[str]:
        """What makes pip choose for this target and not for the machine it runs on."""
        plain = self.python.replace(".", "")
        versions = range(_OLDEST_GLIBC, _NEWEST_GLIBC + 1)
        platforms = [f"manylinux_2_{n}_{self.architecture}" for n in versions]
        platforms.append(f"manylinux2014_{self.architecture}")
        abis = (f"cp{plain}", "abi3", "none")
        return [
            "--implementation=cp", f"--python-version={plain}",
            *(f"--abi={abi}" for abi in abis), *(f"--platform={one}" for one in platforms),
        ]  # fmt: skip


def default_folder() -> Path:
    """Where wheels are kept between calls."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return cache / "edge-probe" / "wheels"


def collect(wanted: Iterable["Locked"], target: Target | None, folder: Path) -> list[Path]:
    """The wheels of a list, from the folder; those it lacks are downloaded into it.

    Parameters
    ----------
    wanted : iterable of Locked
    target : Target or None
        What pip chooses by; None: pure Python, for this machine too.
    folder : Path
        Made where it is missing.

    Returns
    -------
    list of Path
        In the order of the list. Every byte was compared with the list.

    Raises
    ------
    EdgeProbeError
        One is missing and cannot be downloaded.
    OSError
        The folder cannot be read or written.
    """
    wanted = list(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    missing = _missing(wanted, _by_sum(folder))
    if missing:
        with TemporaryDirectory(dir=folder, prefix=".download-") as fresh:
            download([str(one) for one in missing], target, Path(fresh), hashed=True)
            for path in Path(fresh).iterdir():
                path.replace(folder / path.name)
    found = _by_sum(folder)
    if missing := _missing(wanted, found):
        names = ", ".join(f"{one.name} {one.version}" for one in missing)
        raise EdgeProbeError(
            f"{folder}: expected wheels of {names} with the listed sums, found none",
            hint="empty the folder and try again with network",
        )
    return [found[one.sha256] for one in wanted]


def download(
    requirements: Sequence[str], target: Target | None, folder: Path, *, hashed: bool
) -> None:
    """Let pip download wheels, without what they depend on.

    Raises
    ------
    EdgeProbeError
        pip is missing, or did not get all of them.
    """
    options = target.pip_options() if target else []
    if hashed:
        options.append("--require-hashes")
    listed = folder / "wanted.txt"
    listed.write_text("\n".join(requirements) + "\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--only-binary=:all:", "--no-deps", *options, "-d", str(folder), "-r", str(listed)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    listed.unlink()
    if done.returncode:
        raise EdgeProbeError(
            f"pip could not download the wheels for {target or 'any machine'}: "
            + (done.stderr.strip().splitlines() or ["no reason given"])[-1],
            hint="go online once, or name a folder that has them: --wheels DIR",
        )


def _by_sum(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.glob("*.whl"))
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}


def _missing(wanted: Iterable["Locked"], found: dict[str, Path]) -> list["Locked"]:
    return [one for one in wanted if one.sha256 not in found]
