"""The wheel of edge-probe itself, built from its sources, the same bytes every time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import edge_probe
import firmware_tools
from edge_probe.errors import EdgeProbeError
from firmware_tools.stage.lock import locked_tool
from firmware_tools.stage.plan import TIME_S
from firmware_tools.stage.wheelhouse import collect

_PARTS = ("pyproject.toml", "setup.py", "LICENSE", "README.md", "edge_probe", "export",
          "firmware_tools")  # fmt: skip
_IGNORED = shutil.ignore_patterns("__pycache__", "*.so", "*.so.part", "*.egg-info")


def own_wheel(architecture: str, wheels: Path, into: Path) -> Path:
    """Build it, with the kernels in C where there is a compiler for the architecture.

    Parameters
    ----------
    architecture : str
        As ``uname -m`` tells it.
    wheels : Path
        Folder of wheels: has what builds, or gets it; where there are no sources, it has ours.
    into : Path
        Folder that gets it.

    Raises
    ------
    EdgeProbeError
        There are no sources and no wheel, or it cannot be built.
    """
    if (folder := sources()) is None:
        return _ready_made(architecture, wheels)
    (setuptools,) = collect([locked_tool("setuptools")], None, wheels)
    with TemporaryDirectory() as work:
        copy, links = Path(work, "source"), Path(work, "links")
        _copy(folder, copy)
        links.mkdir()
        shutil.copy(setuptools, links)
        _build(copy, links, _environment(architecture), into)
    (path,) = into.glob("edge_probe-*.whl")
    return path


def sources() -> Path | None:
    """The folder that this package runs from, if all that makes a wheel lies there."""
    folder = Path(firmware_tools.__file__).parents[1]
    return folder if all((folder / part).exists() for part in _PARTS) else None


def has_kernels(wheel: Path) -> bool:
    """Whether the head is computed in C; if not, by NumPy."""
    return not wheel.name.endswith("-none-any.whl")


def _environment(architecture: str) -> dict[str, str]:
    """What `setup.py` reads."""
    compiler = f"{architecture}-linux-gnu-gcc"
    if shutil.which(compiler) is None:
        return {"EDGE_PROBE_NO_NATIVE": "1"}
    return {"CC": compiler, "EDGE_PROBE_PLATFORM": f"manylinux_2_17_{architecture}"}


def _copy(folder: Path, copy: Path) -> None:
    """With modes that no umask had a say in: the wheel keeps them."""
    copy.mkdir()
    for part in _PARTS:
        if (folder / part).is_dir():
            shutil.copytree(folder / part, copy / part, ignore=_IGNORED)
        else:
            shutil.copyfile(folder / part, copy / part)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _build(copy: Path, links: Path, environment: dict[str, str], into: Path) -> None:
    """With the setuptools in the folder of links and nothing else of this machine."""
    kept = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("EDGE_PROBE_", "PIP_", "PYTHON")) and name not in ("CC", "CFLAGS")
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-index", "--find-links", str(links), "-w", str(into), str(copy)],
        env={**kept, **environment, "SOURCE_DATE_EPOCH": str(TIME_S), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=0o022, check=False,
    )  # fmt: skip
    if done.returncode:
        raise EdgeProbeError(
            "the wheel of edge-probe could not be built: "
            + (done.stderr.strip().splitlines() or ["no reason given"])[-1],
            hint="make wheels shows more; libc6-dev-arm64-cross has the headers for AArch64",
        )


def _ready_made(architecture: str, wheels: Path) -> Path:
    version = edge_probe.__version__
    endings = (f"manylinux_2_17_{architecture}", "any")
    for ending in endings:
        path = wheels / f"edge_probe-{version}-py3-none-{ending}.whl"
        if path.is_file():
            return path
    raise EdgeProbeError(
        f"edge-probe {version} is installed here without its sources, and {wheels} has no wheel of"
        f" it for {architecture}",
        hint="make wheels in the sources, and --wheels DIR with it and the others in DIR",
    )
