"""Tests of the device side and conformance vectors on another processor, without a machine.

The wheels in our .deb are unpacked into the Debian root, and Python runs there under
qemu-user. Nothing of the host is mounted into it: with both /proc and /sys, onnxruntime breaks
under qemu 7.2. Tests that start processes or look at /proc belong to the machine (`vm.scenario`).
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from firmware_tools.layout import Layout
from vm.cache import Cache, call, say
from vm.parts import REPOSITORY
from vm.root import debian

PROCESSOR = "cortex-a53"

PYTHON = "3.11"

PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")

TEST_TOOLS = ("pytest", "hypothesis", "prometheus-client")

TESTS = (
    "head_kernels", "head_layers", "head_native", "head_compiled", "head_protofloat",
    "head_thresholds", "bundle_selftest", "bundle_transport", "bundle_integrity",
    "bundle_signature", "bundle_trust", "chunk", "window", "detect", "classify", "encoder",
)  # fmt: skip

LIMIT_S = 1800.0


def run(cache: Cache, package: Path) -> dict[str, Any]:
    """What passed there.

    Parameters
    ----------
    cache : Cache
    package : Path
        The .deb.
    """
    tests = [path.read_bytes() for path in sorted((REPOSITORY / "tests").rglob("*.py"))]
    folder = cache.step(
        "user-mode", [debian(cache).name, package.read_bytes(), *tests],
        lambda target: _play(_root(cache, package), target),
    )  # fmt: skip
    found: dict[str, Any] = json.loads((folder / "facts.json").read_text("utf-8"))
    return found


def _play(root: Path, folder: Path) -> None:
    call(["rm", "-rf", root / "opt/tests"], timeout_s=60)
    call(["cp", "-r", REPOSITORY / "tests", root / "opt/tests"], timeout_s=60)
    selftest = _inside(root, "python3", "-m", "edge_probe", "selftest", "--json", timeout_s=600)
    stages = [json.loads(line) for line in selftest.stdout.splitlines()]
    say("user-mode: tests")
    names = [f"tests/device/test_{name}.py" for name in TESTS]
    tests = _inside(
        root, "python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml",
        "-rs", *names, timeout_s=LIMIT_S,
    )  # fmt: skip
    (folder / "pytest.log").write_text(tests.stdout + tests.stderr, "utf-8")
    last = (tests.stdout.strip().splitlines() or [""])[-1]
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", last)
    counts = {word: int(number) for number, word in found}
    facts = {
        "processor": PROCESSOR,
        "emulator": call(["qemu-aarch64-static", "--version"], timeout_s=30).splitlines()[0],
        "selftest": stages,
        "selftest_status": selftest.returncode,
        "tests": list(TESTS),
        "tests_status": tests.returncode,
        "counts": counts,
        "skips": [line for line in tests.stdout.splitlines() if line.startswith("SKIPPED")],
        "kernels": next(
            (line for line in tests.stdout.splitlines() if "kernels" in line), "not said"
        ),
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _root(cache: Cache, package: Path) -> Path:
    """The Debian root as a folder, with what the package installs in /opt/site."""
    constraints = (REPOSITORY / "constraints.txt").read_bytes()
    return cache.step(
        "user-root",
        [debian(cache).name, package.read_bytes(), constraints, " ".join(TEST_TOOLS)],
        lambda target: _make_root(cache, package, target),
    )


def _make_root(cache: Cache, package: Path, folder: Path) -> None:
    call(
        ["tar", "-x", "--numeric-owner", "-p", "-C", folder, "-f", debian(cache) / "root.tar"],
        timeout_s=600,
    )
    call(["dpkg-deb", "-x", package, folder / "package"], timeout_s=120)
    wheels = folder / "package" / Layout().program.relative_to("/") / "wheels"
    pip: list[str | Path] = [
        sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--no-warn-conflicts", "--target", folder / "opt/site", "--only-binary=:all:",
        "--python-version", PYTHON, "--implementation", "cp",
        *(f"--platform={name}" for name in PLATFORMS),
    ]  # fmt: skip
    call([*pip, "--no-index", "--find-links", wheels, "edge-probe"], timeout_s=600)
    call([*pip, "-c", REPOSITORY / "constraints.txt", *TEST_TOOLS], timeout_s=600)
    call(["cp", REPOSITORY / "pyproject.toml", folder / "opt"], timeout_s=30)


def _inside(root: Path, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Run a program of the other processor in /opt of its root."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
        "PYTHONPATH": "/opt/site",
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "QEMU_CPU": PROCESSOR,
    }  # fmt: skip
    return subprocess.run(
        ["chroot", root, "/usr/bin/env", "-C", "/opt", *words], env=environment, timeout=timeout_s,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
