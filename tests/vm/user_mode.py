"""Tests of the device side and conformance vectors on another processor, without a machine.

They run in the root into which the package was installed, with the Python that it installed. Tests
that start processes or look at /proc belong to the machine (`vm.scenario`).
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from firmware_tools.layout import Layout
from vm import installed
from vm.cache import Cache, call, say
from vm.parts import REPOSITORY

PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")

TEST_TOOLS = ("pytest", "hypothesis", "prometheus-client")

TESTS = (
    "head_kernels", "head_layers", "head_protofloat", "head_thresholds", "bundle_selftest",
    "chunk", "window", "detect", "classify",
)  # fmt: skip
"""Those whose results could depend on the processor."""

LIMIT_S = 3600.0


def run(cache: Cache, root: Path) -> dict[str, Any]:
    """What passed there.

    Parameters
    ----------
    cache : Cache
    root : Path
        As `vm.installed.installed` made it; stays as it is.
    """
    tests = REPOSITORY / "tests"
    files = [Path(__file__), tests / "conftest.py", tests / "device" / "conftest.py"]
    files += sorted((tests / "support").glob("*.py"))
    files += [tests / "device" / f"test_{name}.py" for name in TESTS]
    folder = cache.step(
        "user-mode", [root.parent.name, *map(Path.read_bytes, files)],
        lambda target: _play(root, target),
    )  # fmt: skip
    found: dict[str, Any] = json.loads((folder / "facts.json").read_text("utf-8"))
    return found


def _play(source: Path, folder: Path) -> None:
    root = folder / "tree"
    call(["cp", "-a", "--reflink=auto", source, root], timeout_s=600)
    call(["cp", "-r", REPOSITORY / "tests", REPOSITORY / "pyproject.toml", root / "opt"],
         timeout_s=60)  # fmt: skip
    _tools(root / "opt/tools")
    selftest = _run(root, "-m", "edge_probe", "selftest", "--json", timeout_s=900)
    stages = [json.loads(line) for line in selftest.stdout.splitlines()]
    say("user-mode: tests")
    names = [f"tests/device/test_{name}.py" for name in TESTS]
    tests = _run(
        root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", *names, timeout_s=LIMIT_S
    )
    (folder / "pytest.log").write_text(tests.stdout + tests.stderr, "utf-8")
    lines = tests.stdout.strip().splitlines() or [""]
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1])
    facts = {
        "processor": installed.PROCESSOR,
        "emulator": call(["qemu-aarch64-static", "--version"], timeout_s=30).splitlines()[0],
        "selftest": stages,
        "selftest_status": selftest.returncode,
        "tests": list(TESTS),
        "tests_status": tests.returncode,
        "counts": {word: int(number) for number, word in found},
        "skips": [line for line in lines if line.startswith("SKIPPED")],
        "not_done": [line for line in lines if line.startswith(("FAILED", "ERROR"))][:20],
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), "utf-8")
    call(["rm", "-rf", root], timeout_s=120)


def _tools(target: Path) -> None:
    """What runs tests, for the other processor."""
    call(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check",
         "--target", target, "--only-binary=:all:", "--implementation", "cp",
         "--python-version", "3.11", *(f"--platform={name}" for name in PLATFORMS),
         "-c", REPOSITORY / "constraints.txt", *TEST_TOOLS],
        timeout_s=600,
    )  # fmt: skip


def _run(root: Path, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Python of the package, with the tools of tests beside it."""
    python = str(Path("/") / Layout().program.relative_to("/") / "venv/bin/python")
    return installed.inside(
        root, "PYTHONPATH=/opt/tools", "PYTHONDONTWRITEBYTECODE=1", python, *words,
        timeout_s=timeout_s,
    )  # fmt: skip
