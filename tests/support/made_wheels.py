"""Wheels that are made in a moment, and the lists that name them: a device without PyPI."""

import base64
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Mapping
from pathlib import Path

import edge_probe
from firmware_tools.stage import lock
from firmware_tools.stage.lock import ARCHITECTURES, PYTHONS, Locked
from firmware_tools.stage.wheelhouse import Target

DEPENDENCY = "made-dependency"

_PROGRAM = """
import sys
import made_dependency

def main():
    print("edge-probe {version} needs", made_dependency.FOR, *sys.argv[1:])
"""
_SCRIPTS = "[console_scripts]\nedge-probe = edge_probe:main\nedge-firmware = edge_probe:main\n"


def made_wheel(folder: Path, name: str, version: str, tag: str, files: Mapping[str, str]) -> Path:
    """A wheel with these files and what the format wants (PEP 427)."""
    base = f"{name.replace('-', '_')}-{version}"
    info = f"{base}.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    rows = [f"{path},sha256={_record_hash(text)},{len(text)}\n" for path, text in contents.items()]
    contents[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    path = folder / f"{base}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in contents.items():
            wheel.writestr(zipfile.ZipInfo(inside), text)
    return path


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def own(folder: Path, architecture: str, says: str = "") -> Path:
    """One with our name and commands, which only say that they run."""
    program = _PROGRAM.replace("{version}", f"{edge_probe.__version__}{says}")
    tag = f"py3-none-manylinux_2_17_{architecture}"
    name = f"edge_probe-{edge_probe.__version__}.dist-info/entry_points.txt"
    files = {"edge_probe.py": program, name: _SCRIPTS}
    return made_wheel(folder, "edge-probe", edge_probe.__version__, tag, files)


def pip_wheel(folder: Path) -> Path:
    """The pip of this environment, packed again."""
    distribution = importlib.metadata.distribution("pip")
    path = folder / f"pip-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in sorted(distribution.files or [], key=str):
            if file.parts[0].startswith("pip") and file.suffix != ".pyc":
                wheel.writestr(zipfile.ZipInfo(str(file)), file.read_binary())
    return path


def fill(folder: Path, lists: Path) -> None:
    """All wheels of a device that needs one package beside ours, and the lists of them.

    Parameters
    ----------
    folder, lists : Path
        Made here.
    """
    folder.mkdir()
    lists.mkdir()
    for architecture in ARCHITECTURES:
        own(folder, architecture)
        for python in PYTHONS:
            plain = python.replace(".", "")
            tag = f"cp{plain}-cp{plain}-manylinux_2_28_{architecture}"
            target = Target(architecture, python)
            files = {"made_dependency.py": f'FOR = "{target}"\n'}
            path = made_wheel(folder, DEPENDENCY, "1.0", tag, files)
            (lists / f"{target}.txt").write_text(f"# {target}\n{_locked(path)}\n")
    pip = pip_wheel(folder)
    setuptools = made_wheel(folder, "setuptools", "1.0", "py3-none-any", {})
    (lists / f"{lock.TOOLS}.txt").write_text(f"{_locked(pip)}\n{_locked(setuptools)}\n")


def _locked(path: Path) -> Locked:
    name, version = path.name.split("-")[:2]
    return Locked(lock.plain(name), version, hashlib.sha256(path.read_bytes()).hexdigest())
