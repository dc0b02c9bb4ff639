"""Wheels: one for any machine, and one for each platform with kernels and old enough symbols."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = "edge_probe/head/native/libedgeprobe.so"
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}


def wheel(folder: Path, **environment: str) -> Path:
    """Build one from a copy of the checkout, as ``make wheels`` does."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", ".*_cache", "*.so")
    shutil.copytree(ROOT, source, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
               "--no-build-isolation", "-w", str(folder), str(source)]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.parametrize("machine", COMPILERS)
def test_wheel_of_a_platform_holds_the_kernels(machine: str, tmp_path: Path) -> None:
    compiler = COMPILERS[machine]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    path = wheel(tmp_path, CC=compiler, EDGE_PROBE_PLATFORM=f"manylinux_2_17_{machine}")
    assert path.name.endswith(f"-py3-none-manylinux_2_17_{machine}.whl")
    library = zipfile.ZipFile(path).read(LIBRARY)
    assert library[:4] == b"\x7fELF"
    assert int.from_bytes(library[18:20], "little") == {"x86_64": 62, "aarch64": 183}[machine]
    versions = {tuple(map(int, v.split(b"."))) for v in re.findall(rb"GLIBC_([0-9.]+)", library)}
    assert versions
    assert max(versions) <= (2, 17)


def test_wheel_without_a_compiler_runs_anywhere(tmp_path: Path) -> None:
    path = wheel(tmp_path, EDGE_PROBE_NO_NATIVE="1")
    assert path.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(path).namelist()
    assert "edge_probe/head/native/__init__.py" in names
    assert not [name for name in names if name.endswith(".so")]


def test_a_compiler_that_fails_leaves_numpy(tmp_path: Path) -> None:
    path = wheel(tmp_path, CC="false")
    assert path.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(path).namelist() if name.endswith(".so")]
